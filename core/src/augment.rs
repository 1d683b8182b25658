//! Random views of an image: the augmentations of MoCo v2, MoCo v3 and SimCLR.
//!
//! A view is a random resized crop, then colour jitter, grey, blur, solarise and flip, each with its own probability,
//! and at last the normalisation. Every operation follows torchvision on Pillow images, which the published recipes
//! run on, with two differences:
//!
//! - values are `f32` in `[0, 1]` and are never rounded to 8 bits between operations (they are clamped where Pillow
//!   clamps), so a view differs from Pillow's by about one grey level for each operation;
//! - the blur is a true Gaussian, where Pillow approximates one by three box filters.
//!
//! The flip costs nothing: it commutes with everything after the crop, so the crop is written mirrored.
//!
//! A view depends only on the image, the recipe and the generator's state. Beyond `+ - * /` and `sqrt`, which IEEE 754
//! rounds exactly, only `exp` is used, and that from `libm` rather than from the platform: [`view_rng`] therefore
//! yields the same bits on every platform and with any number of threads.

use std::ops::Range;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::image::{Image, ImageError};

/// Why no view was made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AugmentError {
    /// The output slice does not fit the view.
    #[error(
        "a view of {size} x {size} pixels fills 3 planes of that size (at least one pixel), but the output holds {actual} values"
    )]
    Output {
        /// Side of the view, in pixels.
        size: usize,
        /// Length of the output slice.
        actual: usize,
    },
    /// A value of the recipe lies outside its domain.
    #[error("augmentation recipe: {field} must be {domain}, but is {value}")]
    Recipe {
        /// Path of the value in [`Recipe`].
        field: &'static str,
        /// What the value may be.
        domain: &'static str,
        /// The value given.
        value: f32,
    },
    /// The image is not one.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// Mean and standard deviation that a data set's channels are normalised with, in units of full intensity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    /// Mean of red, green and blue.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue.
    pub std: [f32; 3],
}

impl Normalisation {
    /// Statistics of the ImageNet training set, as torchvision's models use them.
    pub const IMAGENET: Self = Self { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

    /// Statistics of the CIFAR-10 training set, as MoCo's CIFAR recipe uses them.
    pub const CIFAR10: Self = Self { mean: [0.4914, 0.4822, 0.4465], std: [0.2023, 0.1994, 0.2010] };
}

/// Strengths of the colour jitter, as in torchvision's `ColorJitter`.
///
/// Strength `x` of brightness, contrast and saturation draws a factor from `[max(0, 1 - x), 1 + x]`; that of hue draws
/// a rotation from `[-x, x]` turns. The four are applied in a random order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Jitter {
    /// Strength of brightness, at least 0.
    pub brightness: f32,
    /// Strength of contrast, at least 0.
    pub contrast: f32,
    /// Strength of saturation, at least 0.
    pub saturation: f32,
    /// Strength of hue, 0 to 0.5 turns.
    pub hue: f32,
    /// Probability that a view is jittered at all.
    pub probability: f32,
}

/// A Gaussian blur of random width.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Blur {
    /// Least and greatest standard deviation, in pixels of the view; drawn uniformly.
    pub sigma: [f32; 2],
    /// Probability that a view is blurred.
    pub probability: f32,
}

/// How random views are made of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Least and greatest area of the crop, as a fraction of the image's; drawn uniformly.
    pub crop_area: [f32; 2],
    /// Colour jitter.
    pub jitter: Jitter,
    /// Probability that a view loses its colour.
    pub grey_probability: f32,
    /// Gaussian blur, if there is one.
    pub blur: Option<Blur>,
    /// Probability that the bright half of a view's intensities is inverted.
    pub solarise_probability: f32,
    /// Probability that a view is mirrored horizontally.
    pub flip_probability: f32,
    /// Normalisation of the finished view.
    pub normalisation: Normalisation,
}

/// Widest images that are too small to be blurred: CIFAR's. A blur of up to 2 pixels would leave little of them, and
/// the CIFAR recipes of MoCo and SimCLR (appendix B.9) do without it.
const LARGEST_UNBLURRED: usize = 32;

