//! Values for the parameters of a [`Layout`].

mod transfer;

use std::{ops::Range, sync::Arc};

use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64Mcg;

pub use self::transfer::Transfer;
use crate::{
    kernel::{pack as kernel_pack, ranks::Ranks, sgd::ema},
    layout::{Layout, Packing, ParameterId, ParameterSpec, Role},
};

/// Returns the parameter at `id` of a packed tensor, without a copy.
///
/// # Panics
/// If the parameter is not trained.
pub fn unpack(packing: &Packing, packed: &Tensor<1>, id: ParameterId) -> Tensor<4> {
    let place = packing.place(id, None);
    kernel_pack::part(packed, place.start, place.shape)
}

/// Packs trained parameters into one tensor.
///
/// # Panics
/// If `values` is empty, or a parameter is not trained.
pub fn pack<'a>(packing: &Packing, values: impl IntoIterator<Item = (ParameterId, &'a Tensor<4>)>) -> Tensor<1> {
    let pieces = values.into_iter().map(|(id, value)| (value.clone(), packing.place(id, None)));
    kernel_pack::pack(pieces.collect(), packing.length())
}

/// Applies `change` to all values of `tensors`, end to end in one tensor.
pub(crate) fn change_joined(tensors: Vec<&mut Tensor<4>>, change: impl FnOnce(Tensor<1>) -> Tensor<1>) {
    if tensors.is_empty() {
        return;
    }
    let changed = change(kernel_pack::concat(tensors.iter().map(|tensor| (*tensor).clone().flatten(0, 3)).collect()));
    let mut start = 0;
    for tensor in tensors {
        let (shape, length) = (tensor.dims(), tensor.shape().num_elements());
        *tensor = changed.clone().narrow(0, start, length).reshape(shape);
        start += length;
    }
}

/// Reshapes `data` to the parameter's shape in the layout.
pub fn in_layout_shape(spec: &ParameterSpec, data: TensorData) -> TensorData {
    let (bytes, _, dtype) = data.into_parts();
    TensorData::from_bytes(bytes, spec.shape(), dtype)
}

/// Values for every parameter of a [`Layout`].
#[derive(Debug, Clone)]
pub struct Parameters {
    layout: Arc<Layout>,
    values: Vec<Tensor<4>>,
    /// The trained ones packed, with `values` as parts of it; `None` after a change of a single one.
    packed: Option<Tensor<1>>,
}

impl Parameters {
    /// Draws initial values, the same for a seed on every device (Kaiming normal for convolutions, by fan-in for linear
    /// layers).
    pub fn init(layout: Arc<Layout>, seed: u64, device: &Device) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let values = layout
            .iter()
            .map(|(_, spec)| {
                let shape = spec.shape();
                match spec.role {
                    Role::Weight { deviation } => {
                        let values: Vec<f32> = (0..shape.iter().product())
                            .map(|_| (deviation * random.sample::<f64, _>(StandardNormal)) as f32)
                            .collect();
                        Tensor::from_data(TensorData::new(values, shape), device)
                    }
                    Role::PerChannel { initial } | Role::Running { initial } => Tensor::full(shape, initial, device),
                }
            })
            .collect();
        Self { layout, values, packed: None }
    }

    /// Reads values by name with `read`. Each must have its shape in the layout; check this first with
    /// [`MismatchError::check`](crate::layout::MismatchError::check).
    ///
    /// # Errors
    /// Those of `read`.
    pub fn from_named<E>(
        layout: Arc<Layout>,
        device: &Device,
        mut read: impl FnMut(&str) -> Result<TensorData, E>,
    ) -> Result<Self, E> {
        let values = layout
            .iter()
            .map(|(_, spec)| {
                let data = read(&spec.name)?;
                let dtype = data.dtype();
                Ok(Tensor::from_data(in_layout_shape(spec, data), (device, dtype)))
            })
            .collect::<Result<_, E>>()?;
        Ok(Self { layout, values, packed: None })
    }

    /// Returns the device of the values.
    pub fn device(&self) -> Device {
        self.values[0].device()
    }

    /// Copies the values to another device.
    pub fn to_device(&self, device: &Device) -> Self {
        let values = self.values.iter().map(|value| value.clone().to_device(device)).collect();
        Self { layout: self.layout.clone(), values, packed: None }
    }

    /// Returns the layout of the values.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Returns the value at `id`, `[out, in, height, width]`.
    pub fn get(&self, id: ParameterId) -> &Tensor<4> {
        &self.values[id.index()]
    }

    /// Applies `change` to the value at `id`. The old value is moved, not copied, so that a device can work in place.
    pub fn update(&mut self, id: ParameterId, change: impl FnOnce(Tensor<4>) -> Tensor<4>) {
        if self.layout.spec(id).is_trained() {
            self.packed = None;
        }
        self.values[id.index()].inplace(change);
    }

    /// Returns all trained values, packed as in [`Layout::packing`].
    pub fn packed(&self) -> Tensor<1> {
        self.packed.clone().unwrap_or_else(|| {
            let packing = self.layout.packing();
            pack(packing, packing.ids().map(|id| (id, self.get(id))))
        })
    }

    /// Applies `change` to all trained values, packed. They are moved, not copied, so that a device can work in place.
    pub fn change_packed(&mut self, change: impl FnOnce(Tensor<1>) -> Tensor<1>) {
        let packed = self.packed();
        self.packed = None;
        let nothing = Tensor::empty([1; 4], &self.device());
        for id in self.layout.packing().ids() {
            self.values[id.index()] = nothing.clone();
        }
        let packed = change(packed);
        let packing = self.layout.packing();
        for id in packing.ids() {
            self.values[id.index()] = unpack(packing, &packed, id);
        }
        self.packed = Some(packed);
    }

    /// Averages the running statistics over the ranks.
    pub fn average_statistics(&mut self, ranks: &Ranks) {
        if !ranks.is_single() {
            let values = self.layout.iter().zip(&mut self.values).filter(|((_, spec), _)| !spec.is_trained());
            change_joined(values.map(|(_, value)| value).collect(), |values| ranks.mean(values));
        }
    }

    /// Returns the slice of `id` that the width at `index` uses, or `None` if it belongs to another width.
    pub fn slice(&self, id: ParameterId, index: usize) -> Option<Tensor<4>> {
        let slice = self.layout.spec(id).slice(self.layout.widths(), index)?;
        let value = self.get(id).clone();
        if slice.each_ref().map(Range::len) == value.dims() {
            return Some(value);
        }
        Some(kernel_pack::slice(value, slice))
    }

    /// Iterates over the specification and value of every parameter, in the layout's order.
    pub fn named(&self) -> impl Iterator<Item = (&ParameterSpec, &Tensor<4>)> {
        self.layout.iter().map(|(_, spec)| spec).zip(&self.values)
    }

    /// Updates an exponential moving average of `source`: `m * self + (1 - m) * source`. Running statistics stay as
    /// they are.
    pub fn ema_update(&mut self, source: &Parameters, momentum: f64) {
        self.change_packed(|values| ema(values, source.packed(), momentum));
    }
}
