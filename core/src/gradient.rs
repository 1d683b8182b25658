//! The gradient of the whole network, gathered width by width.

use std::ops::Range;

use burn::tensor::Tensor;

use crate::parameter::{Layout, ParameterId};

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

    /// Adds to the gradient of `id`.
    pub fn add(&mut self, id: ParameterId, gradient: Tensor<4>) {
        let sum = &mut self.values[id.0];
        *sum = Some(match sum.take() {
            None => gradient,
            Some(sum) => sum + gradient,
        });
    }

    /// The gradient of `id`, if the loss depends on it.
    pub fn get(&self, id: ParameterId) -> Option<&Tensor<4>> {
        self.values[id.0].as_ref()
    }

    /// Replaces the gradient of `id`, if there is one, by what `change` makes of it.
    pub fn update(&mut self, id: ParameterId, change: impl FnOnce(Tensor<4>) -> Tensor<4>) {
        if let Some(value) = &mut self.values[id.0] {
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
    values: Vec<Option<Tensor<4>>>,
}

impl GradientSum {
    /// No gradient yet for any of `layout`'s parameters.
    pub fn new(layout: &Layout) -> Self {
        Self { values: vec![None; layout.iter().count()] }
    }

    /// The sum of `widths`' gradients.
    pub fn of(layout: &Layout, widths: &[WidthGradient]) -> Self {
        let mut sum = Self::new(layout);
        for of_width in widths {
            for (id, _) in layout.iter() {
                if let Some(gradient) = of_width.get(id) {
                    sum.add(layout, id, of_width.width, gradient.clone());
                }
            }
        }
        sum
    }

    /// Adds the gradient of the slice of `id` that the width at `index` uses.
    fn add(&mut self, layout: &Layout, id: ParameterId, index: usize, gradient: Tensor<4>) {
        let spec = layout.spec(id);
        let slice = spec.slice(layout.widths(), index).expect("a width's gradients are of its own parameters");
        let shape = spec.shape();
        let covers_all = gradient.dims() == shape;
        let sum = &mut self.values[id.0];
        *sum = Some(match sum.take() {
            None if covers_all => gradient,
            Some(sum) if covers_all => sum + gradient,
            earlier => {
                let sum = earlier.unwrap_or_else(|| Tensor::zeros(shape, (&gradient.device(), gradient.dtype())));
                let before = sum.clone().slice(slice.clone());
                sum.slice_assign(slice, before + gradient)
            }
        });
    }

    /// The gradient of `id`, in its full shape, if any width has used it.
    pub fn get(&self, id: ParameterId) -> Option<&Tensor<4>> {
        self.values[id.0].as_ref()
    }

    /// Replaces every gradient by what `change` makes of it.
    pub fn map(&mut self, mut change: impl FnMut(Tensor<4>) -> Tensor<4>) {
        for value in self.values.iter_mut().flatten() {
            value.inplace(&mut change);
        }
    }

    /// The l2 norm of all gradients together, `[1]`.
    ///
    /// # Panics
    /// If there is none.
    pub fn norm(&self) -> Tensor<1> {
        let squares = self.values.iter().flatten().map(|value| value.clone().powi_scalar(2).sum()).collect();
        Tensor::cat(squares, 0).sum().sqrt()
    }

    /// The same gradients, all scaled down so that their norm is at most `highest` (Pascanu et al. 2013).
    pub fn clipped(&self, highest: f64) -> Self {
        let factor: Tensor<4> = self.norm().add_scalar(1e-6).recip().mul_scalar(highest).clamp_max(1.0).unsqueeze();
        let mut clipped = self.clone();
        clipped.map(|gradient| gradient * factor.clone());
        clipped
    }

    /// Sets the gradient of `id`, in its full shape.
    pub fn set(&mut self, id: ParameterId, gradient: Tensor<4>) {
        self.values[id.0] = Some(gradient);
    }
}
