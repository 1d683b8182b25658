//! SGD with momentum (Sutskever et al. 2013, as PyTorch writes it), and LARS and its variants, which are SGD with a
//! learning rate per tensor.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use burn::tensor::{Bool, Tensor, TensorData};

pub use slimclr_run::optimizer::OptimizerKind;

use super::trust::TrustRatio;
use crate::{
    config::Config,
    gradient::GradientSum,
    kernel::sgd::sgd_step,
    layout::{ALIGNMENT, Layout, Packing, ParameterId},
    parameter::{Parameters, pack, unpack},
};

/// An optimiser and its velocities.
///
/// A step moves each tensor `p` with a gradient `g` by its update `u = ratio * (g + decay * p)`: `v <- momentum * v + u`,
/// `p <- p - rate * v`. `decay` is the weight decay for weights, and for all tensors with
/// [`decaying_all`](Self::decaying_all); otherwise it is 0. The ratio is 1, except
///
/// - with `Lars`, for weights: `0.001 * norm(p) / norm(g + decay * p)`, but 1 if either norm is zero;
/// - with `Larc`, for all tensors: `0.001 * norm(p) / (norm(g) + decay * norm(p) + 1e-8)`, but `u = g` if `p` or `g` is
///   zero;
/// - with `SimdisLars`, for weights: the same without that exception. Its rate is inside the momentum:
///   `v <- momentum * v + rate * u`, `p <- p - v`.
///
/// With [`with_rate_factors`](Self::with_rate_factors), the update of some tensors is also multiplied by a factor, which
/// is a factor of their learning rate.
#[derive(Debug, Clone)]
pub struct Optimizer {
    kind: OptimizerKind,
    momentum: f64,
    weight_decay: f64,
    decays_all: bool,
    rate_factors: BTreeMap<ParameterId, f64>,
    packing: Arc<Packing>,
    weights: BTreeSet<ParameterId>,
    /// Velocities of all parameters, packed; zero for those that have never had a gradient. `None` before the first
    /// step.
    velocities: Option<Tensor<1>>,
    /// The parameters that have had a gradient.
    moved: BTreeSet<ParameterId>,
    /// The parameters that had a gradient at the last step, and what is done with their gradients.
    last: Option<(Vec<ParameterId>, UpdateRule)>,
}

/// How updates are made of the gradients of certain parameters.
#[derive(Debug, Clone)]
struct UpdateRule {
    /// Weight decay of each [`ALIGNMENT`] values.
    decay: Tensor<1>,
    /// What scales them; `None` for SGD.
    ratio: Option<TrustRatio>,
    /// Factors of the learning rate of each [`ALIGNMENT`] values; `None` if all are 1.
    rates: Option<Tensor<1>>,
}

impl Optimizer {
    /// Creates an optimiser without velocities. Weight decay applies to weights, not to norms and biases.
    pub fn new(kind: OptimizerKind, layout: &Layout, momentum: f64, weight_decay: f64) -> Self {
        Self {
            kind,
            momentum,
            weight_decay,
            decays_all: false,
            rate_factors: BTreeMap::new(),
            packing: layout.packing().clone(),
            weights: layout.iter().filter(|(_, spec)| spec.is_weight()).map(|(id, _)| id).collect(),
            velocities: None,
            moved: BTreeSet::new(),
            last: None,
        }
    }

    /// Creates the optimiser of a run without velocities.
    pub fn of_run(config: &Config, layout: &Layout) -> Self {
        let optimizer = Self::new(config.optimizer, layout, config.momentum, config.weight_decay);
        optimizer.decaying_all(config.weight_decay_all)
    }

    /// Applies the weight decay to norms and biases, too, if `all` holds.
    pub fn decaying_all(self, all: bool) -> Self {
        Self { decays_all: all, ..self }
    }

    /// Multiplies the learning rates of these parameters.
    pub fn with_rate_factors(self, factors: BTreeMap<ParameterId, f64>) -> Self {
        Self { rate_factors: factors, ..self }
    }

