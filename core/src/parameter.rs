//! The parameters of a slimmable network: one table of named tensors, from which each width takes
//! its slice.
//!
//! Layers hold only the place of their parameters in the table ([`ParameterId`]), so one
//! architecture serves several sets of values: the query encoder, the momentum encoder, the
//! optimiser's velocity. Every entry is stored as `[out, in, height, width]`, with trailing ones for
//! linear layers and vectors: then one slice rule covers them all.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
    sync::Arc,
};

use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64Mcg;
use thiserror::Error;

use crate::{
    kernel::{
        descent::approach,
        pack::{self, ALIGNMENT, Place},
    },
    width::{Channels, WidthError, Widths},
};

/// What a parameter is, which decides its initial value and who may change it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Role {
    /// A convolution's or linear layer's weight, drawn from a normal distribution of this deviation.
    Weight {
        /// Standard deviation of the initial values.
        deviation: f64,
    },
    /// Learned per channel (a bias, a norm's scale or shift), with this initial value.
    PerChannel {
        /// The initial value.
        initial: f64,
    },
    /// A norm's running statistic: moved by the forward pass, never by the optimiser.
    Running {
        /// The initial value.
        initial: f64,
    },
}

/// One entry of the table.
#[derive(Debug, Clone)]
pub struct ParameterSpec {
    /// The name in the authors' state dict, such as `features.0.conv1.weight`.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Output channels.
    pub outputs: Channels,
    /// Input channels; one for vectors.
    pub inputs: Channels,
    /// Height and width of the kernel; one for linear layers and vectors.
    pub kernel: [usize; 2],
    /// Dimensions of the tensor as its name promises it: 4 for convolutions, 2 for linear layers, 1 for vectors.
    pub rank: usize,
    /// The only width that uses it (switchable layers), or every width.
    pub only_width: Option<usize>,
}

impl ParameterSpec {
    /// One number a channel.
    pub fn vector(name: String, role: Role, channels: Channels, only_width: Option<usize>) -> Self {
        Self { name, role, outputs: channels, inputs: Channels::Fixed(1), kernel: [1, 1], rank: 1, only_width }
    }

    /// What a layer adds to its outputs, zero at first.
    pub fn bias(layer: &str, channels: Channels, only_width: Option<usize>) -> Self {
        Self::vector(format!("{layer}.bias"), Role::PerChannel { initial: 0.0 }, channels, only_width)
    }

    /// The full shape, `[out, in, height, width]`.
    pub fn shape(&self) -> [usize; 4] {
        [self.outputs.full(), self.inputs.full(), self.kernel[0], self.kernel[1]]
    }

    /// The shape that the name promises: the first [`rank`](Self::rank) dimensions of [`shape`](Self::shape).
    pub fn named_shape(&self) -> Vec<usize> {
        self.shape()[..self.rank].to_vec()
    }

    /// `data` in the shape that the table stores, whatever its own.
    pub fn stored(&self, data: TensorData) -> TensorData {
        let (bytes, _, dtype) = data.into_parts();
        TensorData::from_bytes(bytes, self.shape(), dtype)
    }

    /// What the width at `index` uses, or nothing if the parameter belongs to another width.
    pub fn slice(&self, widths: &Widths, index: usize) -> Option<[Range<usize>; 4]> {
        if self.only_width.is_some_and(|only| only != index) {
            return None;
        }
        let [height, width] = self.kernel;
        Some([self.outputs.range(widths, index), self.inputs.range(widths, index), 0..height, 0..width])
    }

    /// Whether it belongs to the head or the predictor, not to the backbone.
    pub fn is_of_head(&self) -> bool {
        ["fc.", "predictor."].iter().any(|part| self.name.starts_with(part))
    }

    /// Whether the optimiser moves it.
    pub fn is_trained(&self) -> bool {
        !matches!(self.role, Role::Running { .. })
    }

    /// Whether it is a convolution's or linear layer's weight: the tensors that decay, and of which
    /// the paper takes gradient norms.
    pub fn is_weight(&self) -> bool {
        matches!(self.role, Role::Weight { .. })
    }
}

