//! The gradient of the whole network, gathered width by width.

use std::{ops::Range, sync::Arc};

use burn::tensor::Tensor;

use crate::{
    kernel::pack::{add, pack},
    layout::{Layout, Packing, ParameterId},
    parameter::{pack as pack_parameters, unpack},
};

/// The gradient of one width's loss, of every parameter in the shape of the slice that the width uses.
#[derive(Debug, Clone)]
pub struct WidthGradient {
    width: usize,
    values: Vec<Option<Tensor<4>>>,
}

impl WidthGradient {
    /// No gradient yet for any of `layout`'s parameters; `width` is the width's index.
    pub fn new(layout: &Layout, width: usize) -> Self {
        Self { width, values: vec![None; layout.iter().count()] }
    }

    /// These gradients of parameters.
    pub fn of(layout: &Layout, width: usize, gradients: Vec<(ParameterId, Tensor<4>)>) -> Self {
        let mut own = Self::new(layout, width);
        gradients.into_iter().for_each(|(id, gradient)| own.add(id, gradient));
        own
    }

    /// Adds to the gradient of `id`.
    pub fn add(&mut self, id: ParameterId, gradient: Tensor<4>) {
        add_to(&mut self.values[id.index()], gradient);
    }

    /// Adds another gradient of the same width.
    pub fn add_all(&mut self, other: Self) {
        for (sum, value) in self.values.iter_mut().zip(other.values) {
            if let Some(value) = value {
                add_to(sum, value);
            }
        }
    }

    /// Multiplies all gradients by `factor`, `[1]`.
    pub fn scale(&mut self, factor: &Tensor<1>) {
        for value in self.values.iter_mut().flatten() {
            value.inplace(|value| value * factor.clone().reshape([1; 4]));
        }
    }

    /// The gradient of `id`, if the loss depends on it.
    pub fn get(&self, id: ParameterId) -> Option<&Tensor<4>> {
        self.values[id.index()].as_ref()
    }

    /// Replaces the gradient of `id`, if there is one, by what `change` makes of it.
    pub fn update(&mut self, id: ParameterId, change: impl FnOnce(Tensor<4>) -> Tensor<4>) {
        if let Some(value) = &mut self.values[id.index()] {
            value.inplace(change);
        }
    }

    /// Where the slice of `id` that `other` uses lies in this gradient, as far as it does, and that part of the two
    /// gradients. None if they have nothing of `id` in common.
    pub fn overlap(&self, other: &Self, layout: &Layout, id: ParameterId) -> Option<Overlap> {
        let slice = |of: &Self| layout.spec(id).slice(layout.widths(), of.width);
        let (own, others) = (slice(self)?, slice(other)?);
        let common: [Range<usize>; 4] =
            std::array::from_fn(|side| own[side].start.max(others[side].start)..own[side].end.min(others[side].end));
        if common.iter().any(Range::is_empty) {
            return None;
        }
        let within = |slice: &[Range<usize>; 4]| -> [Range<usize>; 4] {
            std::array::from_fn(|side| common[side].start - slice[side].start..common[side].end - slice[side].start)
        };
        let part = |value: &Tensor<4>, place: [Range<usize>; 4]| {
            if place.each_ref().map(Range::len) == value.dims() { value.clone() } else { value.clone().slice(place) }
        };
        let place = within(&own);
        Some(Overlap { own: part(self.get(id)?, place.clone()), other: part(other.get(id)?, within(&others)), place })
    }
}

fn add_to(sum: &mut Option<Tensor<4>>, gradient: Tensor<4>) {
    *sum = Some(match sum.take() {
        None => gradient,
        Some(sum) => sum + gradient,
    });
}

/// What two widths' gradients of one parameter have in common.
pub struct Overlap {
    /// Where it lies in the first one's.
    pub place: [Range<usize>; 4],
    /// The first one's part.
    pub own: Tensor<4>,
    /// The other's, of the same shape.
    pub other: Tensor<4>,
}

