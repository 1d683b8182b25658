//! Random views of an image: the augmentations of MoCo v2, MoCo v3 and SimCLR.
//!
//! A view is a random resized crop, then colour jitter, grey, blur, solarise and flip, each with its own probability,
//! and finally normalisation. Every operation follows torchvision on Pillow images, which the published recipes run on,
//! with two differences:
//!
//! - values are `f32` in `[0, 1]` and are never rounded to 8 bits between operations (they are clamped where Pillow
//!   clamps), so a view differs from Pillow's by about one grey level for each operation. Only views that a device
//!   finishes are rounded once, after the crop, because they travel to it as bytes;
//! - the blur is a true Gaussian, where Pillow approximates one by three box filters.
//!
//! The flip costs nothing: it commutes with everything after the crop, so the crop is written mirrored.
//!
//! A view depends only on the image, the recipe and the generator's state. Beyond `+ - * /` and `sqrt`, which IEEE 754
//! rounds exactly, only `exp` is used, and that from `libm` rather than from the platform: [`view_rng`] therefore
//! yields the same bits on every platform and with any number of threads.

mod blur;
mod config;
#[allow(missing_docs, reason = "the names of a plan's parts suffice")]
pub mod plan;
mod planes;
mod recipes;
mod resample;

use pulp::{Arch, NullaryFnOnce};
use rand::{Rng, seq::SliceRandom};

pub use config::{AugmentConfig, Blur, Jitter};
pub use plan::ViewPlan;
pub use recipes::{Subject, ViewRecipe, views};
pub use slimclr_run::normalisation::Normalisation;

use blur::GaussianFilter;
use plan::{Crop, Effects};
use planes::Planes;
use resample::Resampler;

use crate::{
    image::{Image, ImageError},
    reduced::ReducedImage,
};

/// Why a view cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AugmentError {
    /// The output slice does not fit the view.
    #[error(
        "a view of {size} x {size} pixels fills 3 planes of that size (at least one pixel), but the output holds \
         {actual} values"
    )]
    Output {
        /// Side of the view, in pixels.
        size: usize,
        /// Length of the output slice.
        actual: usize,
    },
    /// An option is outside its domain.
    #[error("augmentation: {field} must be {domain}, but is {value}")]
    Config {
        /// Path of the value in [`AugmentConfig`].
        field: &'static str,
        /// What the value may be.
        domain: &'static str,
        /// The value given.
        value: f32,
    },
    /// The image is empty, or its pixels do not fit its size.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// Makes views. It reuses its buffers, so that it stops allocating once they fit the images.
///
/// Use one per thread.
#[derive(Debug, Default)]
pub struct Augmenter {
    resampler: Resampler,
    gaussian: GaussianFilter,
}

impl Augmenter {
    /// Creates an augmenter with empty buffers.
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
        recipe: &AugmentConfig,
        size: usize,
        rng: &mut impl Rng,
        out: &mut [f32],
    ) -> Result<(), AugmentError> {
        recipe.check()?;
        image.check()?;
        check_output(size, out)?;

        let plan = ViewPlan::draw(recipe, [image.width, image.height], rng);
        self.planned(&image.into(), &plan, size, &recipe.normalisation, out);
        Ok(())
    }

    /// Writes the view of `image` that was planned for an image of its size to `out`, `[3, size, size]` (CHW).
    pub fn planned(
        &mut self,
        image: &ReducedImage,
        plan: &ViewPlan,
        size: usize,
        normalisation: &Normalisation,
        out: &mut [f32],
    ) {
        self.set_crop(plan.crop, image.factor, size);
        if let Some(sigma) = plan.effects.sigma {
            self.gaussian.set(sigma, size);
        }
        self.make(&image.pixels, size, plan.mirrored, &plan.effects, normalisation, out);
    }

    /// Writes the view of `image` that was planned for an image of its size, without its effects and normalisation, to
    /// `out`: `[size, size, 3]` bytes, rounded to the nearest.
    pub fn cropped(&mut self, image: &ReducedImage, plan: &ViewPlan, size: usize, out: &mut [u8]) {
        self.set_crop(plan.crop, image.factor, size);
        let resampler = &mut self.resampler;
        Arch::new().dispatch(Cropping { resampler, image: &image.pixels, mirrored: plan.mirrored, out });
    }

    /// Sets the resampler to a crop of an image that was reduced by `factor`.
    fn set_crop(&mut self, Crop { left, top, width, height }: Crop, factor: usize, size: usize) {
        let reduced = |place: usize| place as f64 / factor as f64;
        let side = size as u64;
        self.resampler.columns.set(reduced(left)..reduced(left + width), side, 0..side);
        self.resampler.rows.set(reduced(top)..reduced(top + height), side, 0..side);
    }

    /// Writes the view of `image` that evaluation uses to `out`: normalised, `[3, size, size]` (CHW).
    ///
    /// An image of exactly that size is not resized. Any other is resized so that its short side is
    /// [`evaluation_resize`], and its centre is cropped.
    ///
    /// # Errors
    /// When `out` is not `3 * size * size > 0` values long, or the image fails its check.
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
        let resized_short = if (width, height) == (side, side) { side } else { evaluation_resize(side) };
        // The long side is rounded down and the margin to even, as by torchvision's `Resize` and `CenterCrop`.
        let resized = |length: u64| length * resized_short / short;
        let window = |resized: u64| {
            let start = ((resized - side) as f64 / 2.0).round_ties_even() as u64;
            start..start + side
        };
        let (columns, rows) = (resized(width), resized(height));
        self.resampler.columns.set(0.0..image.width as f64, columns, window(columns));
        self.resampler.rows.set(0.0..image.height as f64, rows, window(rows));
        self.make(image, size, false, &Effects::default(), normalisation, out);
        Ok(())
    }

    /// Makes the view that resampler and filter are set for, with the processor's widest vector instructions. They
    /// change no bit: nothing is reordered, and no product is fused with a sum.
    fn make(
        &mut self,
        image: &Image,
        size: usize,
        mirrored: bool,
        effects: &Effects,
        normalisation: &Normalisation,
        out: &mut [f32],
    ) {
        Arch::new().dispatch(Making { augmenter: self, image, size, mirrored, effects, normalisation, out });
    }
}

