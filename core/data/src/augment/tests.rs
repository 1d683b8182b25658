use std::{borrow::Cow, ops::Range};

use rand::RngExt;

use super::*;

/// Crops of the whole range of areas, without colour operations.
const CROP_ONLY: AugmentConfig = AugmentConfig {
    crop_area: [0.2, 1.0],
    jitter: Jitter { brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.0, probability: 0.0 },
    grey_probability: 0.0,
    blur: None,
    solarise_probability: 0.0,
    flip_probability: 0.0,
    normalisation: Normalisation { mean: [0.0; 3], std: [1.0; 3] },
};

/// An image of pseudo-random bytes; Pillow's values below are from the same.
fn image(width: usize, height: usize) -> Image {
    let pixels = (0..width * height * 3).map(|i| ((i * 37 + 11) % 256) as u8);
    Image::new(width, height, pixels.collect()).unwrap()
}

fn recipes(size: usize) -> Vec<AugmentConfig> {
    let [first, second] = AugmentConfig::moco_v3(Normalisation::IMAGENET, size);
    vec![
        AugmentConfig::moco_v2(Normalisation::IMAGENET, size),
        first,
        second,
        AugmentConfig::simclr(Normalisation::IMAGENET, size),
    ]
}

fn view(image: &Image, recipe: &AugmentConfig, size: usize, rng: &mut ViewRng) -> Vec<f32> {
    let mut out = vec![f32::NAN; 3 * size * size];
    Augmenter::new().view(image, recipe, size, rng, &mut out).unwrap();
    out
}

/// Four colours, plane by plane.
const COLOURS: [[u8; 4]; 3] = [[200, 30, 10, 255], [100, 60, 250, 255], [50, 90, 128, 255]];

fn colours() -> Vec<f32> {
    let values = COLOURS.iter().flatten();
    values.map(|&value| f32::from(value) / 255.0).collect()
}

/// Colours after an operation, as pixels of the 8-bit scale.
fn adjusted(adjust: impl Fn(&mut Planes<'_>)) -> [[f32; 3]; 4] {
    let mut pixels = colours();
    adjust(&mut Planes::of(&mut pixels));
    std::array::from_fn(|i| [0, 4, 8].map(|plane| 255.0 * pixels[plane + i]))
}

#[track_caller]
fn assert_near<'a>(actual: impl IntoIterator<Item = &'a f32>, expected: impl IntoIterator<Item = f32>, tolerance: f32) {
    let actual: Vec<f32> = actual.into_iter().copied().collect();
    let expected: Vec<f32> = expected.into_iter().collect();
    assert_eq!(actual.len(), expected.len());
    for (a, e) in actual.iter().zip(&expected) {
        assert!((a - e).abs() <= tolerance, "{actual:?}\nis not within {tolerance} of\n{expected:?}");
    }
}

#[test]
fn a_view_depends_on_its_four_numbers_alone() {
    let image = image(40, 30);
    let mut shared = Augmenter::new();
    for size in [32, 48] {
        for recipe in recipes(size) {
            let fresh = view(&image, &recipe, size, &mut view_rng(1, 2, 3, 4));
            let mut out = vec![f32::NAN; fresh.len()];
            let mut rng = view_rng(1, 2, 3, 4);
            shared.view(&image, &recipe, size, &mut rng, &mut out).unwrap();
            assert_eq!(out, fresh, "used buffers change nothing");
            for mut other in [
                view_rng(2, 2, 3, 4),
                view_rng(1, 3, 3, 4),
                view_rng(1, 2, 4, 4),
                view_rng(1, 2, 3, 5),
                view_rng(2, 1, 3, 4),
            ] {
                assert_ne!(view(&image, &recipe, size, &mut other), fresh);
            }
        }
    }
}

