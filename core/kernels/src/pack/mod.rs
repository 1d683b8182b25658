//! Many tensors as parts of one, so that an operation over all of them is a single one.

#[cfg(feature = "webgpu")]
mod gpu;

use std::{collections::BTreeMap, ops::Range};

use burn::{
    backend::{
        Autodiff, Backend, BackendTensor, Dispatch, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind,
        ExtensionType, Flex, autodiff::checkpoint::strategy::CheckpointStrategy, backend_extension, flex::FlexTensor,
        tensor::FloatTensor,
    },
    tensor::{Shape, Slice, Tensor},
};

use slimclr_network::layout::Place;

use crate::{cpu, threads::for_each_chunk};

/// Adds up `pieces`, `[out, in, height, width]` each, in one tensor of `length` values, each at its place, with zeros
/// where there is none.
///
/// # Panics
/// If there is no piece.
pub fn pack(pieces: Vec<(Tensor<4>, Place)>, length: usize) -> Tensor<1> {
    let (first, _) = pieces.first().expect("there is a piece");
    add(Tensor::zeros([length], (&first.device(), first.dtype())), pieces)
}

/// Adds each of the `pieces`, `[out, in, height, width]`, to a packed tensor at its place.
pub fn add(packed: Tensor<1>, pieces: Vec<(Tensor<4>, Place)>) -> Tensor<1> {
    let pieces = pieces.into_iter().map(|(tensor, place)| (tensor.into_dispatch(), place)).collect();
    Tensor::from_dispatch(Dispatch::add_pieces(packed.into_dispatch(), Pieces(pieces)))
}

/// The tensor of `shape` that begins at `start` of a packed one; no copy.
pub fn part(packed: &Tensor<1>, start: usize, shape: [usize; 4]) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::part(packed.clone().into_dispatch(), start, shape.into()))
}

/// A slice of a tensor, `[out, in, height, width]`; no copy where it begins at the tensor's first value.
pub fn slice(x: Tensor<4>, slice: [Range<usize>; 4]) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::slice_of(x.into_dispatch(), slice))
}

/// The rows of a slice: where the first begins, how many there are, how long each is, how far they are apart.
pub(crate) fn rows(place: &Place) -> [usize; 4] {
    let [_, inputs, height, width] = place.shape;
    let [outputs_taken, inputs_taken, ..] = &place.slice;
    let (kernel, stride) = (height * width, inputs * height * width);
    let start = place.start + outputs_taken.start * stride + inputs_taken.start * kernel;
    [start, outputs_taken.len(), inputs_taken.len() * kernel, stride]
}

/// Tensors and where each belongs in the packed one.
pub struct Pieces<B: Backend>(pub(super) Vec<(FloatTensor<B>, Place)>);

impl<B: Backend> ExtensionType<B> for Pieces<B> {
    type Target = Pieces<Dispatch>;

    fn map_to_dispatch<F>(self, map_kind: F, autodiff: DispatchAutodiffContext) -> Self::Target
    where
        F: Fn(BackendTensor<B>) -> DispatchTensorKind,
    {
        let wrapped = |tensor| DispatchTensor { kind: map_kind(BackendTensor::Float(tensor)), autodiff };
        Pieces(self.0.into_iter().map(|(tensor, place)| (wrapped(tensor), place)).collect())
    }

    fn map_from_dispatch<F>(target: Self::Target, unwrap_kind: F) -> Self
    where
        F: Fn(DispatchTensor) -> BackendTensor<B>,
    {
        Self(target.0.into_iter().map(|(tensor, place)| (unwrap_kind(tensor).float(), place)).collect())
    }

    fn routing_tensor(target: &Self::Target) -> Option<&DispatchTensor> {
        target.0.first().map(|(tensor, _)| tensor)
    }

    fn routing_float_tensor(target: &Self::Target) -> Option<&DispatchTensor> {
        Self::routing_tensor(target)
    }
}

/// Packing as operations of a back end; by default of its own operations.
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

    /// See [`slice`].
    fn slice_of(x: FloatTensor<Self>, slice: [Range<usize>; 4]) -> FloatTensor<Self> {
        Self::float_slice(x, &slice.map(Slice::from))
    }
}