impl Recipe {
    /// Both views of MoCo v2 (Chen et al. 2020, "Improved baselines with momentum contrastive learning"; `--aug-plus`
    /// in its reference code), of views `image_size` pixels wide. Views up to 32 pixels are not blurred.
    pub fn moco_v2(normalisation: Normalisation, image_size: usize) -> Self {
        Self {
            crop_area: [0.2, 1.0],
            jitter: Jitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1, probability: 0.8 },
            grey_probability: 0.2,
            blur: blur(image_size, 0.5),
            solarise_probability: 0.0,
            flip_probability: 0.5,
            normalisation,
        }
    }

    /// The first and second view of MoCo v3 (Chen, Xie & He 2021; the asymmetric pair of BYOL, appendix B, with the
    /// crops of MoCo v3's ResNet-50 recipe), of views `image_size` pixels wide. Views up to 32 pixels are not blurred.
    pub fn moco_v3(normalisation: Normalisation, image_size: usize) -> [Self; 2] {
        let mut first = Self::moco_v2(normalisation, image_size);
        first.jitter.saturation = 0.2;
        first.blur = blur(image_size, 1.0);
        let second = Self { blur: blur(image_size, 0.1), solarise_probability: 0.2, ..first.clone() };
        [first, second]
    }

    /// Both views of SimCLR (Chen et al. 2020, appendix A, at colour strength 1), of views `image_size` pixels wide.
    /// Views up to 32 pixels are not blurred.
    pub fn simclr(normalisation: Normalisation, image_size: usize) -> Self {
        Self {
            crop_area: [0.08, 1.0],
            jitter: Jitter { brightness: 0.8, contrast: 0.8, saturation: 0.8, hue: 0.2, probability: 0.8 },
            ..Self::moco_v2(normalisation, image_size)
        }
    }

    /// The view of supervised training (He et al. 2016; Szegedy et al. 2015): crop and flip.
    pub fn supervised(normalisation: Normalisation, image_size: usize) -> Self {
        let mut recipe = Self::simclr(normalisation, image_size);
        recipe.jitter.probability = 0.0;
        Self { grey_probability: 0.0, blur: None, ..recipe }
    }

    /// Checks that every value lies in its domain; [`Augmenter::view`] does so too.
    ///
    /// # Errors
    /// [`AugmentError::Recipe`] names the first value that does not.
    pub fn check(&self) -> Result<(), AugmentError> {
        let within = |field, value: f32, domain, low: f32, high: f32| {
            // Written so that NaN is outside of every domain.
            if value >= low && value <= high { Ok(()) } else { Err(AugmentError::Recipe { field, domain, value }) }
        };
        let probability = |field, value| within(field, value, "from 0 to 1", 0.0, 1.0);
        let strength = |field, value| within(field, value, "finite and at least 0", 0.0, f32::MAX);
        let positive = |field, value| within(field, value, "finite and above 0", f32::MIN_POSITIVE, f32::MAX);

        let [least, greatest] = self.crop_area;
        within("crop_area[1]", greatest, "above 0, up to 1", 1e-6, 1.0)?;
        within("crop_area[0]", least, "above 0, up to crop_area[1]", 1e-6, greatest)?;
        strength("jitter.brightness", self.jitter.brightness)?;
        strength("jitter.contrast", self.jitter.contrast)?;
        strength("jitter.saturation", self.jitter.saturation)?;
        within("jitter.hue", self.jitter.hue, "from 0 to 0.5", 0.0, 0.5)?;
        probability("jitter.probability", self.jitter.probability)?;
        probability("grey_probability", self.grey_probability)?;
        if let Some(blur) = &self.blur {
            let [least, greatest] = blur.sigma;
            positive("blur.sigma[1]", greatest)?;
            within("blur.sigma[0]", least, "above 0, up to blur.sigma[1]", f32::MIN_POSITIVE, greatest)?;
            probability("blur.probability", blur.probability)?;
        }
        probability("solarise_probability", self.solarise_probability)?;
        probability("flip_probability", self.flip_probability)?;
        for std in self.normalisation.std {
            positive("normalisation.std", std)?;
        }
        for mean in self.normalisation.mean {
            within("normalisation.mean", mean, "finite", -f32::MAX, f32::MAX)?;
        }
        Ok(())
    }
}

/// The blur that all three recipes share, but for its probability (SimCLR, appendix A).
fn blur(image_size: usize, probability: f32) -> Option<Blur> {
    (image_size > LARGEST_UNBLURRED).then_some(Blur { sigma: [0.1, 2.0], probability })
}