#[test]
fn draws_and_views_are_pinned() {
    // A change of these values makes recorded runs irreproducible.
    let mut rng = view_rng(1, 2, 3, 4);
    assert_eq!([rng.random::<u32>(), rng.random()], [78_243_018, 3_480_596_650]);
    assert_eq!(epoch_order(1, 2, 8), [3, 6, 2, 4, 7, 5, 0, 1]);
    let bits = recipes(48).iter().zip(0..).fold(0, |hash, (recipe, number)| {
        view(&image(40, 30), recipe, 48, &mut view_rng(5, 6, 7, number))
            .iter()
            .fold(hash, |hash, value| split_mix(hash ^ u64::from(value.to_bits())))
    });
    assert_eq!(bits, 6_382_846_094_016_008_198);
}

#[test]
fn an_epochs_order_is_a_seeded_permutation() {
    let order = epoch_order(7, 0, 1000);
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..1000));
    assert_eq!(order, epoch_order(7, 0, 1000));
    assert_ne!(order, epoch_order(7, 1, 1000));
    assert_ne!(order, epoch_order(8, 0, 1000));
    assert!(epoch_order(7, 0, 0).is_empty());
}

#[test]
fn crops_keep_their_area_and_ratio() {
    let (width, height, draws) = (500, 375, 20_000);
    let mut rng = view_rng(0, 0, 0, 0);
    let (mut wide, mut left, mut areas) = (0, 0, 0.0);
    for _ in 0..draws {
        let crop = Crop::random(width, height, [0.2, 0.6], &mut rng);
        assert!(crop.left + crop.width <= width && crop.top + crop.height <= height);
        let area = (crop.width * crop.height) as f64 / (width * height) as f64;
        let ratio = crop.width as f64 / crop.height as f64;
        assert!((0.197..0.603).contains(&area), "{crop:?}");
        assert!((0.74..1.345).contains(&ratio), "{crop:?}");
        wide += usize::from(ratio > 1.0);
        left += usize::from(2 * crop.left < width - crop.width);
        areas += area;
    }
    let share = |count: usize| count as f64 / draws as f64;
    // The wide are a few more than the tall, because some of the tall do not fit.
    assert!((0.49..0.54).contains(&share(wide)), "{}", share(wide));
    assert!((0.48..0.52).contains(&share(left)), "{}", share(left));
    assert!((areas / draws as f64 - 0.4).abs() < 0.01);
}

#[test]
fn a_crop_that_never_fits_becomes_the_centre() {
    let mut rng = view_rng(0, 0, 0, 0);
    let mut crop = |width, height| Crop::random(width, height, [0.9, 1.0], &mut rng);
    let expected = |left, top, width, height| Crop { left, top, width, height };
    assert_eq!(crop(3, 500), expected(0, 248, 3, 4));
    assert_eq!(crop(500, 3), expected(248, 0, 4, 3));
    assert_eq!(crop(1, 1), expected(0, 0, 1, 1));
}

#[test]
fn resampling_matches_pillow() {
    let resample = |columns: Range<f64>, rows: Range<f64>, size: usize| {
        let mut resampler = Resampler::default();
        resampler.columns.set(columns, size as u64, 0..size as u64);
        resampler.rows.set(rows, size as u64, 0..size as u64);
        let mut out = vec![f32::NAN; 3 * size * size];
        resampler.run(&image(9, 7), false, |place, colour| {
            (0..3).for_each(|plane| out[plane * size * size + place] = 255.0 * colour[plane]);
        });
        out
    };
    // Image.crop((1, 1, 8, 6)).resize((3, 3), BILINEAR); Pillow rounds twice.
    assert_near(
        &resample(1.0..8.0, 1.0..6.0, 3),
        [
            126., 103., 145., 99., 124., 149., 155., 145., 122., 163., 140., 90., 124., 114., 135., 85., 122., 159.,
            91., 162., 127., 137., 135., 108., 122., 99., 141.,
        ],
        1.0,
    );
    // Image.crop((2, 3, 4, 5)).resize((4, 4), BILINEAR), red.
    assert_near(
        &resample(2.0..4.0, 3.0..5.0, 4)[..16],
        [158., 122., 49., 13., 152., 132., 91., 71., 139., 151., 174., 186., 133., 161., 216., 244.],
        1.0,
    );
    // Image.crop((1, 0, 8, 7)).resize((3, 3), BILINEAR, box=(0.5, 0.25, 6.75, 6.5)): a crop that begins and ends within
    // pixels, as in a reduced image.
    assert_near(
        &resample(1.5..7.75, 0.25..6.5, 3),
        [
            146., 110., 128., 111., 122., 143., 153., 135., 109., 144., 147., 110., 134., 114., 128., 98., 129., 144.,
            96., 147., 147., 131., 135., 116., 119., 100., 138.,
        ],
        1.0,
    );
}