/// A gradient for every parameter that some width has used since the last step.
///
/// The sub-networks' graphs share nothing but weights, so the gradient of the total loss is the sum
/// of the widths' gradients, each added into the slice that the width uses.
#[derive(Debug, Clone)]
pub struct GradientSum {
    packing: Arc<Packing>,
    values: Vec<Option<Tensor<4>>>,
    /// All of them packed, of which `values` are the parts; none since one was set alone.
    packed: Option<Tensor<1>>,
}

impl GradientSum {
    /// No gradient yet for any of `layout`'s parameters.
    pub fn new(layout: &Layout) -> Self {
        Self { packing: layout.packing().clone(), values: vec![None; layout.iter().count()], packed: None }
    }

    /// The sum of `widths`' gradients.
    pub fn of(layout: &Layout, widths: &[WidthGradient]) -> Self {
        widths.iter().fold(Self::new(layout), |sum, width| sum.plus(layout, width))
    }

    /// The sum with a width's gradients.
    pub fn plus(mut self, layout: &Layout, of_width: &WidthGradient) -> Self {
        let mut has_gradient: Vec<bool> = self.values.iter().map(Option::is_some).collect();
        let mut pieces = Vec::new();
        for (id, spec) in layout.iter() {
            if let Some(gradient) = of_width.get(id) {
                let slice = spec.slice(layout.widths(), of_width.width);
                assert!(slice.is_some(), "a width's gradients are of its own parameters");
                pieces.push((gradient.clone(), self.packing.place(id, slice)));
                has_gradient[id.index()] = true;
            }
        }
        if pieces.is_empty() {
            return self;
        }
        let before = self.values.iter().any(Option::is_some).then(|| self.packed());
        // Nothing else may hold it, so that it is added to in place.
        (self.packed, self.values) = (None, vec![None; self.values.len()]);
        let packed = match before {
            Some(packed) => add(packed, pieces),
            None => pack(pieces, self.packing.length()),
        };
        self.unpacked(packed, |id| has_gradient[id.index()])
    }

    /// The parts of a packed tensor that are gradients.
    fn unpacked(mut self, packed: Tensor<1>, has_gradient: impl Fn(ParameterId) -> bool) -> Self {
        for id in self.packing.ids() {
            self.values[id.index()] = has_gradient(id).then(|| unpack(&self.packing, &packed, id));
        }
        self.packed = Some(packed);
        self
    }

    /// The gradient of `id`, in its full shape, if any width has used it.
    pub fn get(&self, id: ParameterId) -> Option<&Tensor<4>> {
        self.values[id.index()].as_ref()
    }

    /// All gradients, as [`Layout::packing`] has them; zero where there is none.
    ///
    /// # Panics
    /// If there is none at all.
    pub fn packed(&self) -> Tensor<1> {
        let present = || self.packing.ids().filter_map(|id| Some((id, self.get(id)?)));
        self.packed.clone().unwrap_or_else(|| pack_parameters(&self.packing, present()))
    }

    /// The same gradients, each times `factor`, `[1]`.
    pub fn scaled(&self, factor: Tensor<1>) -> Self {
        self.clone().unpacked(self.packed() * factor, |id| self.get(id).is_some())
    }

    /// The l2 norm of all gradients together, `[1]`.
    ///
    /// # Panics
    /// If there is none.
    pub fn norm(&self) -> Tensor<1> {
        self.packed().powi_scalar(2).sum().sqrt()
    }

    /// The same gradients, all scaled down so that their norm is at most `highest` (Pascanu et al. 2013).
    pub fn clipped(&self, highest: f64) -> Self {
        self.scaled(self.norm().add_scalar(1e-6).recip().mul_scalar(highest).clamp_max(1.0))
    }

    /// Sets the gradient of `id`, in its full shape.
    pub fn set(&mut self, id: ParameterId, gradient: Tensor<4>) {
        self.values[id.index()] = Some(gradient);
        self.packed = None;
    }
}
