//! The random choices of a view, drawn before any pixel is read.

use rand::{Rng, RngExt, seq::SliceRandom};

use super::config::{AugmentConfig, Jitter};

/// The random choices of one view.
///
/// Both the CPU and devices make views from plans, so that they make the same views.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewPlan {
    pub crop: Crop,
    pub mirrored: bool,
    pub effects: Effects,
}

impl ViewPlan {
    /// Draws a view of an image of `width` x `height` pixels with options that have passed [`AugmentConfig::check`].
    pub fn draw(recipe: &AugmentConfig, [width, height]: [usize; 2], rng: &mut impl Rng) -> Self {
        Self {
            crop: Crop::random(width, height, recipe.crop_area, rng),
            mirrored: chance(rng, recipe.flip_probability),
            effects: Effects::draw(recipe, rng),
        }
    }

    /// Returns by how much the image may be reduced for a view of `size` pixels: the largest of 4, 2 and 1 at which the
    /// crop still has that many pixels in both directions.
    pub fn reduction(&self, size: usize) -> usize {
        let short = self.crop.width.min(self.crop.height);
        [4, 2].into_iter().find(|factor| short >= factor * size).unwrap_or(1)
    }
}

/// The operations on a cropped view, in this order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Effects {
    /// The colour jitter, if there is one.
    pub adjustments: Option<[Adjustment; 4]>,
    pub grey: bool,
    /// Standard deviation of the blur in pixels, if there is one.
    pub sigma: Option<f32>,
    pub solarised: bool,
}

impl Effects {
    fn draw(recipe: &AugmentConfig, rng: &mut impl Rng) -> Self {
        Self {
            adjustments: chance(rng, recipe.jitter.probability).then(|| adjustments(&recipe.jitter, rng)),
            grey: chance(rng, recipe.grey_probability),
            sigma: match &recipe.blur {
                Some(blur) if chance(rng, blur.probability) => Some(uniform(rng, blur.sigma)),
                _ => None,
            },
            solarised: chance(rng, recipe.solarise_probability),
        }
    }
}

/// A colour operation with its strength.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Adjustment {
    /// Blends with black: the weight of the view.
    Brightness(f32),
    /// Blends with the mean grey: the weight of the view.
    Contrast(f32),
    /// Blends with the grey view: the weight of the view.
    Saturation(f32),
    /// Rotates every hue by this number of full turns.
    Hue(f32),
}

/// Draws torchvision's `ColorJitter`: the four adjustments in a random order.
fn adjustments(jitter: &Jitter, rng: &mut impl Rng) -> [Adjustment; 4] {
    let factor = |strength: f32| [(1.0 - strength).max(0.0), 1.0 + strength];
    type OfStrength = fn(f32) -> Adjustment;
    let mut kinds: [(OfStrength, [f32; 2]); 4] = [
        (Adjustment::Brightness, factor(jitter.brightness)),
        (Adjustment::Contrast, factor(jitter.contrast)),
        (Adjustment::Saturation, factor(jitter.saturation)),
        (Adjustment::Hue, [-jitter.hue, jitter.hue]),
    ];
    kinds.shuffle(rng);
    kinds.map(|(adjustment, range)| adjustment(uniform(rng, range)))
}

/// Returns true with this probability.
fn chance(rng: &mut impl Rng, probability: f32) -> bool {
    rng.random::<f32>() < probability
}

/// Draws uniformly. Unlike `random_range`, it accepts empty ranges.
fn uniform(rng: &mut impl Rng, [low, high]: [f32; 2]) -> f32 {
    low + (high - low) * rng.random::<f32>()
}

/// A rectangle of an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crop {
    pub left: usize,
    pub top: usize,
    pub width: usize,
    pub height: usize,
}

impl Crop {
    /// Widest aspect ratio of a crop; the tallest is its inverse.
    const WIDEST: f64 = 4.0 / 3.0;
    /// Natural logarithm of `WIDEST`.
    const LOG_WIDEST: f64 = 0.287_682_072_451_780_9;
    /// Draws of a rectangle before the centre is taken instead.
    const ATTEMPTS: usize = 10;

    /// Returns whether it fits into an image of `width` x `height` pixels.
    pub fn fits(self, width: usize, height: usize) -> bool {
        self.left + self.width <= width && self.top + self.height <= height
    }

    /// Draws the rectangle of torchvision's `RandomResizedCrop`: of uniform area (a fraction of the image's) and
    /// log-uniform aspect ratio, anywhere it fits. If none fits in ten draws, returns the largest centred rectangle of
    /// permitted aspect ratio.
    pub fn random(width: usize, height: usize, area: [f32; 2], rng: &mut impl Rng) -> Self {
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
