//! Operations on the colours of a view, as Pillow does them.

use super::{Normalisation, plan::Adjustment};

/// Returns the luma of a colour by ITU-R BT.601, with the weights of Pillow's mode `L`.
#[inline(always)]
fn luma([red, green, blue]: [f32; 3]) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

/// Interpolates from `other` to `value` by `factor` and clamps, as Pillow's `Image.blend`.
#[inline(always)]
fn blend(other: f32, value: f32, factor: f32) -> f32 {
    // This form returns `value` untouched at factor 1.
    ((1.0 - factor) * other + factor * value).clamp(0.0, 1.0)
}

/// Returns the arithmetic mean. Eight partial sums are faster and more exact than one.
#[inline(always)]
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

/// A view before normalisation: three planes with values in `[0, 1]`.
pub struct Planes<'a> {
    pub red: &'a mut [f32],
    pub green: &'a mut [f32],
    pub blue: &'a mut [f32],
}

impl<'a> Planes<'a> {
    /// Splits a CHW image into its planes.
    #[inline(always)]
    pub fn of(pixels: &'a mut [f32]) -> Self {
        let area = pixels.len() / 3;
        let (red, rest) = pixels.split_at_mut(area);
        let (green, blue) = rest.split_at_mut(area);
        Self { red, green, blue }
    }

    /// Replaces every colour.
    #[inline(always)]
    fn map(&mut self, colour: impl Fn([f32; 3]) -> [f32; 3]) {
        let green_blue = self.green.iter_mut().zip(self.blue.iter_mut());
        for (red, (green, blue)) in self.red.iter_mut().zip(green_blue) {
            [*red, *green, *blue] = colour([*red, *green, *blue]);
        }
    }

    /// Adjusts every colour.
    #[inline(always)]
    pub fn adjust(&mut self, adjustment: Adjustment) {
        match adjustment {
            Adjustment::Brightness(factor) => self.brightness(factor),
            Adjustment::Contrast(factor) => self.contrast(factor),
            Adjustment::Saturation(factor) => self.saturation(factor),
            Adjustment::Hue(turns) => self.hue(turns),
        }
    }

    /// Blends with black.
    #[inline(always)]
    pub fn brightness(&mut self, factor: f32) {
        self.map(|colour| colour.map(|value| blend(0.0, value, factor)));
    }

    /// Blends with the mean luma of the view.
    #[inline(always)]
    pub fn contrast(&mut self, factor: f32) {
        // Luma is linear, so the luma of the mean is the mean of the luma.
        let grey = luma([mean(self.red), mean(self.green), mean(self.blue)]);
        self.map(|colour| colour.map(|value| blend(grey, value, factor)));
    }

    /// Blends with the grey image.
    #[inline(always)]
    pub fn saturation(&mut self, factor: f32) {
        self.map(|colour| {
            let grey = luma(colour);
            colour.map(|value| blend(grey, value, factor))
        });
    }

    /// Rotates every hue by a number of full turns. Saturation and value (of HSV) stay the same.
    #[inline(always)]
    pub fn hue(&mut self, turns: f32) {
        // A channel at offset n of an HSV colour is value - chroma * clamp(min(k, 4 - k), 0, 1) with k = (n + hue) mod
        // 6, hue in sixths of a turn, and n = 5, 3, 1 for red, green and blue. There are no branches, so the loop
        // becomes vector instructions.
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
                // The hue is in [-1, 5]. A negative sum needs no wrapping: it is clamped to 0, just as k + 6 is.
                let sum = offset + hue;
                let k = if sum >= 6.0 { sum - 6.0 } else { sum };
                value - chroma * k.min(4.0 - k).clamp(0.0, 1.0)
            })
        });
    }

    /// Replaces every colour by its luma.
    #[inline(always)]
    pub fn grey(&mut self) {
        self.map(|colour| [luma(colour); 3]);
    }

    /// Inverts the intensities of 128 and more out of 255. Before rounding to 8 bits that is the upper half of
    /// `[0, 1]`, so each value becomes the lesser of itself and its inverse.
    #[inline(always)]
    pub fn solarise(&mut self) {
        self.map(|colour| colour.map(|value| value.min(1.0 - value)));
    }

    /// Moves the channels to mean 0 and standard deviation 1.
    #[inline(always)]
    pub fn normalise(&mut self, normalisation: &Normalisation) {
        let planes = [&mut *self.red, &mut *self.green, &mut *self.blue];
        for ((plane, mean), std) in planes.into_iter().zip(normalisation.mean).zip(normalisation.std) {
            for value in plane {
                *value = (*value - mean) / std;
            }
        }
    }
}
