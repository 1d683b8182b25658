//! Batch norm: see [`crate::norm`].
//!
//! A workgroup takes a channel, or some channels side by side where those of a pixel are neighbours in memory, and sums
//! over it; where it can read all of it in little time it goes on to write the result in the same launch. Larger
//! channels are summed in parts by one launch, which another one puts together before it writes.

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