#[test]
fn cropped_views_are_finished_ones_without_effects_in_bytes() {
    let image = image(40, 30);
    let recipe = AugmentConfig { flip_probability: 0.5, ..CROP_ONLY };
    for (number, size) in (0..20).zip([8, 33].into_iter().cycle()) {
        let plan = ViewPlan::draw(&recipe, [40, 30], &mut view_rng(0, 0, number, 0));
        let mut bytes = vec![0; 3 * size * size];
        Augmenter::new().cropped(&(&image).into(), &plan, size, &mut bytes);
        let finished = view(&image, &recipe, size, &mut view_rng(0, 0, number, 0));
        let interleaved = (0..3 * size * size).map(|at| finished[at % 3 * size * size + at / 3]);
        assert!(interleaved.zip(bytes).all(|(value, byte)| (255.0 * value).round() == f32::from(byte)));
    }
}

#[test]
fn a_reduced_image_gives_the_views_of_the_whole_one() {
    // Blocks of 4 x 4 equal pixels, and a last row and column of cut blocks.
    let (width, height, factor) = (158, 121, 4);
    let block = |x: usize, y: usize, channel: usize| (29 * (x / factor) + 53 * (y / factor) + 97 * channel) as u8 % 64;
    let paint = |width: usize, height: usize, step: usize| {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x * step, y * step)));
        Image::new(width, height, places.flat_map(|(x, y)| [0, 1, 2].map(|channel| block(x, y, channel))).collect())
    };
    let whole = paint(width, height, 1).unwrap();
    let pixels = paint(width.div_ceil(factor), height.div_ceil(factor), factor).unwrap();
    let reduced = ReducedImage { size: [width, height], factor, pixels: Cow::Owned(pixels) };
    let size = 8;
    let mut views = [vec![0.0; 3 * size * size], vec![0.0; 3 * size * size]];
    for number in 0..50 {
        let plan = ViewPlan::draw(&CROP_ONLY, [width, height], &mut view_rng(0, 0, number, 0));
        assert!(plan.reduction(size) >= factor);
        let mut augmenter = Augmenter::new();
        augmenter.planned(&(&whole).into(), &plan, size, &CROP_ONLY.normalisation, &mut views[0]);
        augmenter.planned(&reduced, &plan, size, &CROP_ONLY.normalisation, &mut views[1]);
        // The filter weighs pixels by the distance of their middle, so that blocks at its ends differ.
        assert_near(&views[1], views[0].iter().copied(), 4.0 / 255.0);
    }
}

#[test]
fn a_reduced_crop_keeps_the_pixels_of_its_view() {
    let plan = |width, height| ViewPlan {
        crop: Crop { left: 3, top: 5, width, height },
        mirrored: false,
        effects: Effects::default(),
    };
    for (width, height, reduction) in [(448, 448, 2), (447, 500, 1), (2000, 895, 2), (896, 896, 4), (9000, 9000, 4)] {
        assert_eq!(plan(width, height).reduction(224), reduction, "{width} x {height}");
    }
}

#[test]
fn the_centre_view_matches_torchvision() {
    let normalisation = CROP_ONLY.normalisation;
    let mut out = vec![f32::NAN; 3 * 7 * 7];
    Augmenter::new().centre(&image(19, 14), 7, &normalisation, &mut out).unwrap();
    out.iter_mut().for_each(|value| *value *= 255.0);
    // Image.resize((10, 8), BILINEAR).crop((2, 0, 9, 7)), first two rows of red.
    assert_near(&out[..14], [107., 125., 134., 132., 123., 123., 150., 119., 126., 158., 125., 137., 121., 110.], 1.0);
}

