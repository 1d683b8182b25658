//! TensorFlow's "same" padding, by a convolution whose padding is symmetric.

use std::ops::Range;

use burn::tensor::{Tensor, ops::PadMode};

/// Applies `convolve`, which pads by `kernel / 2` on each side, to `x`, `[batch, channels, height, width]`, so that the
/// result is that of TensorFlow's padding.
///
/// Where TensorFlow has fewer zeros in front, zeros are added until the output that TensorFlow has first is one of the
/// outputs, and those before it are dropped.
pub fn padded_as_tensorflow(
    x: Tensor<4>,
    kernel: usize,
    stride: usize,
    convolve: impl FnOnce(Tensor<4>) -> Tensor<4>,
) -> Tensor<4> {
    let [batch, _, height, width] = x.dims();
    let [down, right] = [height, width].map(|size| Shift::of(size, kernel, stride));
    if down.zeros == 0 && right.zeros == 0 {
        return convolve(x);
    }
    let output = convolve(x.pad((right.zeros, 0, down.zeros, 0), PadMode::Constant(0.0)));
    let [_, channels, ..] = output.dims();
    output.slice([0..batch, 0..channels, down.kept(height, stride), right.kept(width, stride)])
}

/// What is added before an axis, and dropped after the convolution.
struct Shift {
    zeros: usize,
    outputs: usize,
}

impl Shift {
    fn of(size: usize, kernel: usize, stride: usize) -> Self {
        let padding = ((size.div_ceil(stride) - 1) * stride + kernel).saturating_sub(size);
        let fewer = kernel / 2 - padding / 2;
        let outputs = fewer.div_ceil(stride);
        Self { zeros: outputs * stride - fewer, outputs }
    }

    /// Returns the outputs that are kept of an axis of `size` pixels.
    fn kept(&self, size: usize, stride: usize) -> Range<usize> {
        self.outputs..self.outputs + size.div_ceil(stride)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::kernel::conv::conv;

    #[test]
    fn outputs_are_those_of_tensorflows_definition() {
        for (kernel, stride, height, width) in
            [(3, 2, 8, 8), (3, 2, 7, 6), (5, 2, 6, 9), (5, 2, 2, 1), (3, 1, 5, 4), (1, 2, 4, 4)]
        {
            let random =
                |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex());
            let (x, weight) = (random([1, 1, height, width]), random([1, 1, kernel, kernel]));
            let found = padded_as_tensorflow(x.clone(), kernel, stride, |x| conv(x, weight.clone(), stride));
            let [rows, columns] = [height, width].map(|size: usize| size.div_ceil(stride));
            assert_eq!(found.dims(), [1, 1, rows, columns]);
            let [found, x, weight] = [found, x, weight].map(|tensor| tensor.into_data().iter().collect::<Vec<f32>>());
            let before = |size: usize, outputs: usize| ((outputs - 1) * stride + kernel).saturating_sub(size) / 2;
            let (above, left) = (before(height, rows), before(width, columns));
            for (index, found) in found.into_iter().enumerate() {
                let (top, side) = (index / columns * stride, index % columns * stride);
                let mut expected = 0.0;
                for (dy, dx) in (0..kernel).flat_map(|dy| (0..kernel).map(move |dx| (dy, dx))) {
                    let (y, column) = ((top + dy).wrapping_sub(above), (side + dx).wrapping_sub(left));
                    if y < height && column < width {
                        expected += weight[dy * kernel + dx] * x[y * width + column];
                    }
                }
                assert!((found - expected).abs() < 1e-5, "kernel {kernel}, stride {stride}, {height} x {width}");
            }
        }
    }
}