/// The arguments of [`Augmenter::make`]. Everything that it calls is inlined, so that it is compiled for each
/// instruction set.
struct Making<'a> {
    augmenter: &'a mut Augmenter,
    image: &'a Image,
    size: usize,
    mirrored: bool,
    effects: &'a Effects,
    normalisation: &'a Normalisation,
    out: &'a mut [f32],
}

impl NullaryFnOnce for Making<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Augmenter { resampler, gaussian } = self.augmenter;
        let mut planes = Planes::of(self.out);
        resampler.run(self.image, self.mirrored, |place, colour| {
            [planes.red[place], planes.green[place], planes.blue[place]] = colour;
        });
        for adjustment in self.effects.adjustments.into_iter().flatten() {
            planes.adjust(adjustment);
        }
        if self.effects.grey {
            planes.grey();
        }
        if self.effects.sigma.is_some() {
            for plane in [&mut *planes.red, &mut *planes.green, &mut *planes.blue] {
                gaussian.run(plane, self.size);
            }
        }
        if self.effects.solarised {
            planes.solarise();
        }
        planes.normalise(self.normalisation);
    }
}

/// The arguments of [`Augmenter::cropped`], compiled as [`Making`] is.
struct Cropping<'a> {
    resampler: &'a mut Resampler,
    image: &'a Image,
    mirrored: bool,
    out: &'a mut [u8],
}

impl NullaryFnOnce for Cropping<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let (pixels, _) = self.out.as_chunks_mut::<3>();
        // The cast rounds down and saturates.
        let byte = |value: f32| (255.0 * value + 0.5) as u8;
        self.resampler.run(self.image, self.mirrored, |place, colour| pixels[place] = colour.map(byte));
    }
}

/// Returns the length to which evaluation resizes an image's short side before it crops `size` pixels from the centre:
/// 8/7 of `size`, rounded, so 256 pixels for 224.
pub fn evaluation_resize(size: u64) -> u64 {
    (16 * size + 7) / 14
}

fn check_output(size: usize, out: &[f32]) -> Result<(), AugmentError> {
    let expected = size.checked_mul(size).and_then(|n| n.checked_mul(3));
    if size == 0 || expected != Some(out.len()) {
        return Err(AugmentError::Output { size, actual: out.len() });
    }
    Ok(())
}

/// Generator of a view's random draws.
///
/// PCG needs only 64-bit arithmetic, which WebAssembly has, and a state is set up in a few instructions.
pub type ViewRng = rand_pcg::Pcg32;

/// Returns the generator of one view, from the run's seed, the epoch, the image's number in the data set and the view's
/// number.
///
/// It depends on nothing else, so a run is reproducible whatever the order or thread in which views are made.
pub fn view_rng(seed: u64, epoch: u64, image: u64, view: u64) -> ViewRng {
    seeded(&[seed, epoch, image, view])
}

/// Returns the order in which an epoch visits a data set of `len` images (at most 2^32): a permutation of `0..len`.
pub fn epoch_order(seed: u64, epoch: u64, len: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..len).map(|image| image as u32).collect();
    order.shuffle(&mut seeded(&[seed, epoch]));
    order
}

/// Returns a generator whose state hashes all words and their number, so that similar words give unrelated generators.
pub(crate) fn seeded(words: &[u64]) -> ViewRng {
    let state = words.iter().fold(words.len() as u64, |state, word| split_mix(state ^ word));
    ViewRng::new(state, split_mix(state))
}

/// Computes one step of SplitMix64 (Steele, Lea & Flood 2014): a bijection in which every input bit affects every
/// output bit.
fn split_mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