    /// Updates every parameter that has a gradient.
    pub fn step(&mut self, parameters: &mut Parameters, gradients: &GradientSum, rate: f64) {
        parameters.change_packed(|values| self.stepped(values, gradients, rate));
        self.moved.extend(self.packing.ids().filter(|id| gradients.get(*id).is_some()));
    }

    /// Returns the parameters' values after the step.
    fn stepped(&mut self, values: Tensor<1>, gradients: &GradientSum, rate: f64) -> Tensor<1> {
        let gradient = gradients.packed();
        let UpdateRule { decay, ratio, rates } = self.rule(gradients, &values);
        let (mut update, mut decay) = match ratio {
            None => (gradient, decay),
            Some(ratio) => {
                let nothing = decay.zeros_like();
                (ratio.update(&self.packing, &values, gradient, decay), nothing)
            }
        };
        if let Some(rates) = rates {
            let blocks = [rates.dims()[0], ALIGNMENT];
            update = (update.reshape(blocks) * rates.clone().unsqueeze_dim(1)).flatten(0, 1);
            decay = decay * rates;
        }
        let mut step_size = rate;
        if self.kind == OptimizerKind::SimdisLars {
            (update, decay, step_size) = (update.mul_scalar(rate), decay.mul_scalar(rate), 1.0);
        }
        let velocities = self.velocities.take().unwrap_or_else(|| values.zeros_like());
        // Parameters without a gradient in this step do not move.
        let resting = self.resting(gradients, &values);
        let before = resting.map(|resting| (resting, values.clone(), velocities.clone()));
        let [mut moved, mut velocities] = sgd_step([values, velocities], update, decay, self.momentum, step_size);
        if let Some((resting, values, before)) = before {
            moved = moved.mask_where(resting.clone(), values);
            velocities = velocities.mask_where(resting, before);
        }
        self.velocities = Some(velocities);
        moved
    }