#[test]
fn a_centre_view_of_the_same_size_is_the_normalised_image() {
    let image = image(8, 8);
    let mut out = vec![f32::NAN; 3 * 64];
    Augmenter::new().centre(&image, 8, &Normalisation::IMAGENET, &mut out).unwrap();
    // Red, green and blue of pixel (x 2, y 1): 3 * (8 + 2) = 30, so bytes 97, 134 and 171.
    assert_eq!(image.pixels[30..33], [97, 134, 171]);
    assert_near(
        &[out[10], out[64 + 10], out[128 + 10]],
        [(97.0 / 255.0 - 0.485) / 0.229, (134.0 / 255.0 - 0.456) / 0.224, (171.0 / 255.0 - 0.406) / 0.225],
        1e-5,
    );
}

#[test]
fn colour_operations_match_pillow() {
    // Pillow 13: ImageEnhance.{Brightness, Contrast, Color}, its truncation and grey level of one step included.
    let expect = |actual: [[f32; 3]; 4], expected: [[f32; 3]; 4], tolerance| {
        assert_near(actual.as_flattened(), expected.into_iter().flatten(), tolerance);
    };
    let white = [255.0; 3];
    expect(
        adjusted(|planes| planes.brightness(0.6)),
        [[120., 60., 30.], [18., 36., 54.], [6., 150., 76.], [153.; 3]],
        1.0,
    );
    expect(
        adjusted(|planes| planes.brightness(1.4)),
        [[255., 140., 70.], [42., 84., 126.], [14., 255., 179.], white],
        1.0,
    );
    expect(
        adjusted(|planes| planes.contrast(0.6)),
        [[179., 119., 89.], [77., 95., 113.], [65., 209., 136.], [212.; 3]],
        1.0,
    );
    expect(adjusted(|planes| planes.contrast(1.4)), [[220., 80., 10.], [0., 24., 66.], [0., 255., 119.], white], 1.0);
    expect(
        adjusted(|planes| planes.saturation(0.6)),
        [[169., 109., 79.], [39., 57., 75.], [71., 215., 142.], white],
        1.0,
    );
    expect(
        adjusted(|planes| planes.saturation(1.4)),
        [[230., 90., 20.], [20., 62., 104.], [0., 255., 113.], white],
        1.0,
    );
    expect(adjusted(|planes| planes.grey()), [[124.; 3], [54.; 3], [164.; 3], white], 0.6);
    expect(adjusted(|planes| planes.solarise()), [[55., 100., 50.], [30., 60., 90.], [10., 5., 127.], [0.; 3]], 1e-3);
    // Of the 256 hue steps of a turn, torchvision takes int(255 * turns). At chroma 240 a step is 6 * 240 / 256
    // levels; two of them are tolerated.
    let steps = 2.0 * 6.0 * 240.0 / 256.0;
    expect(adjusted(|planes| planes.hue(0.1)), [[200., 188., 50.], [34., 30., 90.], [11., 236., 250.], white], steps);
    expect(adjusted(|planes| planes.hue(-0.1)), [[200., 50., 85.], [30., 90., 84.], [39., 250., 11.], white], steps);
    expect(adjusted(|planes| planes.hue(0.5)), [[50., 152., 200.], [90., 57., 30.], [250., 11., 140.], white], steps);
}

