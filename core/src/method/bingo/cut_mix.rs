//! CutMix (Yun et al. 2019): a box of one image is pasted into another.

use std::ops::Range;

use burn::tensor::{Tensor, s};
use rand::{Rng, RngExt};
use rand_distr::{Beta, Distribution};

/// A box of pixels, the same in all images of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct CutMix {
    /// The rows of the box.
    pub rows: Range<usize>,
    /// The columns of the box.
    pub columns: Range<usize>,
    /// The share of the pixels that are outside the box.
    pub share: f64,
}

impl CutMix {
    /// Draws a box in images of `[height, width]` pixels: the share to keep from Beta(2, 2), the centre uniformly.
    pub fn draw(size: [usize; 2], random: &mut impl Rng) -> Self {
        let beta = Beta::new(2.0, 2.0).expect("both parameters are positive");
        let share = beta.sample(random);
        Self::new(share, size.map(|side| random.random_range(0..side)), size)
    }

    /// Places a box around the pixel `centre`, `[row, column]`, in images of `[height, width]` pixels. The share `lam` of
    /// the pixels, from 0 to 1, should stay outside. More do, since the sides are rounded down to even numbers and cut at
    /// the images' border.
    pub fn new(lam: f64, centre: [usize; 2], size: [usize; 2]) -> Self {
        let side_share = (1.0 - lam).sqrt();
        let [rows, columns] = [0, 1].map(|dim| {
            let half = (size[dim] as f64 * side_share) as usize / 2;
            centre[dim].saturating_sub(half)..(centre[dim] + half).min(size[dim])
        });
        let [pixels, pasted] = [size[0] * size[1], rows.len() * columns.len()];
        Self { rows, columns, share: 1.0 - pasted as f64 / pixels as f64 }
    }

    /// Pastes the box of each image of `from` into that of `onto`, `[n, channels, height, width]` each.
    pub fn paste(&self, from: Tensor<4>, onto: Tensor<4>) -> Tensor<4> {
        let pixels = s![.., .., self.rows.clone(), self.columns.clone()];
        onto.slice_assign(pixels, from.slice(pixels))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use rand::SeedableRng;
    use rand_pcg::Pcg64Mcg;

    use super::*;

    #[test]
    fn the_pixels_of_the_box_are_pasted() {
        let image = |start| Tensor::arange(start..start + 24, &Device::flex()).float().reshape([2, 1, 3, 4]);
        let (onto, from): (Tensor<4>, Tensor<4>) = (image(0), image(100));
        // Sides of 3 and 4 pixels times sqrt(0.75), made even: 2 and 2.
        let cut = CutMix::new(0.25, [2, 1], [3, 4]);
        assert_eq!(cut, CutMix { rows: 1..3, columns: 0..2, share: 1.0 - 4.0 / 12.0 });
        let pixels: Vec<f32> = cut.paste(from, onto).into_data().iter().collect();
        for (index, pixel) in pixels.into_iter().enumerate() {
            let (row, column) = (index / 4 % 3, index % 4);
            let pasted = cut.rows.contains(&row) && cut.columns.contains(&column);
            assert_eq!(pixel, index as f32 + if pasted { 100.0 } else { 0.0 });
        }
    }

    #[test]
    fn an_empty_box_changes_nothing() {
        let image = |value| Tensor::<4>::full([1, 1, 4, 4], value, &Device::flex());
        let cut = CutMix::new(1.0, [2, 2], [4, 4]);
        assert_eq!(cut.share, 1.0);
        assert_eq!(cut.paste(image(1.0), image(0.0)).sum().into_scalar::<f32>(), 0.0);
    }

    #[test]
    fn drawn_boxes_have_the_mean_area_of_their_distribution() {
        let mut random = Pcg64Mcg::seed_from_u64(0);
        let boxes: Vec<CutMix> = (0..20_000).map(|_| CutMix::draw([1000, 2000], &mut random)).collect();
        assert!(boxes.iter().all(|cut| cut.rows.end <= 1000 && cut.columns.end <= 2000));
        // A side of share r loses r^2 / 4 to the borders on average. With r^2 from Beta(2, 2), whose moments of orders
        // 1, 1.5 and 2 are 1/2, 8/21 and 3/10, the mean of (r - r^2 / 4)^2 is:
        let expected = 1.0 / 2.0 - 8.0 / 21.0 / 2.0 + 3.0 / 10.0 / 16.0;
        let mean = boxes.iter().map(|cut| 1.0 - cut.share).sum::<f64>() / boxes.len() as f64;
        assert!((mean - expected).abs() < 0.005, "{mean} {expected}");
        assert_eq!(CutMix::draw([1000, 2000], &mut Pcg64Mcg::seed_from_u64(0)), boxes[0]);
    }
}
