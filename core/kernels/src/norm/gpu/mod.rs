//! Batch norm and its epilogue on GPUs, for f32.
//!
//! A workgroup takes one channel, or several adjacent ones in the channels-last layout, and sums over it. If the
//! channel is small, the workgroup also writes the result in the same launch. Larger channels are summed in parts by
//! one launch; a second one adds the parts and writes the result.

mod backward;
mod extent;
mod forward;
mod running;
mod tiling;

use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;

use super::{
    NormBackend, NormBackward, plain,
    types::{Moments, NormGradients, NormInput, NormOutput, NormSaved},
};
use crate::gpu::is_f32;

impl NormBackend for CubeBackend {
    fn norm(input: NormInput<Self>, epsilon: f64) -> NormOutput<Self> {
        if is_f32(&input.x) { forward::forward(input, epsilon) } else { plain::norm(input, epsilon) }
    }

    fn move_running(running: Moments<Self>, batch: Moments<Self>, momentum: f64, unbias: f64) -> Moments<Self> {
        if is_f32(&batch.mean) {
            running::run(running, batch, momentum, unbias)
        } else {
            plain::move_running(running, batch, momentum, unbias)
        }
    }
}

impl NormBackward for CubeBackend {
    fn norm_backward(saved: NormSaved<Self>, gradient: FloatTensor<Self>) -> NormGradients<Self> {
        if is_f32(&saved.x) { backward::backward(saved, gradient) } else { plain::norm_backward(saved, gradient) }
    }
}