/// Place of a parameter in its [`Layout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParameterId(pub(crate) usize);

/// The table of a network's parameters, without values.
#[derive(Debug, Clone)]
pub struct Layout {
    widths: Widths,
    specs: Vec<ParameterSpec>,
    packing: Arc<Packing>,
}

/// Where each of a layout's trained parameters lies in a tensor of all of them: what is done to all alike is then done
/// at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packing {
    /// The first value and the shape of each.
    places: Vec<Option<(usize, [usize; 4])>>,
    length: usize,
}

impl Packing {
    fn add(&mut self, spec: &ParameterSpec) {
        let start = self.length;
        self.places.push(spec.is_trained().then(|| (start, spec.shape())));
        if spec.is_trained() {
            self.length = (start + spec.shape().iter().product::<usize>()).next_multiple_of(ALIGNMENT);
        }
    }

    /// Values of the packed tensor, some of which belong to no parameter and stay zero.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The trained parameters.
    pub fn ids(&self) -> impl Iterator<Item = ParameterId> {
        self.places.iter().enumerate().filter(|(_, place)| place.is_some()).map(|(index, _)| ParameterId(index))
    }

    /// Where the values of a trained parameter lie.
    ///
    /// # Panics
    /// If the parameter is not trained.
    pub fn range(&self, id: ParameterId) -> Range<usize> {
        let (start, shape) = self.places[id.0].expect("the parameter is trained");
        start..start + shape.iter().product::<usize>()
    }

    /// Where a slice of a trained parameter belongs; the whole of it if there is none.
    ///
    /// # Panics
    /// If the parameter is not trained.
    pub fn place(&self, id: ParameterId, slice: Option<[Range<usize>; 4]>) -> Place {
        let (start, shape) = self.places[id.0].expect("the parameter is trained");
        Place { start, shape, slice: slice.unwrap_or_else(|| shape.map(|side| 0..side)) }
    }

    /// The parameter at `id` of a packed tensor, without a copy.
    ///
    /// # Panics
    /// If the parameter is not trained.
    pub fn unpack(&self, packed: &Tensor<1>, id: ParameterId) -> Tensor<4> {
        let (start, shape) = self.places[id.0].expect("the parameter is trained");
        pack::part(packed, start, shape)
    }

    /// The packed tensor of some trained parameters.
    ///
    /// # Panics
    /// If there are none, or one is not trained.
    pub fn pack<'a>(&self, values: impl IntoIterator<Item = (ParameterId, &'a Tensor<4>)>) -> Tensor<1> {
        let pieces = values.into_iter().map(|(id, value)| (value.clone(), self.place(id, None)));
        pack::pack(pieces.collect(), self.length)
    }
}

impl Layout {
    /// An empty table; layers add their parameters as they are built.
    pub fn new(widths: Widths) -> Self {
        Self { widths, specs: Vec::new(), packing: Arc::default() }
    }

    /// The network's widths.
    pub fn widths(&self) -> &Widths {
        &self.widths
    }

    /// Adds a parameter.
    ///
    /// # Errors
    /// If some width would use none of its channels.
    pub fn add(&mut self, spec: ParameterSpec) -> Result<ParameterId, WidthError> {
        for side in [spec.outputs, spec.inputs] {
            if let Channels::Slim(channels) = side {
                self.widths.check_channels(channels)?;
            }
        }
        Arc::make_mut(&mut self.packing).add(&spec);
        self.specs.push(spec);
        Ok(ParameterId(self.specs.len() - 1))
    }

    /// Where the trained ones lie in a tensor of all of them.
    pub fn packing(&self) -> &Arc<Packing> {
        &self.packing
    }

    /// Every parameter with its place.
    pub fn iter(&self) -> impl Iterator<Item = (ParameterId, &ParameterSpec)> {
        self.specs.iter().enumerate().map(|(index, spec)| (ParameterId(index), spec))
    }

    /// Name and shape of every parameter, as a file holds them.
    pub fn named_shapes(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        self.specs.iter().map(|spec| (spec.name.clone(), spec.named_shape()))
    }