/// Makes views; keeps its buffers, so that nothing is allocated once they have grown to the images' size.
///
/// One for each thread.
#[derive(Debug, Default)]
pub struct Augmenter {
    resampler: Resampler,
    gaussian: GaussianFilter,
}

impl Augmenter {
    /// An augmenter with empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes one random view of `image` to `out`: normalised, `[3, size, size]` (CHW).
    ///
    /// # Errors
    /// When `out` is not `3 * size * size > 0` values long, or the image or the recipe fails its check.
    pub fn view(
        &mut self,
        image: &Image,
        recipe: &Recipe,
        size: usize,
        rng: &mut impl Rng,
        out: &mut [f32],
    ) -> Result<(), AugmentError> {
        recipe.check()?;
        image.check()?;
        check_output(size, out)?;

        let crop = Crop::random(image.width, image.height, recipe.crop_area, rng);
        let mirrored = chance(rng, recipe.flip_probability);
        let (columns, rows) = (crop.left..crop.left + crop.width, crop.top..crop.top + crop.height);
        let side = size as u64;
        self.resampler.columns.set(columns, side, 0..side);
        self.resampler.rows.set(rows, side, 0..side);
        self.resampler.run(image, mirrored, out);

        let mut planes = Planes::of(out);
        if chance(rng, recipe.jitter.probability) {
            jitter(&mut planes, &recipe.jitter, rng);
        }
        if chance(rng, recipe.grey_probability) {
            planes.grey();
        }
        if let Some(blur) = &recipe.blur
            && chance(rng, blur.probability)
        {
            let sigma = uniform(rng, blur.sigma);
            self.gaussian.set(sigma, size);
            for plane in [&mut *planes.red, &mut *planes.green, &mut *planes.blue] {
                self.gaussian.run(plane, size);
            }
        }
        if chance(rng, recipe.solarise_probability) {
            planes.solarise();
        }
        planes.normalise(&recipe.normalisation);
        Ok(())
    }

    /// Writes the view of `image` that evaluation uses to `out`: normalised, `[3, size, size]` (CHW).
    ///
    /// An image of just that size stays as it is. Any other is resized so that its short side is 8/7 of `size` (256
    /// pixels for 224), and its centre is cropped.
    ///
    /// # Errors
    /// When `out` is not `3 * size * size > 0` values long, or the image is not one.
    pub fn centre(
        &mut self,
        image: &Image,
        size: usize,
        normalisation: &Normalisation,
        out: &mut [f32],
    ) -> Result<(), AugmentError> {
        image.check()?;
        check_output(size, out)?;

        // In 64 bits: resized, the long side of a thin image may exceed the 32 bits of WebAssembly.
        let [width, height, side] = [image.width, image.height, size].map(|length| length as u64);
        let short = width.min(height);
        let resized_short = if (width, height) == (side, side) { side } else { (16 * side + 7) / 14 };
        // The long side is rounded down and the margin to even, as by torchvision's `Resize` and `CenterCrop`.
        let resized = |length: u64| length * resized_short / short;
        let window = |resized: u64| {
            let start = ((resized - side) as f64 / 2.0).round_ties_even() as u64;
            start..start + side
        };
        let (columns, rows) = (resized(width), resized(height));
        self.resampler.columns.set(0..image.width, columns, window(columns));
        self.resampler.rows.set(0..image.height, rows, window(rows));
        self.resampler.run(image, false, out);
        Planes::of(out).normalise(normalisation);
        Ok(())
    }
}

fn check_output(size: usize, out: &[f32]) -> Result<(), AugmentError> {
    let expected = size.checked_mul(size).and_then(|n| n.checked_mul(3));
    if size == 0 || expected != Some(out.len()) {
        return Err(AugmentError::Output { size, actual: out.len() });
    }
    Ok(())
}

/// Whether an event of that probability happens.
fn chance(rng: &mut impl Rng, probability: f32) -> bool {
    rng.random::<f32>() < probability
}

/// A uniform draw. Unlike `random_range` it takes every range, an empty one included.
fn uniform(rng: &mut impl Rng, [low, high]: [f32; 2]) -> f32 {
    low + (high - low) * rng.random::<f32>()
}

