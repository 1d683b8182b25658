//! Inputs that are generated, not stored (the parity folder's README, "Inputs are generated").

use burn::tensor::{DType, Device, Tensor, TensorData};

/// What a generated tensor stands for.
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
    /// The kind of a parameter of the authors' state dict.
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

/// Generated values, rounded to f32 whatever the precision they are used in.
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

/// A generated tensor of the precision that a case is run in.
pub fn data(salt: &str, name: &str, shape: &[usize], kind: Kind, dtype: DType) -> TensorData {
    TensorData::new(fill(salt, name, shape, kind), shape.to_vec()).convert_dtype(dtype)
}

/// A generated input on `device`.
pub fn input<const D: usize>(salt: &str, name: &str, shape: [usize; D], dtype: DType, device: &Device) -> Tensor<D> {
    Tensor::from_data(data(salt, name, &shape, Kind::Input, dtype), (device, dtype))
}