    /// Returns what is done with the gradients of the parameters that have one.
    fn rule(&mut self, gradients: &GradientSum, like: &Tensor<1>) -> UpdateRule {
        let moving: Vec<_> = self.packing.ids().filter(|id| gradients.get(*id).is_some()).collect();
        if let Some((of, rule)) = &self.last
            && *of == moving
        {
            return rule.clone();
        }
        let decay_of =
            |id: ParameterId| if self.decays_all || self.weights.contains(&id) { self.weight_decay } else { 0.0 };
        let is_scaled = |id: ParameterId| match self.kind {
            OptimizerKind::Sgd => false,
            OptimizerKind::Lars | OptimizerKind::SimdisLars => self.weights.contains(&id),
            OptimizerKind::Larc => true,
        };
        let per_block = |empty: f64, value_of: &dyn Fn(ParameterId) -> f64| {
            let mut values = vec![empty; self.packing.length() / ALIGNMENT];
            moving.iter().for_each(|id| values[self.packing.blocks(*id)].fill(value_of(*id)));
            Tensor::from_data(TensorData::from(values.as_slice()), (&like.device(), like.dtype()))
        };
        let rate_of = |id: ParameterId| self.rate_factors.get(&id).copied().unwrap_or(1.0);
        let scaled = moving.iter().filter(|id| is_scaled(**id)).map(|id| (*id, decay_of(*id))).collect();
        let rule = UpdateRule {
            decay: per_block(0.0, &decay_of),
            ratio: TrustRatio::new(self.kind, &self.packing, scaled, like),
            rates: (!self.rate_factors.is_empty()).then(|| per_block(1.0, &rate_of)),
        };
        self.last = Some((moving, rule.clone()));
        rule
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

    /// Sets the velocities of all trained parameters, packed as in [`Layout::packing`].
    pub fn set_packed_velocities(&mut self, velocities: Tensor<1>) {
        self.moved = self.packing.ids().collect();
        self.velocities = Some(velocities);
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

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::{
        layout::{ParameterSpec, Role},
        width::{Channels, Widths},
    };

    /// Returns a layer's weight and bias, all ones, and their gradients, all twos.
    fn layer() -> ([ParameterId; 2], Parameters, GradientSum) {
        let mut layout = Layout::new(Widths::full());
        let channels = Channels::Fixed(3);
        let vector = |name: &str, role| ParameterSpec::vector(name.into(), role, channels, None);
        let ids = [Role::Weight { deviation: 1.0 }, Role::PerChannel { initial: 1.0 }]
            .map(|role| layout.add(vector("layer", role)).unwrap());
        let mut parameters = Parameters::init(Arc::new(layout), 0, &Device::flex());
        parameters.update(ids[0], |weight| weight.ones_like());
        let mut gradients = GradientSum::new(parameters.layout());
        ids.iter().for_each(|id| gradients.set(*id, parameters.get(*id).ones_like() * 2.0));
        (ids, parameters, gradients)
    }

    fn value(parameters: &Parameters, id: ParameterId) -> f32 {
        parameters.get(id).clone().into_data().iter().next().unwrap()
    }

    #[test]
    fn biases_decay_only_if_all_parameters_do() {
        for (all, expected) in [(false, [0.75, 0.8]), (true, [0.75, 0.75])] {
            let (ids, mut parameters, gradients) = layer();
            let optimizer = Optimizer::new(OptimizerKind::Sgd, parameters.layout(), 0.9, 0.5);
            optimizer.decaying_all(all).step(&mut parameters, &gradients, 0.1);
            assert_eq!(ids.map(|id| value(&parameters, id)), expected);
        }
    }

    #[test]
    fn a_factor_of_the_rate_is_one_of_the_whole_update() {
        for kind in [OptimizerKind::Sgd, OptimizerKind::Lars, OptimizerKind::Larc, OptimizerKind::SimdisLars] {
            // Two steps, so that the velocity counts, too.
            let moved = |factors: &[f64; 2], rate| {
                let (ids, mut parameters, gradients) = layer();
                let optimizer = Optimizer::new(kind, parameters.layout(), 0.9, 0.5).decaying_all(true);
                let mut optimizer = optimizer.with_rate_factors(ids.into_iter().zip(*factors).collect());
                (0..2).for_each(|_| optimizer.step(&mut parameters, &gradients, rate));
                ids.map(|id| 1.0 - value(&parameters, id))
            };
            let ([slow, full], [expected, _]) = (moved(&[0.5, 1.0], 0.02), moved(&[1.0, 1.0], 0.01));
            let [_, unchanged] = moved(&[1.0, 1.0], 0.02);
            assert!((slow - expected).abs() < 1e-6, "{kind:?}: {slow} is not {expected}");
            assert_eq!(full, unchanged, "{kind:?}");
        }
    }

    #[test]
    fn a_parameter_without_its_gradient_does_not_move() {
        for kind in [OptimizerKind::Sgd, OptimizerKind::Lars, OptimizerKind::Larc, OptimizerKind::SimdisLars] {
            let ([frozen, trained], mut parameters, gradients) = layer();
            let mut optimizer = Optimizer::new(kind, parameters.layout(), 0.9, 0.5).decaying_all(true);
            optimizer.step(&mut parameters, &gradients.clone().without(frozen), 0.1);
            assert_eq!(value(&parameters, frozen), 1.0, "{kind:?}");
            assert!(value(&parameters, trained) < 1.0 && optimizer.velocity(frozen).is_none(), "{kind:?}");
            // Nor does it follow the velocity that it has later.
            optimizer.step(&mut parameters, &gradients, 0.1);
            let moved = value(&parameters, frozen);
            assert!(moved < 1.0, "{kind:?}");
            optimizer.step(&mut parameters, &gradients.without(frozen), 0.1);
            assert_eq!(value(&parameters, frozen), moved, "{kind:?}");
        }
    }
}