#[test]
fn neutral_colour_operations_change_nothing() {
    let neutral: [fn(&mut Planes<'_>); 6] = [
        |planes| planes.brightness(1.0),
        |planes| planes.contrast(1.0),
        |planes| planes.saturation(1.0),
        |planes| planes.hue(0.0),
        |planes| planes.hue(1.0),
        |planes| planes.hue(-1.0),
    ];
    for operation in neutral {
        let mut pixels = colours();
        operation(&mut Planes::of(&mut pixels));
        assert_near(&pixels, colours(), 2e-6);
    }
}

#[test]
fn hues_turn_by_thirds_through_the_channels() {
    let mut pixels = colours();
    Planes::of(&mut pixels).hue(1.0 / 3.0);
    let before = colours();
    // Red becomes green, green blue and blue red.
    let rotated = [&before[8..], &before[..4], &before[4..8]].concat();
    assert_near(&pixels, rotated, 2e-6);
}

#[test]
fn grey_and_solarise_are_idempotent() {
    let once = adjusted(|planes| planes.grey());
    assert!(once.iter().all(|[r, g, b]| r == g && g == b));
    let operations: [fn(&mut Planes<'_>); 2] = [|planes| planes.grey(), |planes| planes.solarise()];
    for operation in operations {
        let once = adjusted(operation);
        let twice = adjusted(|planes| {
            operation(planes);
            operation(planes);
        });
        assert_near(twice.as_flattened(), once.into_iter().flatten(), 1e-4);
    }
}

#[test]
fn the_blur_is_gaussian() {
    let (size, mut filter) = (11, GaussianFilter::default());
    for sigma in [0.1, 0.7, 1.5, 2.0, 100.0] {
        filter.set(sigma, size);

        let mut constant = vec![0.25; size * size];
        filter.run(&mut constant, size);
        assert_near(&constant, vec![0.25; size * size], 1e-6);

        // Away from the edges the sum is kept, and both passes blur equally.
        let mut impulse = vec![0.0; size * size];
        impulse[size * 5 + 5] = 1.0;
        filter.run(&mut impulse, size);
        let (row, column) = (&impulse[5 * size..6 * size], impulse[5..].iter().step_by(size));
        assert_near(row, column.copied(), 1e-6);
        if sigma < 1.6 {
            assert!((impulse.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }

    // ImageFilter.GaussianBlur(2.0) of a step; Pillow approximates the Gaussian by boxes.
    let mut step = vec![0.0; size * size];
    for row in step.chunks_exact_mut(size) {
        row[5..].fill(255.0);
    }
    filter.set(2.0, size);
    filter.run(&mut step, size);
    assert_near(&step[5 * size..6 * size], [2., 10., 28., 59., 103., 152., 196., 227., 245., 253., 255.], 4.0);
}

#[test]
fn a_flip_mirrors_every_row() {
    let (image, size) = (image(40, 30), 16);
    let mirror = AugmentConfig { flip_probability: 1.0, ..CROP_ONLY };
    let plain = view(&image, &CROP_ONLY, size, &mut view_rng(0, 0, 0, 0));
    let mut mirrored = view(&image, &mirror, size, &mut view_rng(0, 0, 0, 0));
    assert_ne!(mirrored, plain);
    mirrored.chunks_exact_mut(size).for_each(<[f32]>::reverse);
    assert_eq!(mirrored, plain);
}

#[test]
fn probabilities_are_kept() {
    let image = image(8, 8);
    let recipe = AugmentConfig { grey_probability: 0.2, ..CROP_ONLY };
    let grey = (0..5000).filter(|&number| {
        let out = view(&image, &recipe, 4, &mut view_rng(0, 0, number, 0));
        out[..16] == out[16..32] && out[..16] == out[32..]
    });
    let share = grey.count() as f64 / 5000.0;
    assert!((share - 0.2).abs() < 0.02, "{share}");
}

#[test]
fn every_image_has_views() {
    let mut augmenter = Augmenter::new();
    for (width, height) in [(1, 1), (1, 500), (3, 500), (500, 3), (7, 5), (640, 480)] {
        let image = image(width, height);
        for size in [1, 2, 33, 64] {
            let mut out = vec![f32::NAN; 3 * size * size];
            for recipe in recipes(size) {
                for number in 0..20 {
                    let mut rng = view_rng(0, 0, number, 0);
                    augmenter.view(&image, &recipe, size, &mut rng, &mut out).unwrap();
                    assert!(out.iter().all(|value| (-3.0..3.0).contains(value)));
                    out.fill(f32::NAN);
                }
            }
            augmenter.centre(&image, size, &Normalisation::CIFAR10, &mut out).unwrap();
            assert!(out.iter().all(|value| (-3.0..3.0).contains(value)));
        }
    }
}

#[test]
fn recipes_match_the_papers() {
    for size in [32, 224] {
        for recipe in recipes(size) {
            assert_eq!(recipe.check(), Ok(()));
            assert_eq!(recipe.blur.is_some(), size > 32);
            let json = serde_json::to_string(&recipe).unwrap();
            assert_eq!(serde_json::from_str::<AugmentConfig>(&json).unwrap(), recipe);
        }
    }
    let [first, second] = AugmentConfig::moco_v3(Normalisation::IMAGENET, 224);
    let blurs = [first.blur, second.blur].map(|blur| blur.map(|blur| blur.probability));
    assert_eq!(blurs, [Some(1.0), Some(0.1)]);
    assert_eq!([first.solarise_probability, second.solarise_probability], [0.0, 0.2]);
    assert_eq!(first.jitter, second.jitter);
}

#[test]
fn invalid_input_is_an_error() {
    let mut rng = view_rng(0, 0, 0, 0);
    let mut attempt = |image: &Image, recipe: &AugmentConfig, size, length| {
        let mut out = vec![0.0; length];
        Augmenter::new().view(image, recipe, size, &mut rng, &mut out)
    };
    let good = image(4, 4);
    assert_eq!(attempt(&good, &CROP_ONLY, 2, 12), Ok(()));
    for (size, length) in [(2, 11), (0, 0), (usize::MAX, 3)] {
        assert_eq!(attempt(&good, &CROP_ONLY, size, length), Err(AugmentError::Output { size, actual: length }));
    }

    let torn = Image { width: 5, ..good.clone() };
    assert!(matches!(attempt(&torn, &CROP_ONLY, 2, 12), Err(AugmentError::Image(_))));

    let spoilt: [fn(&mut AugmentConfig); 7] = [
        |recipe| recipe.crop_area = [0.5, 0.2],
        |recipe| recipe.crop_area = [f32::NAN, 1.0],
        |recipe| recipe.jitter.hue = 0.6,
        |recipe| recipe.jitter.contrast = f32::INFINITY,
        |recipe| recipe.grey_probability = -0.1,
        |recipe| {
            recipe.blur = Some(Blur { sigma: [0.0, 2.0], probability: 1.0 });
        },
        |recipe| recipe.normalisation.std[1] = 0.0,
    ];
    for spoil in spoilt {
        let mut recipe = CROP_ONLY;
        spoil(&mut recipe);
        assert!(matches!(attempt(&good, &recipe, 2, 12), Err(AugmentError::Config { .. })));
    }
}

/// Mean and standard deviation of each measure over `draws` views of torchvision, from `tests/python/views.py`, which
/// defines the measures.
const TORCHVISION: &str = include_str!("../../../../tests/fixtures/views.json");

#[test]
fn views_have_torchvisions_distribution() {
    let expected: serde_json::Value = serde_json::from_str(TORCHVISION).unwrap();
    let draws = expected["draws"].as_u64().unwrap();
    let plain = Normalisation { mean: [0.0; 3], std: [1.0; 3] };
    let check = |name: &str, values: &[f64]| {
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / draws as f64;
        let average = mean(&mut values.iter().copied());
        let deviation = mean(&mut values.iter().map(|value| (value - average).powi(2))).sqrt();
        let theirs = [0, 1].map(|place| expected[name][place].as_f64().unwrap());
        // Four standard errors of the difference of two means, and a grey level for Pillow's rounding.
        let error = (deviation.hypot(theirs[1])) / (draws as f64).sqrt();
        println!("{name}: {average:.4} ± {deviation:.4}, torchvision's {:.4} ± {:.4}", theirs[0], theirs[1]);
        assert!((average - theirs[0]).abs() < 4.0 * error + 1.0 / 255.0, "{name}: {average}, not {}", theirs[0]);
        assert!((deviation - theirs[1]).abs() < 0.05 * theirs[1] + 1.0 / 255.0, "{name}: spread {deviation}");
    };
    let spread = |pixels: &[f32]| {
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / pixels.len() as f64;
        let average = mean(&mut pixels.iter().map(|pixel| f64::from(*pixel)));
        [average, mean(&mut pixels.iter().map(|pixel| (f64::from(*pixel) - average).powi(2))).sqrt()]
    };
    let drawn = |image: &dyn Fn(u64) -> Image, recipe: &AugmentConfig, size: usize| -> Vec<Vec<f32>> {
        (0..draws).map(|draw| view(&image(draw), recipe, size, &mut view_rng(0, 0, draw, 0))).collect()
    };

    let tiles = crate::sprite_sheet::tiles(include_bytes!("../../../../native/assets/cifar10-train.webp")).unwrap();
    let views = drawn(&|draw| tiles[draw as usize % 100].0.clone(), &AugmentConfig::moco_v2(plain, 32), 32);
    let moments: Vec<[f64; 2]> = views.iter().map(|view| spread(view)).collect();
    let is_grey = |view: &Vec<f32>| {
        let [red, green, blue] = [0, 1, 2].map(|plane| &view[1024 * plane..1024 * (plane + 1)]);
        red.iter().zip(green).zip(blue).all(|((r, g), b)| (r - g).abs() < 1e-6 && (r - b).abs() < 1e-6)
    };
    check("mean", &moments.iter().map(|[mean, _]| *mean).collect::<Vec<_>>());
    check("spread", &moments.iter().map(|[_, spread]| *spread).collect::<Vec<_>>());
    check("grey", &views.iter().map(|view| f64::from(is_grey(view))).collect::<Vec<_>>());

    let painted = |paint: fn(usize, usize) -> [u8; 3]| {
        Image::new(64, 64, (0..64 * 64).flat_map(|at| paint(at % 64, at / 64)).collect()).unwrap()
    };
    let ramps = painted(|x, y| [4 * x as u8, 4 * y as u8, 0]);
    let moved = AugmentConfig { flip_probability: 0.5, ..CROP_ONLY };
    let slopes: Vec<[f64; 2]> = drawn(&|_| ramps.clone(), &moved, 32)
        .iter()
        .map(|view| {
            let at = |plane: usize, row: usize, column: usize| f64::from(view[1024 * plane + 32 * row + column]);
            [at(0, 16, 24) - at(0, 16, 7), at(1, 24, 16) - at(1, 7, 16)]
        })
        .collect();
    let whole = (17.0 * 2.0 * 4.0 / 255.0_f64).powi(2);
    check("area", &slopes.iter().map(|[across, down]| across.abs() * down / whole).collect::<Vec<_>>());
    check("flipped", &slopes.iter().map(|[across, _]| f64::from(*across < 0.0)).collect::<Vec<_>>());

    let stripes = painted(|x, _| [if x % 2 == 0 { 255 } else { 0 }; 3]);
    let mut gaussian = GaussianFilter::default();
    let blur = AugmentConfig::moco_v2(plain, 64).blur.unwrap();
    let details: Vec<f64> = (0..draws)
        .map(|draw| {
            let recipe = AugmentConfig { blur: Some(blur), ..CROP_ONLY };
            let plan = ViewPlan::draw(&recipe, [64, 64], &mut view_rng(0, 0, draw, 0));
            let mut plane: Vec<f32> = stripes.pixels.iter().step_by(3).map(|pixel| f32::from(*pixel) / 255.0).collect();
            if let Some(sigma) = plan.effects.sigma {
                gaussian.set(sigma, 64);
                gaussian.run(&mut plane, 64);
            }
            spread(&plane)[1]
        })
        .collect();
    check("detail", &details);
    check("blurred", &details.iter().map(|detail| f64::from(*detail < 0.4)).collect::<Vec<_>>());
}