/// A rectangle of an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Crop {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Crop {
    /// Widest aspect ratio of a crop; the tallest is its inverse.
    const WIDEST: f64 = 4.0 / 3.0;
    /// Natural logarithm of `WIDEST`.
    const LOG_WIDEST: f64 = 0.287_682_072_451_780_9;
    /// Draws of a rectangle before the centre is taken instead.
    const ATTEMPTS: usize = 10;

    /// The rectangle of torchvision's `RandomResizedCrop`: of uniform area (a fraction of the image's) and
    /// log-uniform aspect ratio, anywhere it fits. If none fits in ten draws, the largest centred rectangle of
    /// permitted aspect ratio.
    fn random(width: usize, height: usize, area: [f32; 2], rng: &mut impl Rng) -> Self {
        let image_area = width as f64 * height as f64;
        let [least, greatest] = area.map(f64::from);
        for _ in 0..Self::ATTEMPTS {
            let area = image_area * (least + (greatest - least) * rng.random::<f64>());
            let ratio = libm::exp(Self::LOG_WIDEST * (2.0 * rng.random::<f64>() - 1.0));
            let crop_width = (area * ratio).sqrt().round_ties_even() as usize;
            let crop_height = (area / ratio).sqrt().round_ties_even() as usize;
            if (1..=width).contains(&crop_width) && (1..=height).contains(&crop_height) {
                return Self {
                    left: rng.random_range(0..=width - crop_width),
                    top: rng.random_range(0..=height - crop_height),
                    width: crop_width,
                    height: crop_height,
                };
            }
        }

        let longest = |side: usize| (side as f64 * Self::WIDEST).round_ties_even() as usize;
        let (crop_width, crop_height) = (width.min(longest(height)), height.min(longest(width)));
        Self { left: (width - crop_width) / 2, top: (height - crop_height) / 2, width: crop_width, height: crop_height }
    }
}

/// What one axis of a resampling reads: for every output position a run of source positions and their weights.
#[derive(Debug, Default)]
struct Taps {
    /// First source position and number of positions, for every output position.
    spans: Vec<(usize, usize)>,
    /// The weights of all spans, end to end; those of a span sum to one.
    weights: Vec<f32>,
}

impl Taps {
    /// Resizes the stretch `source` to `resized` positions and keeps the `window` of those.
    ///
    /// The filter is Pillow's antialiased bilinear one: a triangle as wide as two output positions, but no narrower
    /// than two source positions, cut off at the ends of `source`.
    fn set(&mut self, source: Range<usize>, resized: u64, window: Range<u64>) {
        self.spans.clear();
        self.weights.clear();
        let scale = source.len() as f64 / resized as f64;
        let support = scale.max(1.0);
        for position in window {
            let centre = (position as f64 + 0.5) * scale;
            // The casts saturate at 0, where the first span begins.
            let first = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(source.len());
            let weight = |at: usize| 1.0 - ((at as f64 + 0.5 - centre) / support).abs().min(1.0);
            let sum: f64 = (first..end).map(weight).sum();
            self.spans.push((source.start + first, end - first));
            self.weights.extend((first..end).map(|at| (weight(at) / sum) as f32));
        }
    }

    /// First source position and weights, for every output position.
    fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        let mut rest = self.weights.as_slice();
        self.spans.iter().map(move |&(first, count)| {
            let (weights, after) = rest.split_at(count);
            rest = after;
            (first, weights)
        })
    }

    /// The source positions that are read, from the first to the last.
    fn extent(&self) -> Range<usize> {
        let (first, _) = self.spans.first().copied().unwrap_or_default();
        let (last, count) = self.spans.last().copied().unwrap_or_default();
        first..last + count
    }
}

/// Separable resampling of an image's rectangle.
///
/// One output row at a time: the source rows are blended into one, whose pixels are then gathered into the planes. So
/// the intermediate image is a single row that stays in the cache, and the blend runs over contiguous memory.
#[derive(Debug, Default)]
struct Resampler {
    columns: Taps,
    rows: Taps,
    /// The blended row: RGB pixels of the columns' extent.
    row: Vec<f32>,
}

