//! Updates in proportion to a tensor's norm: the trust ratio of LARS (You et al. 2017) and of its variants.

use burn::tensor::{Int, Tensor, TensorData};

use super::OptimizerKind;
use crate::{
    layout::{ALIGNMENT, Packing, ParameterId},
    parameter::unpack,
};

/// The trust coefficient, as in MoCo v3, SwAV and SimDis.
const TRUST: f64 = 0.001;
/// Keeps LARC's and SimDis' ratio finite.
const EPSILON: f64 = 1e-8;

/// The tensors whose updates are scaled by a trust ratio, in a step in which these have a gradient.
#[derive(Debug, Clone)]
pub(super) struct TrustRatio {
    kind: OptimizerKind,
    tensors: Vec<ParameterId>,
    /// Weight decay of each of these tensors.
    decay: Tensor<1>,
    /// For each block of packed values, the number of its tensor; the number of tensors if its update is not scaled.
    tensor_of_block: Tensor<1, Int>,
}

impl TrustRatio {
    /// Describes `tensors`, each with its weight decay, on the device and in the precision of `like`. Returns `None` if
    /// there are none.
    pub fn new(
        kind: OptimizerKind,
        packing: &Packing,
        tensors: Vec<(ParameterId, f64)>,
        like: &Tensor<1>,
    ) -> Option<Self> {
        if tensors.is_empty() {
            return None;
        }
        let (tensors, decay): (Vec<_>, Vec<_>) = tensors.into_iter().unzip();
        let mut tensor_of_block = vec![tensors.len() as i32; packing.length() / ALIGNMENT];
        for (number, id) in tensors.iter().enumerate() {
            tensor_of_block[packing.blocks(*id)].fill(number as i32);
        }
        let decay = Tensor::from_data(TensorData::from(decay.as_slice()), (&like.device(), like.dtype()));
        let tensor_of_block = Tensor::from_data(TensorData::from(tensor_of_block.as_slice()), &like.device());
        Some(Self { kind, tensors, decay, tensor_of_block })
    }

    /// Returns the update of all tensors: each `ratio * (gradient + decay * value)`, with a ratio of 1 for those that
    /// are not scaled. All are packed; `decay` has one value for each block.
    pub fn update(&self, packing: &Packing, values: &Tensor<1>, gradient: Tensor<1>, decay: Tensor<1>) -> Tensor<1> {
        let decayed = gradient.clone() + by_block(values.clone(), decay);
        let ratio = self.of_tensors(packing, values, &gradient, &decayed);
        let one = ratio.clone().narrow(0, 0, 1).ones_like();
        by_block(decayed, Tensor::cat(vec![ratio, one], 0).select(0, self.tensor_of_block.clone()))
    }

    /// Returns the ratio of each tensor, `[tensors]`.
    fn of_tensors(
        &self,
        packing: &Packing,
        values: &Tensor<1>,
        gradient: &Tensor<1>,
        decayed: &Tensor<1>,
    ) -> Tensor<1> {
        let norms = |packed: &Tensor<1>| {
            let squares = self.tensors.iter().map(|id| unpack(packing, packed, *id).powi_scalar(2).sum());
            Tensor::cat(squares.collect(), 0).sqrt()
        };
        let of_values = norms(values);
        if self.kind == OptimizerKind::Lars {
            let of_decayed = norms(decayed);
            let is_zero = (of_values.clone() * of_decayed.clone()).equal_elem(0.0);
            return (of_values.mul_scalar(TRUST) / of_decayed).mask_fill(is_zero, 1.0);
        }
        let of_gradient = norms(gradient);
        let sum = of_gradient.clone() + of_values.clone() * self.decay.clone();
        let ratio = of_values.clone().mul_scalar(TRUST) / sum.add_scalar(EPSILON);
        if self.kind == OptimizerKind::SimdisLars {
            return ratio;
        }
        // LARC leaves the gradient as it is where either norm is zero: zero, if it is the gradient's.
        ratio.mask_fill(of_gradient.equal_elem(0.0), 0.0).mask_fill(of_values.equal_elem(0.0), 1.0)
    }
}

/// Multiplies packed values by the factor of their block.
fn by_block(packed: Tensor<1>, factors: Tensor<1>) -> Tensor<1> {
    let blocks: Tensor<2> = packed.reshape([-1, ALIGNMENT as i32]);
    (blocks * factors.unsqueeze_dim(1)).flatten(0, 1)
}
