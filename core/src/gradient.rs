//! The gradient of the whole network, gathered width by width.

use burn::tensor::Tensor;

use crate::parameter::{Layout, ParameterId};

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

    /// Adds the gradient of the slice of `id` that the width at `index` uses.
    pub fn add(&mut self, layout: &Layout, id: ParameterId, index: usize, gradient: Tensor<4>) {
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