impl Resampler {
    /// Writes the output of `columns` and `rows` as three planes with values in `[0, 1]`.
    fn run(&mut self, image: &Image, mirrored: bool, out: &mut [f32]) {
        let extent = self.columns.extent();
        let width = self.columns.spans.len();
        let Planes { red, green, blue } = Planes::of(out);
        let outputs = red.chunks_exact_mut(width).zip(green.chunks_exact_mut(width)).zip(blue.chunks_exact_mut(width));
        for ((first, weights), ((red, green), blue)) in self.rows.iter().zip(outputs) {
            self.row.clear();
            self.row.resize(3 * extent.len(), 0.0);
            for (y, weight) in (first..).zip(weights) {
                let start = 3 * (y * image.width + extent.start);
                let source = &image.pixels[start..start + self.row.len()];
                let weight = weight / 255.0;
                for (sum, &value) in self.row.iter_mut().zip(source) {
                    *sum += weight * f32::from(value);
                }
            }
            for (x, (first, weights)) in self.columns.iter().enumerate() {
                let start = 3 * (first - extent.start);
                let pixels = self.row[start..start + 3 * weights.len()].chunks_exact(3);
                let mut sum = [0.0; 3];
                for (pixel, weight) in pixels.zip(weights) {
                    for (sum, value) in sum.iter_mut().zip(pixel) {
                        *sum += weight * value;
                    }
                }
                let x = if mirrored { width - 1 - x } else { x };
                [red[x], green[x], blue[x]] = sum;
            }
        }
    }
}

/// Luma of a colour by ITU-R BT.601, with the weights of Pillow's mode `L`.
fn luma([red, green, blue]: [f32; 3]) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

/// The step from `other` to `value`, stretched by `factor`: Pillow's `Image.blend`, clamped like there.
fn blend(other: f32, value: f32, factor: f32) -> f32 {
    // This form returns `value` untouched at factor 1.
    ((1.0 - factor) * other + factor * value).clamp(0.0, 1.0)
}

/// Arithmetic mean. Eight running sums keep it both fast and more exact than one.
fn mean(plane: &[f32]) -> f32 {
    let (chunks, rest) = plane.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    let total: f32 = sums.iter().chain(rest).sum();
    total / plane.len() as f32
}

/// A view on its way: three planes with values in `[0, 1]`.
struct Planes<'a> {
    red: &'a mut [f32],
    green: &'a mut [f32],
    blue: &'a mut [f32],
}

impl<'a> Planes<'a> {
    /// The planes of a CHW image.
    fn of(pixels: &'a mut [f32]) -> Self {
        let area = pixels.len() / 3;
        let (red, rest) = pixels.split_at_mut(area);
        let (green, blue) = rest.split_at_mut(area);
        Self { red, green, blue }
    }

    /// Replaces every colour.
    fn map(&mut self, colour: impl Fn([f32; 3]) -> [f32; 3]) {
        let green_blue = self.green.iter_mut().zip(self.blue.iter_mut());
        for (red, (green, blue)) in self.red.iter_mut().zip(green_blue) {
            [*red, *green, *blue] = colour([*red, *green, *blue]);
        }
    }

    /// Blends with black.
    fn brightness(&mut self, factor: f32) {
        self.map(|colour| colour.map(|value| blend(0.0, value, factor)));
    }

    /// Blends with the mean luma of the view.
    fn contrast(&mut self, factor: f32) {
        // Luma is linear, so the luma of the mean is the mean of the luma.
        let grey = luma([mean(self.red), mean(self.green), mean(self.blue)]);
        self.map(|colour| colour.map(|value| blend(grey, value, factor)));
    }

    /// Blends with the grey image.
    fn saturation(&mut self, factor: f32) {
        self.map(|colour| {
            let grey = luma(colour);
            colour.map(|value| blend(grey, value, factor))
        });
    }

    /// Turns every hue by a number of full turns, leaving saturation and value (of HSV) alone.
    fn hue(&mut self, turns: f32) {
        // A channel at offset n of an HSV colour is value - chroma * clamp(min(k, 4 - k), 0, 1) with
        // k = (n + hue) mod 6, hue in sixths of a turn, and n = 5, 3, 1 for red, green and blue. There are no
        // branches in it, so the loop becomes vector instructions.
        let offsets = [5.0, 3.0, 1.0].map(|n: f32| (n + 6.0 * turns).rem_euclid(6.0));
        self.map(|[red, green, blue]| {
            let value = red.max(green).max(blue);
            let chroma = value - red.min(green).min(blue);
            let (difference, sector) = if value == red {
                (green - blue, 0.0)
            } else if value == green {
                (blue - red, 2.0)
            } else {
                (red - green, 4.0)
            };
            // A grey colour has chroma 0 and so has its difference; then any hue will do.
            let hue = sector + difference / chroma.max(f32::MIN_POSITIVE);
            offsets.map(|offset| {
                // The hue lies in [-1, 5]. A negative sum needs no wrapping: it is clamped to 0, just as k + 6 is.
                let sum = offset + hue;
                let k = if sum >= 6.0 { sum - 6.0 } else { sum };
                value - chroma * k.min(4.0 - k).clamp(0.0, 1.0)
            })
        });
    }

