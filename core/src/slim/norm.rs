//! Switchable batch norm.

use burn::tensor::{Tensor, module::batch_norm};

use crate::{
    kernel::norm::{Then, batch_norm_train},
    parameter::{Layout, ParameterId, ParameterSpec, Role},
    pass::{Mode, Pass},
    width::{Channels, WidthError},
};

/// How far running statistics move towards the batch's at each step.
const MOMENTUM: f64 = 0.1;
/// Added to the variance before its root is taken.
const EPSILON: f64 = 1e-5;

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
    gamma: ParameterId,
    beta: ParameterId,
    mean: ParameterId,
    variance: ParameterId,
}

impl SwitchableBatchNorm {
    /// Norms named `name.bn.0`, `name.bn.1`, … in the order of the widths, with scale `gamma` at first.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn new(layout: &mut Layout, name: &str, channels: Channels, gamma: f64) -> Result<Self, WidthError> {
        let widths = layout.widths().clone();
        let per_width = (0..widths.len())
            .map(|index| {
                let mut vector = |part: &str, role| {
                    layout.add(ParameterSpec {
                        name: format!("{name}.bn.{index}.{part}"),
                        role,
                        outputs: Channels::Fixed(channels.at(&widths, index)),
                        inputs: Channels::Fixed(1),
                        kernel: [1, 1],
                        rank: 1,
                        only_width: Some(index),
                    })
                };
                Ok(BatchNorm {
                    gamma: vector("weight", Role::PerChannel { initial: gamma })?,
                    beta: vector("bias", Role::PerChannel { initial: 0.0 })?,
                    mean: vector("running_mean", Role::Running { initial: 0.0 })?,
                    variance: vector("running_var", Role::Running { initial: 1.0 })?,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { per_width })
    }

    /// Normalises, and does what follows. Shape: `[batch, channels, height, width]`, kept. In training
    /// mode the batch must divide into the pass' splits.
    pub fn forward(&self, x: Tensor<4>, then: Then, pass: &mut Pass) -> Tensor<4> {
        let norm = &self.per_width[pass.width()];
        let [batch, channels, height, width] = x.dims();
        let gamma = pass.parameter(norm.gamma).reshape([channels]);
        let beta = pass.parameter(norm.beta).reshape([channels]);
        match pass.mode() {
            Mode::Eval => {
                let [mean, variance] = [norm.mean, norm.variance].map(|id| pass.running(id).reshape([channels]));
                then.apply(batch_norm(x, gamma, beta, mean, variance, EPSILON))
            }
            Mode::Train { splits } => {
                // Every `splits`-th sample shares its statistics: as channels of their own, the groups
                // are normalised in one call.
                let grouped = |x: Tensor<4>| x.reshape([batch / splits, splits * channels, height, width]);
                let then = match then {
                    Then::AddRelu(shortcut) => Then::AddRelu(grouped(shortcut)),
                    then => then,
                };
                let [gamma, beta] = [gamma, beta].map(|vector| vector.repeat_dim(0, splits));
                let result = batch_norm_train(grouped(x), gamma, beta, EPSILON, then);
                let samples = (batch / splits * height * width) as f64;
                let averaged = |statistic: Tensor<1>| {
                    statistic.reshape([splits, channels]).mean_dim(0).reshape([channels, 1, 1, 1])
                };
                pass.move_running(norm.mean, averaged(result.mean), MOMENTUM);
                let unbiased = result.variance.mul_scalar(samples / (samples - 1.0));
                pass.move_running(norm.variance, averaged(unbiased), MOMENTUM);
                result.output.reshape([batch, channels, height, width])
            }
        }
    }
}
