//! Zero-padded images.

use super::{copy::copy_rows, vectors::SLACK};
use crate::cpu::Stored;

/// Layout of an image in zero-padded planes. A channel has `phases * phases` planes; each holds every `step`-th pixel
/// of every `step`-th row, from a different first pixel.
#[derive(Clone, Copy)]
pub struct Canvas {
    /// Height of the image.
    pub height: usize,
    /// Width of the image.
    pub width: usize,
    /// Distance, in the image, between neighbouring pixels of a plane.
    pub step: usize,
    pub phases: usize,
    /// Zeros left of the image and above it.
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

    /// Returns zeros for `channels` channels.
    pub fn blank(&self, channels: usize) -> Vec<f32> {
        vec![0.0; channels * self.channel() + self.pitch + SLACK]
    }

    /// Copies `image` into `target`, which comes from [`blank`](Self::blank) and whose margins are still zero.
    pub fn fill<T: Stored>(&self, image: &[T], target: &mut [f32]) {
        let Self { height, width, step, phases, margin, pitch, .. } = *self;
        for (image, target) in image.chunks_exact(height * width).zip(target.chunks_exact_mut(self.channel())) {
            if step == 1 {
                copy_rows(image, width, &mut target[margin * pitch + margin..], pitch);
                continue;
            }
            for (phase, target) in target.chunks_exact_mut(self.plane()).enumerate() {
                let (down, right) = (phase / phases, phase % phases);
                // The first pixel of a row that the plane holds, and its place there.
                let first = margin.saturating_sub(right).div_ceil(step);
                let pixel = first * step + right - margin;
                for (row, target) in target.chunks_exact_mut(pitch).enumerate() {
                    let y = (row * step + down).wrapping_sub(margin);
                    if y < height && pixel < width {
                        let source = image[y * width + pixel..(y + 1) * width].iter().step_by(step);
                        target[first..].iter_mut().zip(source).for_each(|(target, source)| *target = source.widen());
                    }
                }
            }
        }
    }
}
