//! One packed tensor for all trained parameters.

use std::ops::Range;

use super::{ParameterId, ParameterSpec};

/// Each parameter's offset is a multiple of this many values: GPUs bind parts of a buffer at multiples of 256 bytes.
pub const ALIGNMENT: usize = 64;

/// A slice of one parameter in the packed tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Offset of the parameter's first value.
    pub start: usize,
    /// The parameter's shape.
    pub shape: [usize; 4],
    /// The slice of the parameter, whole in the last two dimensions.
    pub slice: [Range<usize>; 4],
}

/// Offsets of a layout's trained parameters in one packed tensor, so that one operation can update all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packing {
    /// Offset and shape of each parameter; `None` if it is not trained.
    places: Vec<Option<(usize, [usize; 4])>>,
    length: usize,
}

impl Packing {
    pub(super) fn add(&mut self, spec: &ParameterSpec) {
        let start = self.length;
        self.places.push(spec.is_trained().then(|| (start, spec.shape())));
        if spec.is_trained() {
            self.length = (start + spec.shape().iter().product::<usize>()).next_multiple_of(ALIGNMENT);
        }
    }

    /// Returns the length of the packed tensor, including padding, which stays zero.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Iterates over the trained parameters.
    pub fn ids(&self) -> impl Iterator<Item = ParameterId> {
        self.places.iter().enumerate().filter(|(_, place)| place.is_some()).map(|(index, _)| ParameterId(index))
    }

    /// Returns the range of a trained parameter's values.
    ///
    /// # Panics
    /// If the parameter is not trained.
    pub fn range(&self, id: ParameterId) -> Range<usize> {
        let (start, shape) = self.places[id.0].expect("the parameter is trained");
        start..start + shape.iter().product::<usize>()
    }

    /// Returns the range of a trained parameter's blocks of [`ALIGNMENT`] values, which are no other parameter's.
    ///
    /// # Panics
    /// If the parameter is not trained.
    pub fn blocks(&self, id: ParameterId) -> Range<usize> {
        let range = self.range(id);
        range.start / ALIGNMENT..range.end.div_ceil(ALIGNMENT)
    }

    /// Returns the place of a slice of a trained parameter, or of the whole parameter if `slice` is `None`.
    ///
    /// # Panics
    /// If the parameter is not trained.
    pub fn place(&self, id: ParameterId, slice: Option<[Range<usize>; 4]>) -> Place {
        let (start, shape) = self.places[id.0].expect("the parameter is trained");
        Place { start, shape, slice: slice.unwrap_or_else(|| shape.map(|side| 0..side)) }
    }
}