impl<B: PackBackend, C: CheckpointStrategy> PackBackend for Autodiff<B, C> {}

pub(crate) mod plain {
    //! The operation of a back end's own operations, for precisions without a fused form.

    use super::{Backend, FloatTensor, Pieces, Slice};

    pub fn add_pieces<B: Backend>(mut packed: FloatTensor<B>, pieces: Pieces<B>) -> FloatTensor<B> {
        for (tensor, place) in pieces.0 {
            let [start, count, run, stride] = super::rows(&place);
            let values = B::float_reshape(tensor, [count * run].into());
            for row in 0..count {
                let place = [Slice::from(start + row * stride..start + row * stride + run)];
                let value = B::float_slice(values.clone(), &[Slice::from(row * run..(row + 1) * run)]);
                let sum = B::float_add(B::float_slice(packed.clone(), &place), value);
                packed = B::float_slice_assign(packed, &place, sum);
            }
        }
        packed
    }
}

impl PackBackend for Flex {
    fn add_pieces(packed: FloatTensor<Self>, pieces: Pieces<Self>) -> FloatTensor<Self> {
        if !cpu::is_f32(&packed) {
            return plain::add_pieces::<Self>(packed, pieces);
        }
        // What belongs to one packed tensor is added by one core, in order.
        let mut parts: BTreeMap<usize, Vec<(FlexTensor, Place)>> = BTreeMap::new();
        for (tensor, place) in pieces.0 {
            parts.entry(place.start).or_default().push((tensor, place));
        }
        let contiguous = packed.to_contiguous();
        // Nothing else may hold it, or it would be copied to be added to.
        drop(packed);
        let mut packed = contiguous;
        let (mut rest, mut begin) = (packed.storage_mut::<f32>(), 0);
        let mut tasks = Vec::with_capacity(parts.len());
        for (start, pieces) in parts {
            let size = pieces[0].1.shape.iter().product();
            let (target, after) = rest[start - begin..].split_at_mut(size);
            (rest, begin) = (after, start + size);
            tasks.push((target, pieces));
        }
        for_each_chunk(
            &mut tasks,
            1,
            || (),
            |(), _, task| {
                let (target, pieces) = &mut task[0];
                for (tensor, place) in pieces {
                    let [start, _, run, stride] = rows(&place);
                    let tensor = tensor.to_contiguous();
                    for (row, values) in cpu::values(&tensor).chunks_exact(run).enumerate() {
                        let target = &mut target[start - place.start + row * stride..][..run];
                        target.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                    }
                }
            },
        );
        packed
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, Distribution};

    use slimclr_network::layout::ALIGNMENT;

    use super::*;

    #[test]
    fn slices_of_several_widths_add_up_where_they_lie() {
        let shape = [4, 3, 2, 2];
        let random = |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Default, &Device::flex());
        let (whole, part, disjoint) = (random(shape), random([2, 2, 2, 2]), random([2, 1, 2, 2]));
        let slices = [[0..4, 0..3, 0..2, 0..2], [0..2, 0..2, 0..2, 0..2], [2..4, 1..2, 0..2, 0..2]];
        let expected =
            whole.clone().slice_assign(slices[1].clone(), whole.clone().slice(slices[1].clone()) + part.clone());
        let expected =
            expected.slice_assign(slices[2].clone(), whole.clone().slice(slices[2].clone()) + disjoint.clone());
        for dtype in [DType::F32, DType::F64] {
            let pieces = [&whole, &part, &disjoint].into_iter().zip(&slices).map(|(tensor, slice)| {
                (tensor.clone().cast(dtype), Place { start: ALIGNMENT, shape, slice: slice.clone() })
            });
            let packed = pack(pieces.collect(), 3 * ALIGNMENT);
            let found = super::part(&packed, ALIGNMENT, shape).cast(DType::F32);
            assert!((found - expected.clone()).abs().max().into_data().iter::<f32>().all(|largest| largest < 1e-6));
            let total = packed.sum().into_data().iter::<f32>().next().unwrap();
            let sum = expected.clone().sum().into_data().iter::<f32>().next().unwrap();
            assert!((total - sum).abs() < 1e-4 * sum, "{total} {sum}");
        }
    }
}
