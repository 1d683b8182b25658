//! Views on GPUs. One workgroup computes a view's crop and colours, since contrast needs the mean of its pixels. Blur
//! is two passes over the batch.

use burn::{
    backend::{
        Cube,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::{DType, Shape},
};
use burn_cubecl::{ops::numeric::empty_device_contiguous_dtype, tensor::CubeTensor};
use cubecl::{calculate_cube_count_elemwise, prelude::*};

use slimclr_data::augment::{
    Normalisation, ViewPlan,
    plan::{Adjustment, Crop},
};

use super::ViewsBackend;
use crate::gpu::UNITS;

/// Steps of a tree sum over a workgroup.
const HALVINGS: usize = UNITS.ilog2() as usize;

// Plans are sent as words, `f32` as bits: a header, then one record per view.
const IMAGE_WIDTH: usize = 0;
const IMAGE_HEIGHT: usize = 1;
const MEAN: usize = 2;
const DEVIATION: usize = 5;
const HEADER: usize = 8;

// Offsets in a record.
const IMAGE: usize = 0;
const LEFT: usize = 1;
const TOP: usize = 2;
const WIDTH: usize = 3;
const HEIGHT: usize = 4;
const MIRRORED: usize = 5;
const GREY: usize = 6;
const SOLARISED: usize = 7;
const SIGMA: usize = 8;
/// Index of the contrast adjustment, or 4 if there is none.
const CONTRAST_AT: usize = 9;
const KINDS: usize = 10;
const STRENGTHS: usize = 14;
const RECORD: usize = 18;

// Kinds of adjustments.
const BRIGHTNESS: u32 = 0;
const CONTRAST: u32 = 1;
const SATURATION: u32 = 2;
const HUE: u32 = 3;

/// An adjustment without effect.
const NEUTRAL: Adjustment = Adjustment::Brightness(1.0);

fn words([width, height]: [usize; 2], plans: &[(u32, ViewPlan)], normalisation: &Normalisation) -> Vec<u32> {
    let Normalisation { mean, std } = normalisation;
    let mut words = vec![width as u32, height as u32];
    words.extend(mean.iter().chain(std).map(|value| value.to_bits()));
    for (image, plan) in plans {
        let Crop { left, top, width, height } = plan.crop;
        let adjustments = plan.effects.adjustments.unwrap_or([NEUTRAL; 4]).map(|adjustment| match adjustment {
            Adjustment::Brightness(factor) => (BRIGHTNESS, factor),
            Adjustment::Contrast(factor) => (CONTRAST, factor),
            Adjustment::Saturation(factor) => (SATURATION, factor),
            Adjustment::Hue(turns) => (HUE, turns),
        });
        words.push(*image);
        words.extend([left, top, width, height].map(|place| place as u32));
        words.extend([plan.mirrored, plan.effects.grey, plan.effects.solarised].map(u32::from));
        words.push(plan.effects.sigma.unwrap_or(0.0).to_bits());
        words.push(adjustments.iter().take_while(|(kind, _)| *kind != CONTRAST).count() as u32);
        words.extend(adjustments.map(|(kind, _)| kind));
        words.extend(adjustments.map(|(_, strength)| strength.to_bits()));
    }
    words
}

impl ViewsBackend for Cube {
    fn views(
        images: IntTensor<Self>,
        image_size: [usize; 2],
        plans: Vec<(u32, ViewPlan)>,
        size: usize,
        normalisation: Normalisation,
    ) -> FloatTensor<Self> {
        let words = words(image_size, &plans, &normalisation);
        let client = images.client.clone();
        let plans_handle = client.create_from_slice(u32::as_bytes(&words));
        // SAFETY: the buffer holds all of these words.
        let plan_arg = || unsafe { BufferArg::from_raw_parts(plans_handle.clone(), words.len()) };
        let shape = Shape::new([plans.len(), 3, size, size]);
        let empty = || empty_device_contiguous_dtype(client.clone(), images.device.clone(), shape.clone(), DType::F32);
        let is_blurred = plans.iter().any(|(_, plan)| plan.effects.sigma.is_some());

        let views = empty();
        crop_and_colour::launch(
            &client,
            CubeCount::Static(plans.len() as u32, 1, 1),
            CubeDim::new_1d(UNITS as u32),
            images.clone().into_buffer_arg(),
            plan_arg(),
            views.clone().into_buffer_arg(),
            size,
            !is_blurred,
        );
        if !is_blurred {
            return views;
        }
        let blur = |from: CubeTensor, to: &CubeTensor, is_last: bool| {
            let units = CubeDim::new_1d(UNITS as u32);
            let count = calculate_cube_count_elemwise(&client, shape.num_elements(), units);
            let (from, to) = (from.into_buffer_arg(), to.clone().into_buffer_arg());
            blur::launch(&client, count, units, from, plan_arg(), to, size, is_last);
        };
        let half_blurred = empty();
        blur(views.clone(), &half_blurred, false);
        blur(half_blurred, &views, true);
        views
    }
}

/// Colour of a pixel.
#[derive(CubeType, Clone, Copy)]
struct Colour {
    red: f32,
    green: f32,
    blue: f32,
}

/// Crops views and adjusts their colours, one workgroup per view; normalises them if this is the last pass.
#[cube(launch)]
fn crop_and_colour(
    images: &[i32],
    plans: &[u32],
    views: &mut [f32],
    #[comptime] size: usize,
    #[comptime] is_last: bool,
) {
    let area = comptime!(size * size);
    let view = CUBE_POS_X as usize;
    let unit = UNIT_POS as usize;
    let record = HEADER + view * RECORD;
    let start = view * 3 * area;
    let contrast_at = plans[record + CONTRAST_AT] as usize;

    // Adjustments before contrast.
    let mut sum = 0.0f32;
    let mut pixel = unit;
    while pixel < area {
        let cropped = cropped(images, plans, record, pixel, size);
        let mut red = cropped.red;
        let mut green = cropped.green;
        let mut blue = cropped.blue;
        for place in 0..4usize {
            if place < contrast_at {
                let adjusted = adjusted(red, green, blue, plans, record, place, 0.0f32);
                red = adjusted.red;
                green = adjusted.green;
                blue = adjusted.blue;
            }
        }
        views[start + pixel] = red;
        views[start + area + pixel] = green;
        views[start + 2 * area + pixel] = blue;
        sum += luma(red, green, blue);
        pixel += UNITS;
    }

    // The mean grey, summed in a fixed order.
    let mut sums = Shared::<[f32]>::new_slice(UNITS);
    sums[unit] = sum;
    sync_cube();
    #[unroll]
    for halving in 0..HALVINGS {
        let distance = comptime!(UNITS >> (halving + 1));
        if unit < distance {
            let other = sums[unit + distance];
            sums[unit] += other;
        }
        sync_cube();
    }
    let mean = sums[0] / f32::cast_from(area as u32);

    // Contrast and the adjustments after it.
    let is_grey = plans[record + GREY] == 1;
    let mut pixel = unit;
    while pixel < area {
        let mut red = views[start + pixel];
        let mut green = views[start + area + pixel];
        let mut blue = views[start + 2 * area + pixel];
        for place in 0..4usize {
            if place >= contrast_at {
                let adjusted = adjusted(red, green, blue, plans, record, place, mean);
                red = adjusted.red;
                green = adjusted.green;
                blue = adjusted.blue;
            }
        }
        let grey = luma(red, green, blue);
        red = select(is_grey, grey, red);
        green = select(is_grey, grey, green);
        blue = select(is_grey, grey, blue);
        if is_last {
            red = finished(red, 0usize, plans, record);
            green = finished(green, 1usize, plans, record);
            blue = finished(blue, 2usize, plans, record);
        }
        views[start + pixel] = red;
        views[start + area + pixel] = green;
        views[start + 2 * area + pixel] = blue;
        pixel += UNITS;
    }
}

/// Blurs views along columns, or, in the last pass, along rows, and then normalises them.
#[cube(launch)]
fn blur(from: &[f32], plans: &[u32], to: &mut [f32], #[comptime] size: usize, #[comptime] is_last: bool) {
    if ABSOLUTE_POS >= to.len() {
        terminate!();
    }
    let area = comptime!(size * size);
    let plane = ABSOLUTE_POS / area;
    let pixel = ABSOLUTE_POS % area;
    let record = HEADER + plane / 3 * RECORD;
    let row = pixel / size;
    let column = pixel % size;
    let sigma = float(plans, record + SIGMA);
    let radius = min(u32::cast_from((3.0f32 * sigma).ceil()) as usize, size);
    let mut sum = from[ABSOLUTE_POS];
    let mut weights = 1.0f32;
    for distance in 1..radius + 1 {
        let deviations = f32::cast_from(distance as u32) / sigma;
        let weight = (-0.5f32 * deviations * deviations).exp();
        let (before, after) = if is_last {
            (pixel - min(distance, column), row * size + min(column + distance, size - 1))
        } else {
            ((row - min(distance, row)) * size + column, min(row + distance, size - 1) * size + column)
        };
        sum += weight * (from[plane * area + before] + from[plane * area + after]);
        weights += 2.0f32 * weight;
    }
    let mut value = sum / weights;
    if is_last {
        value = finished(value, plane % 3, plans, record);
    }
    to[ABSOLUTE_POS] = value;
}

/// Reads a float from the words.
#[cube]
fn float(plans: &[u32], at: usize) -> f32 {
    f32::reinterpret(plans[at])
}

/// Computes a pixel of a view as the CPU's resampler does.
#[cube]
fn cropped(images: &[i32], plans: &[u32], record: usize, pixel: usize, #[comptime] size: usize) -> Colour {
    let width = plans[IMAGE_WIDTH] as usize;
    let image = plans[record + IMAGE] as usize * plans[IMAGE_HEIGHT] as usize * width;
    let column = pixel % size;
    let x = select(plans[record + MIRRORED] == 1, size - 1 - column, column);
    let columns = Taps::new(x, plans[record + WIDTH], size);
    let rows = Taps::new(pixel / size, plans[record + HEIGHT], size);
    let corner = image + plans[record + TOP] as usize * width + plans[record + LEFT] as usize;

    let mut red = 0.0f32;
    let mut green = 0.0f32;
    let mut blue = 0.0f32;
    let mut weights = 0.0f32;
    for row in rows.first..rows.end {
        let of_row = rows.weight(row);
        for column in columns.first..columns.end {
            let weight = of_row * columns.weight(column);
            let pixel = 3 * (corner + row as usize * width + column as usize);
            red += weight * byte(images, pixel);
            green += weight * byte(images, pixel + 1);
            blue += weight * byte(images, pixel + 2);
            weights += weight;
        }
    }
    let scale = 1.0f32 / (255.0f32 * weights);
    Colour { red: red * scale, green: green * scale, blue: blue * scale }
}

/// Reads a byte of the words.
#[cube]
fn byte(words: &[i32], at: usize) -> f32 {
    let word = u32::cast_from(words[at / 4]);
    f32::cast_from((word >> (8 * u32::cast_from(at % 4))) & 255)
}

/// The positions along one side of a crop, from `first` to before `end`, that an output position averages.
#[derive(CubeType, Clone, Copy)]
struct Taps {
    first: u32,
    end: u32,
    centre: f32,
    support: f32,
}

#[cube]
impl Taps {
    fn new(position: usize, length: u32, #[comptime] size: usize) -> Self {
        let scale = f32::cast_from(length) / f32::cast_from(size as u32);
        let support = max(scale, 1.0f32);
        let centre = (f32::cast_from(position as u32) + 0.5f32) * scale;
        let first = u32::cast_from(max(centre - support + 0.5f32, 0.0f32));
        let end = min(u32::cast_from(centre + support + 0.5f32), length);
        Taps { first, end, centre, support }
    }

    fn weight(&self, at: u32) -> f32 {
        let distance = (f32::cast_from(at) + 0.5f32 - self.centre).abs() / self.support;
        1.0f32 - min(distance, 1.0f32)
    }
}

#[cube]
fn luma(red: f32, green: f32, blue: f32) -> f32 {
    0.299f32 * red + 0.587f32 * green + 0.114f32 * blue
}

#[cube]
fn blend(other: f32, value: f32, factor: f32) -> f32 {
    clamp((1.0f32 - factor) * other + factor * value, 0.0f32, 1.0f32)
}

/// Applies the adjustment at `place`; `mean` is the view's mean grey before contrast.
#[cube]
fn adjusted(red: f32, green: f32, blue: f32, plans: &[u32], record: usize, place: usize, mean: f32) -> Colour {
    let kind = plans[record + KINDS + place];
    let strength = float(plans, record + STRENGTHS + place);
    let grey = luma(red, green, blue);
    let other = select(kind == CONTRAST, mean, select(kind == SATURATION, grey, 0.0f32));

    // Rotates the hue as `Planes::hue` does.
    let value = max(max(red, green), blue);
    let chroma = value - min(min(red, green), blue);
    let is_red = value == red;
    let is_green = value == green;
    let difference = select(is_red, green - blue, select(is_green, blue - red, red - green));
    let sector = select(is_red, 0.0f32, select(is_green, 2.0f32, 4.0f32));
    let hue = sector + difference / max(chroma, 1e-30f32);

    let turns = kind == HUE;
    Colour {
        red: select(turns, turned(5.0f32, strength, hue, value, chroma), blend(other, red, strength)),
        green: select(turns, turned(3.0f32, strength, hue, value, chroma), blend(other, green, strength)),
        blue: select(turns, turned(1.0f32, strength, hue, value, chroma), blend(other, blue, strength)),
    }
}

#[cube]
fn turned(channel: f32, turns: f32, hue: f32, value: f32, chroma: f32) -> f32 {
    let offset = channel + 6.0f32 * turns;
    let sum = offset - 6.0f32 * (offset / 6.0f32).floor() + hue;
    let k = select(sum >= 6.0f32, sum - 6.0f32, sum);
    value - chroma * clamp(min(k, 4.0f32 - k), 0.0f32, 1.0f32)
}

/// Solarises a value if the plan says so, and normalises it.
#[cube]
fn finished(value: f32, channel: usize, plans: &[u32], record: usize) -> f32 {
    let value = select(plans[record + SOLARISED] == 1, min(value, 1.0f32 - value), value);
    (value - float(plans, MEAN + channel)) / float(plans, DEVIATION + channel)
}
