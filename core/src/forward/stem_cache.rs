//! Reuse of the first convolution across widths.

use std::ops::Range;

use burn::tensor::Tensor;

use crate::kernel::conv::{conv, conv_known};

/// The full network's outputs of the convolutions that see the images. Other widths' outputs are slices of them.
///
/// It is for the training passes of one batch, of which the full network's must be the first.
#[derive(Default)]
pub struct StemCache {
    outputs: Vec<Tensor<4>>,
    /// Index of the output that the pass needs next.
    next: usize,
}

impl StemCache {
    /// Begins another pass.
    pub(super) fn rewind(&mut self) {
        self.next = 0;
    }

    /// Computes a convolution whose outputs are these `channels` of the full network's.
    pub(super) fn conv(&mut self, x: Tensor<4>, weight: Tensor<4>, channels: Range<usize>, stride: usize) -> Tensor<4> {
        let known = self.outputs.get(self.next).cloned();
        self.next += 1;
        match known {
            Some(full) => conv_known(x, weight, full.slice_dim(1, channels), stride),
            None => {
                let output = conv(x, weight, stride);
                self.outputs.push(output.clone().without_autodiff());
                output
            }
        }
    }
}