    /// The parameter at `id`.
    pub fn spec(&self, id: ParameterId) -> &ParameterSpec {
        &self.specs[id.0]
    }

    /// Names and shapes of the head's and the predictor's parameters.
    fn head(&self) -> impl Iterator<Item = (&str, [usize; 4])> {
        self.specs.iter().filter(|spec| spec.is_of_head()).map(|spec| (spec.name.as_str(), spec.shape()))
    }

    /// How many numbers of the parameter at `id` the width at `index` uses.
    pub fn count_of(&self, id: ParameterId, index: usize) -> u64 {
        let slice = self.spec(id).slice(&self.widths, index);
        slice.map_or(0, |slice| slice.iter().map(|range| range.len() as u64).product())
    }
}

/// Values for every parameter of a [`Layout`].
#[derive(Debug, Clone)]
pub struct Parameters {
    layout: Arc<Layout>,
    values: Vec<Tensor<4>>,
    /// The trained ones packed, of which `values` are the parts; none since one was changed alone.
    packed: Option<Tensor<1>>,
}

/// Shapes of tensors by name, as a file lists them.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// How named tensors fail to fit a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Error)]
pub struct MismatchError {
    /// Tensors that the network needs.
    pub missing: Vec<String>,
    /// Tensors that the network has no place for.
    pub extra: Vec<String>,
    /// Tensors of another shape than the network's.
    pub misshapen: Vec<Misshapen>,
}

/// A tensor of the wrong shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// Its name.
    pub name: String,
    /// Its shape in the file.
    pub found: Vec<usize>,
    /// The network's.
    pub expected: Vec<usize>,
}

impl MismatchError {
    /// Compares what a network needs with what there is.
    ///
    /// # Errors
    /// If tensors are missing, left over or of another shape.
    pub fn check(expected: impl IntoIterator<Item = (String, Vec<usize>)>, found: &Shapes) -> Result<(), Self> {
        let mut mismatch = Self::default();
        let mut extra: BTreeSet<&String> = found.keys().collect();
        for (name, expected) in expected {
            extra.remove(&name);
            match found.get(&name) {
                None => mismatch.missing.push(name),
                Some(found) if *found != expected => {
                    mismatch.misshapen.push(Misshapen { name, found: found.clone(), expected });
                }
                Some(_) => {}
            }
        }
        mismatch.extra = extra.into_iter().cloned().collect();
        if mismatch == Self::default() { Ok(()) } else { Err(mismatch) }
    }
}

impl fmt::Display for MismatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            (self.missing.len(), "missing", first_three(&self.missing)),
            (self.extra.len(), "unknown", first_three(&self.extra)),
            (self.misshapen.len(), "of another shape", first_three(&self.misshapen)),
        ];
        let kinds = kinds.iter().filter(|(count, ..)| *count > 0);
        let kinds: Vec<String> = kinds.map(|(count, kind, names)| format!("{count} {kind} ({names})")).collect();
        write!(f, "the tensors do not fit the network: {}", kinds.join("; "))
    }
}

impl fmt::Display for Misshapen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has shape {:?}, not {:?}", self.name, self.found, self.expected)
    }
}

