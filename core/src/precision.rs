//! Mixed precision: matrix products in 16 bits, everything else in 32 (Micikevicius et al. 2018).

use burn::tensor::{Device, FloatDType, Tensor};
use serde::{Deserialize, Serialize};

/// What convolutions and linear layers compute in during training. Parameters, norms, losses and the optimiser
/// keep 32 bits whatever it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits throughout
    #[default]
    F32,
    /// bfloat16, of the same range as 32 bits
    Bf16,
    /// 16 bits of smaller range: the loss is scaled so that gradients do not vanish
    F16,
}

impl Precision {
    fn low(self) -> Option<FloatDType> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some(FloatDType::BF16),
            Self::F16 => Some(FloatDType::F16),
        }
    }

    /// Whether `device` computes in it.
    pub fn is_supported_by(self, device: &Device) -> bool {
        self.low().is_none_or(|dtype| device.supports_dtype(dtype))
    }

    /// `product` of `x` and `weight` in this precision, back in the precision of `x`.
    pub fn product<const D: usize>(
        self,
        x: Tensor<D>,
        weight: Tensor<D>,
        product: impl FnOnce(Tensor<D>, Tensor<D>) -> Tensor<D>,
    ) -> Tensor<D> {
        match self.low() {
            None => product(x, weight),
            Some(low) => {
                let before = FloatDType::from(x.dtype());
                product(x.cast(low), weight.cast(low)).cast(before)
            }
        }
    }
}
