//! Tensors with their places in the packed one.

use burn::backend::{
    Backend, BackendTensor, Dispatch, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind, ExtensionType,
    tensor::FloatTensor,
};
use slimclr_network::layout::Place;

/// Returns the rows of a slice: start of the first, their number, their length, and the stride between them.
pub fn rows(place: &Place) -> [usize; 4] {
    let [_, inputs, height, width] = place.shape;
    let [outputs_taken, inputs_taken, ..] = &place.slice;
    let (kernel, stride) = (height * width, inputs * height * width);
    let start = place.start + outputs_taken.start * stride + inputs_taken.start * kernel;
    [start, outputs_taken.len(), inputs_taken.len() * kernel, stride]
}

/// Tensors with their places in the packed one.
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
