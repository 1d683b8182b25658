//! Images with a margin of zeros.

use super::{copy::copy_rows, vectors::SLACK};

/// Planes of an image with a margin of zeros: of each channel `phases * phases`, with every `step`-th pixel of every
/// `step`-th row from another first one on.
#[derive(Clone, Copy)]
pub struct Canvas {
    /// The image's.
    pub height: usize,
    pub width: usize,
    pub step: usize,
    pub phases: usize,
    /// Zeros before the image's first pixel and above its first row.
    pub margin: usize,
    /// Values from one row of a plane to the next.
    pub pitch: usize,
    pub rows: usize,
}

impl Canvas {
    pub fn plane(&self) -> usize {
        self.rows * self.pitch
    }

    pub fn channel(&self) -> usize {
        self.phases * self.phases * self.plane()
    }

    /// Zeros for so many channels.
    pub fn blank(&self, channels: usize) -> Vec<f32> {
        vec![0.0; channels * self.channel() + self.pitch + SLACK]
    }

    /// Copies `image` to `target`, whose margins are zero, or were made so by [`blank`](Self::blank).
    pub fn lay(&self, image: &[f32], target: &mut [f32]) {
        let Self { height, width, step, phases, margin, pitch, .. } = *self;
        for (image, target) in image.chunks_exact(height * width).zip(target.chunks_exact_mut(self.channel())) {
            if step == 1 {
                copy_rows(image, width, &mut target[margin * pitch + margin..], pitch);
                continue;
            }
            for (phase, target) in target.chunks_exact_mut(self.plane()).enumerate() {
                let (down, right) = (phase / phases, phase % phases);
                // The first pixel of a row that the plane has, and where.
                let first = margin.saturating_sub(right).div_ceil(step);
                let pixel = first * step + right - margin;
                for (row, target) in target.chunks_exact_mut(pitch).enumerate() {
                    let y = (row * step + down).wrapping_sub(margin);
                    if y < height && pixel < width {
                        let source = image[y * width + pixel..(y + 1) * width].iter().step_by(step);
                        target[first..].iter_mut().zip(source).for_each(|(target, source)| *target = *source);
                    }
                }
            }
        }
    }
}
