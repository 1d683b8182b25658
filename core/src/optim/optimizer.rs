//! SGD with momentum (Sutskever et al. 2013, as PyTorch writes it) and LARS (You et al. 2017), which is SGD with a
//! learning rate per tensor.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use burn::tensor::{Bool, Int, Tensor, TensorData};

pub use slimclr_run::optimizer::OptimizerKind;

use crate::{
    gradient::GradientSum,
    kernel::sgd::sgd_step,
    layout::{ALIGNMENT, Layout, Packing, ParameterId},
    parameter::{Parameters, pack, unpack},
};

/// LARS' trust coefficient, as in MoCo v3.
const TRUST: f64 = 0.001;

/// An optimiser and its velocities.
#[derive(Debug, Clone)]
pub struct Optimizer {
    kind: OptimizerKind,
    momentum: f64,
    weight_decay: f64,
    packing: Arc<Packing>,
    weights: Vec<ParameterId>,
    /// Velocities of all parameters, packed; zero for those that have never had a gradient. `None` before the first
    /// step.
    velocities: Option<Tensor<1>>,
    /// The parameters that have had a gradient.
    moved: BTreeSet<ParameterId>,
    /// Weight decay of each [`ALIGNMENT`] values, for the weights that had a gradient at the last step.
    decay: Option<(Vec<ParameterId>, Tensor<1>)>,
}

impl Optimizer {
    /// Creates an optimiser without velocities. Weight decay applies to weights, not to norms and biases.
    pub fn new(kind: OptimizerKind, layout: &Layout, momentum: f64, weight_decay: f64) -> Self {
        Self {
            kind,
            momentum,
            weight_decay,
            packing: layout.packing().clone(),
            weights: layout.iter().filter(|(_, spec)| spec.is_weight()).map(|(id, _)| id).collect(),
            velocities: None,
            moved: BTreeSet::new(),
            decay: None,
        }
    }

    /// Updates every parameter that has a gradient: `v <- momentum v + trust (g + decay p)`, `p <- p - rate v`. The
    /// trust is 1 for SGD, norms and biases, else `0.001 |p| / |g + decay p|`.
    pub fn step(&mut self, parameters: &mut Parameters, gradients: &GradientSum, rate: f64) {
        parameters.change_packed(|values| self.stepped(values, gradients, rate));
        self.moved.extend(self.packing.ids().filter(|id| gradients.get(*id).is_some()));
    }

    /// Returns the parameters' values after the step.
    fn stepped(&mut self, values: Tensor<1>, gradients: &GradientSum, rate: f64) -> Tensor<1> {
        let mut gradient = gradients.packed();
        let weights: Vec<_> = self.weights.iter().copied().filter(|id| gradients.get(*id).is_some()).collect();
        let mut decay = self.decay_of(&weights, &values);
        if self.kind == OptimizerKind::Lars {
            let decayed = by_block(values.clone(), decay.clone());
            gradient = self.trusted(gradient + decayed, &values, &weights);
            decay = decay.zeros_like();
        }
        let velocities = self.velocities.take().unwrap_or_else(|| values.zeros_like());
        // Parameters without a gradient in this step do not move.
        let resting = self.resting(gradients, &values);
        let before = resting.map(|resting| (resting, values.clone(), velocities.clone()));
        let [mut moved, mut velocities] = sgd_step([values, velocities], gradient, decay, self.momentum, rate);
        if let Some((resting, values, before)) = before {
            moved = moved.mask_where(resting.clone(), values);
            velocities = velocities.mask_where(resting, before);
        }
        self.velocities = Some(velocities);
        moved
    }

    /// Returns the weight decay of each block of [`ALIGNMENT`] values.
    fn decay_of(&mut self, weights: &[ParameterId], like: &Tensor<1>) -> Tensor<1> {
        if let Some((of, decay)) = &self.decay
            && of == weights
        {
            return decay.clone();
        }
        let mut decay = vec![0.0; self.packing.length() / ALIGNMENT];
        for id in weights {
            decay[self.blocks(*id)].fill(self.weight_decay);
        }
        let decay = Tensor::from_data(TensorData::from(decay.as_slice()), (&like.device(), like.dtype()));
        self.decay = Some((weights.to_vec(), decay.clone()));
        decay
    }

