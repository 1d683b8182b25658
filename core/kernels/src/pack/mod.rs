//! Many tensors as parts of one, so that one operation covers all of them.

mod cpu;
#[cfg(feature = "webgpu")]
mod gpu;
mod pieces;
mod plain;
#[cfg(test)]
mod tests;

use std::ops::Range;

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, autodiff::checkpoint::strategy::CheckpointStrategy, backend_extension,
        tensor::FloatTensor,
    },
    tensor::{Shape, Slice, Tensor},
};

use slimclr_network::layout::Place;

pub use self::pieces::Pieces;

/// Sums `pieces`, `[out, in, height, width]` each, into one tensor of `length` values, each at its place, with zeros
/// elsewhere.
///
/// # Panics
/// If `pieces` is empty.
pub fn pack(pieces: Vec<(Tensor<4>, Place)>, length: usize) -> Tensor<1> {
    let (first, _) = pieces.first().expect("there is at least one piece to pack");
    add(Tensor::zeros([length], (&first.device(), first.dtype())), pieces)
}

/// Adds each of the `pieces`, `[out, in, height, width]`, to a packed tensor at its place.
pub fn add(packed: Tensor<1>, pieces: Vec<(Tensor<4>, Place)>) -> Tensor<1> {
    let pieces = pieces.into_iter().map(|(tensor, place)| (tensor.into_dispatch(), place)).collect();
    Tensor::from_dispatch(Dispatch::add_pieces(packed.into_dispatch(), Pieces(pieces)))
}

/// Joins tensors end to end; on GPUs in fewer launches than `Tensor::cat`.
///
/// # Panics
/// If `tensors` is empty.
pub fn concat(tensors: Vec<Tensor<1>>) -> Tensor<1> {
    let mut length = 0;
    let mut piece = |tensor: Tensor<1>| {
        let shape = [1, tensor.dims()[0], 1, 1];
        let place = Place { start: length, shape, slice: shape.map(|size| 0..size) };
        length += shape[1];
        (tensor.reshape(shape), place)
    };
    let pieces = tensors.into_iter().map(&mut piece).collect();
    pack(pieces, length)
}

/// Returns the tensor of `shape` that starts at `start` of a packed one, without a copy.
pub fn part(packed: &Tensor<1>, start: usize, shape: [usize; 4]) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::part(packed.clone().into_dispatch(), start, shape.into()))
}

/// Returns a slice of a tensor, `[out, in, height, width]`; without a copy if it starts at the tensor's first value.
pub fn slice(x: Tensor<4>, slice: [Range<usize>; 4]) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::slice_of(x.into_dispatch(), slice))
}

/// Packing as operations of a back end; by default in its own operations.
#[cfg_attr(feature = "webgpu", backend_extension(Flex, Cube, Autodiff))]
#[cfg_attr(not(feature = "webgpu"), backend_extension(Flex, Autodiff))]
pub trait PackBackend: Backend {
    /// See [`add`].
    fn add_pieces(packed: FloatTensor<Self>, #[extension_type] pieces: Pieces<Self>) -> FloatTensor<Self> {
        plain::add_pieces::<Self>(packed, pieces)
    }

    /// See [`part`].
    fn part(packed: FloatTensor<Self>, start: usize, shape: Shape) -> FloatTensor<Self> {
        let values = Self::float_slice(packed, &[Slice::from(start..start + shape.num_elements())]);
        Self::float_reshape(values, shape)
    }

    /// See [`slice()`].
    fn slice_of(x: FloatTensor<Self>, slice: [Range<usize>; 4]) -> FloatTensor<Self> {
        Self::float_slice(x, &slice.map(Slice::from))
    }
}

impl<B: PackBackend, C: CheckpointStrategy> PackBackend for Autodiff<B, C> {}
