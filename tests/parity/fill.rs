//! Generates the inputs of parity cases (README of `fixtures/parity`, "Inputs are generated").

use std::{convert::Infallible, sync::Arc};

use burn::tensor::{DType, Device, Tensor, TensorData};
use slimclr_core::{
    layout::{Layout, Shapes},
    parameter::Parameters,
};

/// The kind of a generated tensor, which decides its distribution.
#[derive(Clone, Copy)]
pub enum Kind {
    Weight,
    Gamma,
    Beta,
    Mean,
    Var,
    Input,
}

impl Kind {
    /// Returns the kind of a parameter of the authors' state dict.
    pub fn of(name: &str, rank: usize) -> Self {
        match name {
            _ if name.ends_with("running_mean") => Self::Mean,
            _ if name.ends_with("running_var") => Self::Var,
            _ if rank > 1 => Self::Weight,
            _ if name.ends_with("weight") => Self::Gamma,
            _ => Self::Beta,
        }
    }
}

/// Generates values, rounded to f32 for every precision.
pub fn fill(salt: &str, name: &str, shape: &[usize], kind: Kind) -> Vec<f32> {
    let hash = format!("{salt}{name}")
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut state = hash;
    let fan_in: usize = shape[1..].iter().product();
    (0..shape.iter().product())
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let u = ((z ^ (z >> 31)) >> 40) as f64 / (1_u64 << 24) as f64;
            let s = 2.0 * u - 1.0;
            let value = match kind {
                Kind::Weight => s * (3.0 / fan_in as f64).sqrt(),
                Kind::Gamma => 1.0 + 0.25 * s,
                Kind::Beta | Kind::Mean => 0.25 * s,
                Kind::Var => 1.0 + 0.5 * u,
                Kind::Input => 1.7 * s,
            };
            value as f32
        })
        .collect()
}

/// Generates a tensor's data in the precision of a case.
pub fn data(salt: &str, name: &str, shape: &[usize], kind: Kind, dtype: DType) -> TensorData {
    TensorData::new(fill(salt, name, shape, kind), shape.to_vec()).convert_dtype(dtype)
}

/// Generates an input on `device`.
pub fn input<const D: usize>(salt: &str, name: &str, shape: [usize; D], dtype: DType, device: &Device) -> Tensor<D> {
    Tensor::from_data(data(salt, name, &shape, Kind::Input, dtype), (device, dtype))
}

/// Generates every parameter of `layout` from its name.
pub fn filled(layout: &Arc<Layout>, salt: &str, dtype: DType) -> Parameters {
    filled_as(layout, salt, dtype, |name| (String::new(), name.into()))
}

/// Generates every parameter of `layout` from a prefix and its name in the authors' code, as `name` returns them.
pub fn filled_as(
    layout: &Arc<Layout>,
    salt: &str,
    dtype: DType,
    name: impl Fn(&str) -> (String, String),
) -> Parameters {
    let shapes: Shapes = layout.named_shapes().collect();
    Parameters::from_named(layout.clone(), &Device::flex(), |own| {
        let (shape, (prefix, name)) = (&shapes[own], name(own));
        let kind = Kind::of(&name, shape.len());
        Ok::<_, Infallible>(data(salt, &format!("{prefix}{name}"), shape, kind, dtype))
    })
    .unwrap()
}