    /// Replaces every colour by its luma.
    fn grey(&mut self) {
        self.map(|colour| [luma(colour); 3]);
    }

    /// Inverts the intensities of 128 and more out of 255. Before rounding to 8 bits that is the upper half of
    /// `[0, 1]`, so each value becomes the lesser of itself and its inverse.
    fn solarise(&mut self) {
        self.map(|colour| colour.map(|value| value.min(1.0 - value)));
    }

    /// Moves the channels to mean 0 and standard deviation 1.
    fn normalise(&mut self, normalisation: &Normalisation) {
        let planes = [&mut *self.red, &mut *self.green, &mut *self.blue];
        for ((plane, mean), std) in planes.into_iter().zip(normalisation.mean).zip(normalisation.std) {
            for value in plane {
                *value = (*value - mean) / std;
            }
        }
    }
}

/// A colour operation of adjustable strength.
type Adjustment<'a> = fn(&mut Planes<'a>, f32);

/// Applies torchvision's `ColorJitter`: the four adjustments in a random order.
fn jitter<'a>(planes: &mut Planes<'a>, jitter: &Jitter, rng: &mut impl Rng) {
    let factor = |strength: f32| [(1.0 - strength).max(0.0), 1.0 + strength];
    let mut adjustments: [(Adjustment<'a>, [f32; 2]); 4] = [
        (Planes::brightness, factor(jitter.brightness)),
        (Planes::contrast, factor(jitter.contrast)),
        (Planes::saturation, factor(jitter.saturation)),
        (Planes::hue, [-jitter.hue, jitter.hue]),
    ];
    adjustments.shuffle(rng);
    for (adjust, range) in adjustments {
        adjust(planes, uniform(rng, range));
    }
}

/// Separable Gaussian blur of a plane; beyond the edges the nearest pixel repeats, as in Pillow.
#[derive(Debug, Default)]
struct GaussianFilter {
    /// Weights at distance 0 to `radius`; the first and twice the others sum to one.
    kernel: Vec<f32>,
    /// The plane after the vertical pass.
    blurred: Vec<f32>,
    /// A row with its ends repeated `radius` times.
    padded: Vec<f32>,
}

impl GaussianFilter {
    /// Takes the kernel of standard deviation `sigma` (in pixels), for planes `size` pixels wide.
    fn set(&mut self, sigma: f32, size: usize) {
        // Three standard deviations hold 99.7% of the weight. A radius beyond the plane would read only repeated edges.
        let radius = ((3.0 * sigma).ceil() as usize).min(size);
        let weight = |distance: usize| {
            let deviations = distance as f64 / f64::from(sigma);
            libm::exp(-0.5 * deviations * deviations)
        };
        let sum = 1.0 + 2.0 * (1..=radius).map(weight).sum::<f64>();
        self.kernel.clear();
        self.kernel.extend((0..=radius).map(|distance| (weight(distance) / sum) as f32));
    }

    /// Blurs a plane of `size` x `size` values in place.
    fn run(&mut self, plane: &mut [f32], size: usize) {
        self.blurred.resize(plane.len(), 0.0);
        for (y, out) in self.blurred.chunks_exact_mut(size).enumerate() {
            let row = |y: usize| &plane[y * size..][..size];
            convolve(out, &self.kernel, row(y), |distance| {
                (row(y.saturating_sub(distance)), row((y + distance).min(size - 1)))
            });
        }

        let radius = self.kernel.len() - 1;
        for (row, out) in self.blurred.chunks_exact(size).zip(plane.chunks_exact_mut(size)) {
            self.padded.clear();
            self.padded.resize(radius, row[0]);
            self.padded.extend_from_slice(row);
            self.padded.resize(size + 2 * radius, row[size - 1]);
            let shifted = |start: usize| &self.padded[start..][..size];
            convolve(out, &self.kernel, row, |distance| (shifted(radius - distance), shifted(radius + distance)));
        }
    }
}

/// Convolves a whole row at once with a symmetric kernel, given the row and its two neighbours at every distance.
fn convolve<'a>(out: &mut [f32], kernel: &[f32], row: &[f32], neighbours: impl Fn(usize) -> (&'a [f32], &'a [f32])) {
    for (sum, value) in out.iter_mut().zip(row) {
        *sum = kernel[0] * value;
    }
    for (distance, weight) in kernel.iter().enumerate().skip(1) {
        let (before, after) = neighbours(distance);
        for (sum, (before, after)) in out.iter_mut().zip(before.iter().zip(after)) {
            *sum += weight * (before + after);
        }
    }
}