fn first_three(items: &[impl ToString]) -> String {
    let shown: Vec<String> = items.iter().take(3).map(ToString::to_string).collect();
    let more = if items.len() > 3 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

impl Parameters {
    /// Fresh values, the same for a seed whatever the device (spec section 1, "Initialisation").
    pub fn init(layout: Arc<Layout>, seed: u64, device: &Device) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let values = layout
            .specs
            .iter()
            .map(|spec| {
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

    /// Values that `read` finds by name, each of the shape that the layout promises
    /// ([`MismatchError::check`] tells beforehand).
    ///
    /// # Errors
    /// Those of `read`.
    pub fn from_named<E>(
        layout: Arc<Layout>,
        device: &Device,
        mut read: impl FnMut(&str) -> Result<TensorData, E>,
    ) -> Result<Self, E> {
        let values = layout
            .specs
            .iter()
            .map(|spec| {
                let data = read(&spec.name)?;
                let dtype = data.dtype();
                Ok(Tensor::from_data(spec.stored(data), (device, dtype)))
            })
            .collect::<Result<_, E>>()?;
        Ok(Self { layout, values, packed: None })
    }

    /// Where the values are.
    pub fn device(&self) -> Device {
        self.values[0].device()
    }

    /// The same values on another device.
    pub fn to_device(&self, device: &Device) -> Self {
        let values = self.values.iter().map(|value| value.clone().to_device(device)).collect();
        Self { layout: self.layout.clone(), values, packed: None }
    }

    /// The table these are values for.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The value at `id`, `[out, in, height, width]`.
    pub fn get(&self, id: ParameterId) -> &Tensor<4> {
        &self.values[id.0]
    }

    /// Replaces the value at `id` by what `change` makes of it. The old value is handed over, not
    /// copied, so that a device can work in place.
    pub fn update(&mut self, id: ParameterId, change: impl FnOnce(Tensor<4>) -> Tensor<4>) {
        if self.layout.spec(id).is_trained() {
            self.packed = None;
        }
        self.values[id.0].inplace(change);
    }

    /// All trained values, as [`Layout::packing`] has them.
    pub fn packed(&self) -> Tensor<1> {
        self.packed.clone().unwrap_or_else(|| {
            let packing = self.layout.packing();
            packing.pack(packing.ids().map(|id| (id, self.get(id))))
        })
    }

    /// Replaces all trained values by what `change` makes of them, packed. They are handed over, not copied, so that a
    /// device can work in place.
    pub fn change_packed(&mut self, change: impl FnOnce(Tensor<1>) -> Tensor<1>) {
        let packed = self.packed();
        self.packed = None;
        let nothing = Tensor::empty([1; 4], &self.device());
        for id in self.layout.packing().ids() {
            self.values[id.0] = nothing.clone();
        }
        let packed = change(packed);
        let packing = self.layout.packing();
        for id in packing.ids() {
            self.values[id.0] = packing.unpack(&packed, id);
        }
        self.packed = Some(packed);
    }

    /// The slice of `id` that the width at `index` uses; none if it belongs to another width.
    pub fn slice(&self, id: ParameterId, index: usize) -> Option<Tensor<4>> {
        let slice = self.layout.spec(id).slice(&self.layout.widths, index)?;
        let value = self.get(id).clone();
        if slice.each_ref().map(Range::len) == value.dims() {
            return Some(value);
        }
        Some(pack::slice(value, slice))
    }

    /// Name and value of every parameter, in the layout's order.
    pub fn named(&self) -> impl Iterator<Item = (&ParameterSpec, &Tensor<4>)> {
        self.layout.specs.iter().zip(&self.values)
    }

    /// Takes over `other`'s backbone, and its head if it is the same by names and shapes.
    ///
    /// # Errors
    /// If a tensor of the backbone is missing there, or of another shape.
    pub fn adopt(&mut self, other: &Parameters) -> Result<(), MismatchError> {
        let theirs: BTreeMap<&str, ParameterId> =
            other.layout.iter().map(|(id, spec)| (spec.name.as_str(), id)).collect();
        let backbone = || self.layout.iter().filter(|(_, spec)| !spec.is_of_head()).map(|(_, spec)| spec);
        let found = backbone().filter_map(|spec| {
            let id = theirs.get(spec.name.as_str())?;
            Some((spec.name.clone(), other.layout.spec(*id).named_shape()))
        });
        let found = found.collect();
        MismatchError::check(backbone().map(|spec| (spec.name.clone(), spec.named_shape())), &found)?;
        let has_same_head = self.layout.head().eq(other.layout.head());
        for (id, spec) in self.layout.clone().iter() {
            if !spec.is_of_head() || has_same_head {
                self.values[id.0] = other.get(theirs[spec.name.as_str()]).clone();
            }
        }
        self.packed = None;
        Ok(())
    }

    /// Moves towards `source`: `m * self + (1 - m) * source`. Running statistics stay each network's own.
    pub fn move_towards(&mut self, source: &Parameters, momentum: f64) {
        self.change_packed(|values| approach(values, source.packed(), momentum));
    }
}
