//! Switchable batch norm.

use burn::tensor::Tensor;

use crate::{
    kernel::norm::{batch_norm_eval, batch_norm_train, move_running},
    parameter::{Layout, ParameterId, ParameterSpec, Role},
    pass::{Mode, Pass},
    walk::Then,
    width::{Channels, WidthError},
};

/// How far running statistics move towards the batch's at each step.
const MOMENTUM: f64 = 0.1;
/// Added to the variance before its root is taken.
pub const EPSILON: f64 = 1e-5;

/// One complete batch norm per width: scale, shift and running statistics.
///
/// Features of different widths have different statistics, so they cannot share a norm (spec
/// section 1). The variance that normalises is the biased one; the running one moves towards the
/// unbiased.
#[derive(Debug, Clone)]
pub struct SwitchableBatchNorm {
    per_width: Vec<BatchNorm>,
}

#[derive(Debug, Clone)]
struct BatchNorm {
    /// Scale and shift, where it has them.
    affine: Option<[ParameterId; 2]>,
    /// Running mean and variance.
    running: [ParameterId; 2],
}

impl SwitchableBatchNorm {
    /// Norms named `name.bn.0`, `name.bn.1`, … in the order of the widths, with scale `gamma` at first.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn new(layout: &mut Layout, name: &str, channels: Channels, gamma: f64) -> Result<Self, WidthError> {
        Self::with_scale(layout, name, channels, Some(gamma))
    }

    /// Norms that neither scale nor shift.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn without_affine(layout: &mut Layout, name: &str, channels: Channels) -> Result<Self, WidthError> {
        Self::with_scale(layout, name, channels, None)
    }

    fn with_scale(layout: &mut Layout, name: &str, channels: Channels, gamma: Option<f64>) -> Result<Self, WidthError> {
        let widths = layout.widths().clone();
        let per_width = (0..widths.len())
            .map(|index| {
                let mut vector = |part: &str, role| {
                    let (name, channels) = (format!("{name}.bn.{index}.{part}"), channels.at(&widths, index));
                    layout.add(ParameterSpec::vector(name, role, Channels::Fixed(channels), Some(index)))
                };
                let affine = match gamma {
                    Some(initial) => Some([
                        vector("weight", Role::PerChannel { initial })?,
                        vector("bias", Role::PerChannel { initial: 0.0 })?,
                    ]),
                    None => None,
                };
                let mean = vector("running_mean", Role::Running { initial: 0.0 })?;
                let variance = vector("running_var", Role::Running { initial: 1.0 })?;
                Ok(BatchNorm { affine, running: [mean, variance] })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { per_width })
    }

    /// Normalises, and does what follows. Shape: `[batch, channels, height, width]`, kept. In training
    /// mode the batch must divide into the pass' splits.
    pub fn forward(&self, x: Tensor<4>, then: Then<Tensor<4>>, pass: &mut Pass) -> Tensor<4> {
        let norm = &self.per_width[pass.width()];
        let [batch, channels, height, width] = x.dims();
        let [gamma, beta] = match norm.affine {
            Some(affine) => affine.map(|id| pass.parameter(id).reshape([channels])),
            None => [1.0, 0.0].map(|constant| Tensor::full([channels], constant, (&x.device(), x.dtype()))),
        };
        match pass.mode() {
            Mode::Eval => {
                let running = norm.running.map(|id| pass.running(id).reshape([channels]));
                batch_norm_eval(x, [gamma, beta], running, EPSILON, then)
            }
            Mode::Train { splits } => {
                // Every `splits`-th sample shares its statistics: as channels of their own, the groups
                // are normalised in one call.
                let grouped = |x: Tensor<4>| x.reshape([batch / splits, splits * channels, height, width]);
                let then = match then {
                    Then::AddRelu(shortcut) => Then::AddRelu(grouped(shortcut)),
                    Then::ReluAddRelu(shortcut) => Then::ReluAddRelu(grouped(shortcut)),
                    then => then,
                };
                let of_groups = |vector: Tensor<1>| if splits == 1 { vector } else { vector.repeat_dim(0, splits) };
                let [gamma, beta] = [gamma, beta].map(of_groups);
                let result = batch_norm_train(grouped(x), gamma, beta, EPSILON, then);
                let samples = (batch / splits * height * width) as f64;
                let running = norm.running.map(|id| pass.running(id));
                let moved = move_running(running, [result.mean, result.variance], MOMENTUM, samples / (samples - 1.0));
                norm.running.into_iter().zip(moved).for_each(|(id, moved)| pass.set_running(id, moved));
                result.output.reshape([batch, channels, height, width])
            }
        }
    }

    /// Scale and shift of the width at `index`, where it has them.
    pub fn affine(&self, index: usize) -> Option<[ParameterId; 2]> {
        self.per_width[index].affine
    }

    /// Running mean and variance of the width at `index`.
    pub fn running(&self, index: usize) -> [ParameterId; 2] {
        self.per_width[index].running
    }
}
