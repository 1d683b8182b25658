//! The gradient of the whole network, summed width by width.

use std::{ops::Range, sync::Arc};

use burn::tensor::Tensor;

use crate::{
    kernel::{
        pack::{add, pack},
        ranks::Ranks,
    },
    layout::{Layout, Packing, ParameterId},
    parameter::{change_joined, pack as pack_parameters, unpack},
};

/// The gradient of one width's loss. Each parameter's has the shape of the slice that the width uses.
#[derive(Debug, Clone)]
pub struct WidthGradient {
    width: usize,
    values: Vec<Option<Tensor<4>>>,
}

impl WidthGradient {
    /// Creates an empty gradient for `layout`; `width` is the width's index.
    pub fn new(layout: &Layout, width: usize) -> Self {
        Self { width, values: vec![None; layout.iter().count()] }
    }

    /// Creates a gradient from those of single parameters.
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

    /// Averages the gradients over the ranks.
    pub fn average(&mut self, ranks: &Ranks) {
        if !ranks.is_single() {
            change_joined(self.values.iter_mut().flatten().collect(), |values| ranks.mean(values));
        }
    }

    /// Returns the gradient of `id`, if the loss depends on it.
    pub fn get(&self, id: ParameterId) -> Option<&Tensor<4>> {
        self.values[id.index()].as_ref()
    }

    /// Applies `change` to the gradient of `id`, if there is one.
    pub fn update(&mut self, id: ParameterId, change: impl FnOnce(Tensor<4>) -> Tensor<4>) {
        if let Some(value) = &mut self.values[id.index()] {
            value.inplace(change);
        }
    }

    /// Returns the parts of both gradients of `id` that both widths use, or `None` if they share nothing of it.
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

/// The parts of two widths' gradients of one parameter that both widths use.
pub struct Overlap {
    /// Range of the part in the first gradient.
    pub place: [Range<usize>; 4],
    /// The first gradient's part.
    pub own: Tensor<4>,
    /// The other gradient's part, of the same shape.
    pub other: Tensor<4>,
}

/// The sum of the widths' gradients in one step, for every parameter that a width has used.
///
/// The widths' graphs share only weights, so the gradient of the total loss is the sum of the widths' gradients, each
/// added into the slice that the width uses.
#[derive(Debug, Clone)]
pub struct GradientSum {
    packing: Arc<Packing>,
    values: Vec<Option<Tensor<4>>>,
    /// All of them packed, with `values` as parts of it; `None` after [`set`](Self::set).
    packed: Option<Tensor<1>>,
}

impl GradientSum {
    /// Creates an empty sum for `layout`.
    pub fn new(layout: &Layout) -> Self {
        Self { packing: layout.packing().clone(), values: vec![None; layout.iter().count()], packed: None }
    }

    /// Returns the sum of `widths`' gradients.
    pub fn of(layout: &Layout, widths: &[WidthGradient]) -> Self {
        widths.iter().fold(Self::new(layout), |sum, width| sum.plus(layout, width))
    }

    /// Returns the sum with a width's gradients added.
    pub fn plus(mut self, layout: &Layout, of_width: &WidthGradient) -> Self {
        let mut has_gradient: Vec<bool> = self.values.iter().map(Option::is_some).collect();
        let mut pieces = Vec::new();
        for (id, spec) in layout.iter() {
            if let Some(gradient) = of_width.get(id) {
                let slice = spec.slice(layout.widths(), of_width.width);
                assert!(slice.is_some(), "a width's gradients are of parameters that it uses");
                pieces.push((gradient.clone(), self.packing.place(id, slice)));
                has_gradient[id.index()] = true;
            }
        }
        if pieces.is_empty() {
            return self;
        }
        let before = self.values.iter().any(Option::is_some).then(|| self.packed());
        // Drops all other references, so that the addition works in place.
        (self.packed, self.values) = (None, vec![None; self.values.len()]);
        let packed = match before {
            Some(packed) => add(packed, pieces),
            None => pack(pieces, self.packing.length()),
        };
        self.unpacked(packed, |id| has_gradient[id.index()])
    }

    /// Takes the gradients from a packed tensor, where `has_gradient` holds.
    fn unpacked(mut self, packed: Tensor<1>, has_gradient: impl Fn(ParameterId) -> bool) -> Self {
        for id in self.packing.ids() {
            self.values[id.index()] = has_gradient(id).then(|| unpack(&self.packing, &packed, id));
        }
        self.packed = Some(packed);
        self
    }

    /// Returns the gradient of `id`, in its full shape, if any width has used it.
    pub fn get(&self, id: ParameterId) -> Option<&Tensor<4>> {
        self.values[id.index()].as_ref()
    }

    /// Returns all gradients, packed as in [`Layout::packing`]; zero where there is none.
    ///
    /// # Panics
    /// If no parameter has a gradient.
    pub fn packed(&self) -> Tensor<1> {
        let present = || self.packing.ids().filter_map(|id| Some((id, self.get(id)?)));
        self.packed.clone().unwrap_or_else(|| pack_parameters(&self.packing, present()))
    }

    /// Returns the mean of the ranks' gradients. All ranks have gradients of the same parameters.
    ///
    /// # Panics
    /// If there are several ranks, and no parameter has a gradient.
    pub fn averaged(self, ranks: &Ranks) -> Self {
        if ranks.is_single() { self } else { self.map(|packed| ranks.mean(packed)) }
    }

    /// Applies `change` to all gradients, packed.
    fn map(mut self, change: impl FnOnce(Tensor<1>) -> Tensor<1>) -> Self {
        let has_gradient: Vec<bool> = self.values.iter().map(Option::is_some).collect();
        let packed = self.packed();
        // Drops all other references, so that the change works in place.
        (self.packed, self.values) = (None, vec![None; self.values.len()]);
        self.unpacked(change(packed), |id| has_gradient[id.index()])
    }

    /// Returns the gradients times `factor`, `[1]`.
    pub fn scaled(&self, factor: Tensor<1>) -> Self {
        self.clone().unpacked(self.packed() * factor, |id| self.get(id).is_some())
    }

    /// Returns the l2 norm of all gradients together, `[1]`.
    ///
    /// # Panics
    /// If no parameter has a gradient.
    pub fn norm(&self) -> Tensor<1> {
        self.packed().powi_scalar(2).sum().sqrt()
    }

    /// Returns the gradients, scaled down so that their norm is at most `highest` (Pascanu et al. 2013).
    pub fn clipped(&self, highest: f64) -> Self {
        self.scaled(self.norm().add_scalar(1e-6).recip().mul_scalar(highest).clamp_max(1.0))
    }

    /// Returns the gradients without that of `id`, which the optimiser then leaves as it is.
    pub fn without(mut self, id: ParameterId) -> Self {
        if self.values[id.index()].is_none() {
            return self;
        }
        let range = self.packing.range(id);
        self = self.map(|packed| {
            let nothing = Tensor::zeros([range.len()], (&packed.device(), packed.dtype()));
            packed.slice_assign([range], nothing)
        });
        self.values[id.index()] = None;
        self
    }

    /// Sets the gradient of `id`, in its full shape.
    pub fn set(&mut self, id: ParameterId, gradient: Tensor<4>) {
        self.values[id.index()] = Some(gradient);
        self.packed = None;
    }
}