    /// Returns the blocks of [`ALIGNMENT`] values of this parameter.
    fn blocks(&self, id: ParameterId) -> Range<usize> {
        let range = self.packing.range(id);
        range.start / ALIGNMENT..range.end.div_ceil(ALIGNMENT)
    }

    /// Returns a mask of the values whose parameters have moved before but have no gradient now; `None` if there are
    /// none.
    fn resting(&self, gradients: &GradientSum, like: &Tensor<1>) -> Option<Tensor<1, Bool>> {
        let resting: Vec<_> = self.moved.iter().filter(|id| gradients.get(**id).is_none()).collect();
        if resting.is_empty() {
            return None;
        }
        let mut mask = vec![false; self.packing.length()];
        for id in resting {
            mask[self.packing.range(*id)].fill(true);
        }
        Some(Tensor::from_data(TensorData::from(mask.as_slice()), &like.device()))
    }

    /// Scales the update of each weight to [`TRUST`] times the weight's norm (LARS). It stays the same where either
    /// norm is zero, and for norms and biases.
    fn trusted(&self, update: Tensor<1>, values: &Tensor<1>, weights: &[ParameterId]) -> Tensor<1> {
        let norms = |packed: &Tensor<1>| {
            let squares = weights.iter().map(|id| unpack(&self.packing, packed, *id).powi_scalar(2).sum());
            Tensor::cat(squares.collect(), 0).sqrt()
        };
        let [of_values, of_update] = [norms(values), norms(&update)];
        let is_zero = (of_values.clone() * of_update.clone()).equal_elem(0.0);
        let trust = (of_values.mul_scalar(TRUST) / of_update).mask_fill(is_zero, 1.0);
        // The index of each block's trust: the last is for norms and biases.
        let mut of_block = vec![weights.len() as i32; self.packing.length() / ALIGNMENT];
        for (number, id) in weights.iter().enumerate() {
            of_block[self.blocks(*id)].fill(number as i32);
        }
        let of_block = Tensor::<1, Int>::from_data(TensorData::from(of_block.as_slice()), &update.device());
        let trust = Tensor::cat(vec![trust.clone(), trust.narrow(0, 0, 1).ones_like()], 0).select(0, of_block);
        by_block(update, trust)
    }

    /// Returns the velocity of `id`, if it has ever had a gradient.
    pub fn velocity(&self, id: ParameterId) -> Option<Tensor<4>> {
        let velocities = self.velocities.as_ref().filter(|_| self.moved.contains(&id))?;
        Some(unpack(&self.packing, velocities, id))
    }

    /// Sets the velocities of some parameters, as a checkpoint has them; the others have none.
    pub fn set_velocities(&mut self, velocities: &[(ParameterId, Tensor<4>)]) {
        self.moved = velocities.iter().map(|(id, _)| *id).collect();
        let of = velocities.iter().map(|(id, velocity)| (*id, velocity));
        self.velocities = (!velocities.is_empty()).then(|| pack(&self.packing, of));
    }

    /// Returns all velocities, packed as in [`Layout::packing`], if there are any.
    pub fn velocities(&self) -> Option<&Tensor<1>> {
        self.velocities.as_ref()
    }

    /// Applies `change` to all velocities, if there are any.
    pub fn change_velocities(&mut self, change: impl FnOnce(Tensor<1>) -> Tensor<1>) {
        self.velocities = self.velocities.take().map(change);
    }
}

/// Multiplies packed values by the factor of their block.
fn by_block(packed: Tensor<1>, factors: Tensor<1>) -> Tensor<1> {
    let blocks: Tensor<2> = packed.reshape([-1, ALIGNMENT as i32]);
    (blocks * factors.unsqueeze_dim(1)).flatten(0, 1)
}