/// Generator of a view's random draws.
///
/// PCG needs only 64-bit arithmetic, which WebAssembly has, and a state is set up in a few instructions.
pub type ViewRng = rand_pcg::Pcg32;

/// The generator of one view, from the run's seed, the epoch, the image's number in the data set and the view's number.
///
/// Since it depends on nothing else, a run repeats whatever the order or the thread in which views are made.
pub fn view_rng(seed: u64, epoch: u64, image: u64, view: u64) -> ViewRng {
    seeded(&[seed, epoch, image, view])
}

/// The order in which an epoch visits a data set of `len` images (at most 2^32): a permutation of `0..len`.
pub fn epoch_order(seed: u64, epoch: u64, len: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..len).map(|image| image as u32).collect();
    order.shuffle(&mut seeded(&[seed, epoch]));
    order
}

/// A generator whose state hashes all words and their number, so that neighbouring words give unrelated generators.
fn seeded(words: &[u64]) -> ViewRng {
    let state = words.iter().fold(words.len() as u64, |state, word| split_mix(state ^ word));
    ViewRng::new(state, split_mix(state))
}

/// One step of SplitMix64 (Steele, Lea & Flood 2014): a bijection in which every input bit affects every output bit.
fn split_mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No colour operation happens, and the whole range of areas is drawn.
    const CROP_ONLY: Recipe = Recipe {
        crop_area: [0.2, 1.0],
        jitter: Jitter { brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.0, probability: 0.0 },
        grey_probability: 0.0,
        blur: None,
        solarise_probability: 0.0,
        flip_probability: 0.0,
        normalisation: Normalisation { mean: [0.0; 3], std: [1.0; 3] },
    };

    /// An image of pseudo-random bytes; the figures from Pillow below were taken on the same.
    fn image(width: usize, height: usize) -> Image {
        let pixels = (0..width * height * 3).map(|i| ((i * 37 + 11) % 256) as u8);
        Image::new(width, height, pixels.collect()).unwrap()
    }

    fn recipes(size: usize) -> Vec<Recipe> {
        let [first, second] = Recipe::moco_v3(Normalisation::IMAGENET, size);
        vec![
            Recipe::moco_v2(Normalisation::IMAGENET, size),
            first,
            second,
            Recipe::simclr(Normalisation::IMAGENET, size),
        ]
    }

    fn view(image: &Image, recipe: &Recipe, size: usize, rng: &mut ViewRng) -> Vec<f32> {
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
    fn assert_near<'a>(
        actual: impl IntoIterator<Item = &'a f32>,
        expected: impl IntoIterator<Item = f32>,
        tolerance: f32,
    ) {
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
        // Whoever changes these figures breaks the repetition of every recorded run.
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
    fn resampling_is_pillows() {
        let resample = |columns: Range<usize>, rows: Range<usize>, size: usize| {
            let mut resampler = Resampler::default();
            resampler.columns.set(columns, size as u64, 0..size as u64);
            resampler.rows.set(rows, size as u64, 0..size as u64);
            let mut out = vec![f32::NAN; 3 * size * size];
            resampler.run(&image(9, 7), false, &mut out);
            out.iter_mut().for_each(|value| *value *= 255.0);
            out
        };
        // Image.crop((1, 1, 8, 6)).resize((3, 3), BILINEAR); Pillow rounds twice.
        assert_near(
            &resample(1..8, 1..6, 3),
            [
                126., 103., 145., 99., 124., 149., 155., 145., 122., 163., 140., 90., 124., 114., 135., 85., 122.,
                159., 91., 162., 127., 137., 135., 108., 122., 99., 141.,
            ],
            1.0,
        );
        // Image.crop((2, 3, 4, 5)).resize((4, 4), BILINEAR), red.
        assert_near(
            &resample(2..4, 3..5, 4)[..16],
            [158., 122., 49., 13., 152., 132., 91., 71., 139., 151., 174., 186., 133., 161., 216., 244.],
            1.0,
        );
    }

    #[test]
    fn the_centre_view_is_torchvisions() {
        let normalisation = CROP_ONLY.normalisation;
        let mut out = vec![f32::NAN; 3 * 7 * 7];
        Augmenter::new().centre(&image(19, 14), 7, &normalisation, &mut out).unwrap();
        out.iter_mut().for_each(|value| *value *= 255.0);
        // Image.resize((10, 8), BILINEAR).crop((2, 0, 9, 7)), first two rows of red.
        assert_near(
            &out[..14],
            [107., 125., 134., 132., 123., 123., 150., 119., 126., 158., 125., 137., 121., 110.],
            1.0,
        );
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
    fn colour_operations_are_pillows() {
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
        expect(
            adjusted(|planes| planes.contrast(1.4)),
            [[220., 80., 10.], [0., 24., 66.], [0., 255., 119.], white],
            1.0,
        );
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
        expect(
            adjusted(|planes| planes.solarise()),
            [[55., 100., 50.], [30., 60., 90.], [10., 5., 127.], [0.; 3]],
            1e-3,
        );
        // Of the 256 hue steps of a turn, torchvision takes int(255 * turns). At chroma 240 a step is 6 * 240 / 256
        // levels; two of them are tolerated.
        let steps = 2.0 * 6.0 * 240.0 / 256.0;
        expect(
            adjusted(|planes| planes.hue(0.1)),
            [[200., 188., 50.], [34., 30., 90.], [11., 236., 250.], white],
            steps,
        );
        expect(
            adjusted(|planes| planes.hue(-0.1)),
            [[200., 50., 85.], [30., 90., 84.], [39., 250., 11.], white],
            steps,
        );
        expect(
            adjusted(|planes| planes.hue(0.5)),
            [[50., 152., 200.], [90., 57., 30.], [250., 11., 140.], white],
            steps,
        );
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

            // Away from the edges nothing is lost, and both passes spread alike.
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
        let mirror = Recipe { flip_probability: 1.0, ..CROP_ONLY };
        let plain = view(&image, &CROP_ONLY, size, &mut view_rng(0, 0, 0, 0));
        let mut mirrored = view(&image, &mirror, size, &mut view_rng(0, 0, 0, 0));
        assert_ne!(mirrored, plain);
        mirrored.chunks_exact_mut(size).for_each(<[f32]>::reverse);
        assert_eq!(mirrored, plain);
    }

    #[test]
    fn probabilities_are_kept() {
        let image = image(8, 8);
        let recipe = Recipe { grey_probability: 0.2, ..CROP_ONLY };
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
    fn recipes_are_the_papers() {
        for size in [32, 224] {
            for recipe in recipes(size) {
                assert_eq!(recipe.check(), Ok(()));
                assert_eq!(recipe.blur.is_some(), size > 32);
                let json = serde_json::to_string(&recipe).unwrap();
                assert_eq!(serde_json::from_str::<Recipe>(&json).unwrap(), recipe);
            }
        }
        let [first, second] = Recipe::moco_v3(Normalisation::IMAGENET, 224);
        let blurs = [first.blur, second.blur].map(|blur| blur.map(|blur| blur.probability));
        assert_eq!(blurs, [Some(1.0), Some(0.1)]);
        assert_eq!([first.solarise_probability, second.solarise_probability], [0.0, 0.2]);
        assert_eq!(first.jitter, second.jitter);
    }

    #[test]
    fn bad_input_is_an_error() {
        let mut rng = view_rng(0, 0, 0, 0);
        let mut attempt = |image: &Image, recipe: &Recipe, size, length| {
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

        let spoilt: [fn(&mut Recipe); 7] = [
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
            assert!(matches!(attempt(&good, &recipe, 2, 12), Err(AugmentError::Recipe { .. })));
        }
    }
}
