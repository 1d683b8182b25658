//! Where parameters lie in one packed tensor of all of them.

use std::ops::Range;

use super::{ParameterId, ParameterSpec};

/// Packed tensors begin at multiples of this many values: GPUs bind parts of a buffer at multiples of 256 bytes.
pub const ALIGNMENT: usize = 64;

/// A slice of one of the packed tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where the packed tensor begins.
    pub start: usize,
    /// Its shape.
    pub shape: [usize; 4],
    /// What part of it. Slices take the last two dimensions whole.
    pub slice: [Range<usize>; 4],
}

/// Where each of a layout's trained parameters lies in a tensor of all of them: what is done to all alike is then done
/// at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packing {
    /// The first value and the shape of each.
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

    /// Values of the packed tensor, some of which belong to no parameter and stay zero.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The trained parameters.
    pub fn ids(&self) -> impl Iterator<Item = ParameterId> {
        self.places.iter().enumerate().filter(|(_, place)| place.is_some()).map(|(index, _)| ParameterId(index))
    }

    /// Where the values of a trained parameter lie.
    ///
    /// # Panics
    /// If the parameter is not trained.
    pub fn range(&self, id: ParameterId) -> Range<usize> {
        let (start, shape) = self.places[id.0].expect("the parameter is trained");
        start..start + shape.iter().product::<usize>()
    }

    /// Where a slice of a trained parameter belongs; the whole of it if there is none.
    ///
    /// # Panics
    /// If the parameter is not trained.
    pub fn place(&self, id: ParameterId, slice: Option<[Range<usize>; 4]>) -> Place {
        let (start, shape) = self.places[id.0].expect("the parameter is trained");
        Place { start, shape, slice: slice.unwrap_or_else(|| shape.map(|side| 0..side)) }
    }
}
