//! The table of a network's parameters, without values, from which each width takes its slice.
//!
//! Layers hold only the indices of their parameters in the table ([`ParameterId`]), so one architecture serves several
//! sets of values: the query encoder, the momentum encoder, the optimiser's velocity. Every parameter has the shape
//! `[out, in, height, width]`, with trailing ones for linear layers and vectors, so that one slice rule covers them
//! all.

mod mismatch;
mod packing;

use std::{ops::Range, sync::Arc};

pub use mismatch::{MismatchError, Misshapen, Shapes, first_three};
pub use packing::{ALIGNMENT, Packing, Place};

use crate::width::{Channels, WidthError, Widths};

/// The kind of a parameter, which decides its initial value and what updates it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Role {
    /// A convolution's or linear layer's weight, drawn from a normal distribution of this deviation.
    Weight {
        /// Standard deviation of the initial values.
        deviation: f64,
    },
    /// A bias, or a norm's scale or shift: one learned value per channel.
    PerChannel {
        /// The initial value.
        initial: f64,
    },
    /// A norm's running statistic, updated by the forward pass, not by the optimiser.
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
    /// Its kind.
    pub role: Role,
    /// Output channels.
    pub outputs: Channels,
    /// Input channels; one for vectors.
    pub inputs: Channels,
    /// Height and width of the kernel; one for linear layers and vectors.
    pub kernel: [usize; 2],
    /// Dimensions of the tensor in files: 4 for convolutions, 2 for linear layers, 1 for vectors.
    pub rank: usize,
    /// Index of the only width that uses it (switchable layers); `None` if every width does.
    pub only_width: Option<usize>,
}

impl ParameterSpec {
    /// Describes a parameter with one value per channel.
    pub fn vector(name: String, role: Role, channels: Channels, only_width: Option<usize>) -> Self {
        Self { name, role, outputs: channels, inputs: Channels::Fixed(1), kernel: [1, 1], rank: 1, only_width }
    }

    /// Describes the bias of `layer`, initially zero.
    pub fn bias(layer: &str, channels: Channels, only_width: Option<usize>) -> Self {
        Self::vector(format!("{layer}.bias"), Role::PerChannel { initial: 0.0 }, channels, only_width)
    }

    /// Returns the full shape, `[out, in, height, width]`.
    pub fn shape(&self) -> [usize; 4] {
        [self.outputs.full(), self.inputs.full(), self.kernel[0], self.kernel[1]]
    }

    /// Returns the shape in files: the first [`rank`](Self::rank) dimensions of [`shape`](Self::shape).
    pub fn named_shape(&self) -> Vec<usize> {
        self.shape()[..self.rank].to_vec()
    }

    /// Returns the slice that the width at `index` uses, or `None` if the parameter belongs to another width.
    pub fn slice(&self, widths: &Widths, index: usize) -> Option<[Range<usize>; 4]> {
        if self.only_width.is_some_and(|only| only != index) {
            return None;
        }
        let [height, width] = self.kernel;
        Some([self.outputs.range(widths, index), self.inputs.range(widths, index), 0..height, 0..width])
    }

    /// Returns the name of the same parameter of the width at `index`, if it belongs to one width; else its own.
    pub fn name_at(&self, index: usize) -> String {
        let Some(own) = self.only_width else { return self.name.clone() };
        ["bn", "linears"].iter().fold(self.name.clone(), |name, part| {
            name.replace(&format!(".{part}.{own}."), &format!(".{part}.{index}."))
        })
    }

    /// Returns whether it belongs to the head, a predictor or the prototypes, not to the backbone.
    pub fn is_of_head(&self) -> bool {
        ["fc.", "predictor.", "pred_", "prototypes."].iter().any(|part| self.name.starts_with(part))
    }

    /// Returns whether the optimiser updates it.
    pub fn is_trained(&self) -> bool {
        !matches!(self.role, Role::Running { .. })
    }

    /// Returns whether it is a convolution's or linear layer's weight. Weight decay and the paper's gradient norms
    /// apply to these.
    pub fn is_weight(&self) -> bool {
        matches!(self.role, Role::Weight { .. })
    }
}

/// Index of a parameter in its [`Layout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParameterId(usize);

impl ParameterId {
    /// Returns the row in the table.
    pub fn index(self) -> usize {
        self.0
    }
}

/// The table of a network's parameters, without values.
#[derive(Debug, Clone)]
pub struct Layout {
    widths: Widths,
    specs: Vec<ParameterSpec>,
    packing: Arc<Packing>,
}

impl Layout {
    /// Creates an empty table. Layers add their parameters as they are built.
    pub fn new(widths: Widths) -> Self {
        Self { widths, specs: Vec::new(), packing: Arc::default() }
    }

    /// Returns the network's widths.
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

    /// Returns the offsets of the trained parameters in one packed tensor.
    pub fn packing(&self) -> &Arc<Packing> {
        &self.packing
    }

    /// Iterates over all parameters and their ids.
    pub fn iter(&self) -> impl Iterator<Item = (ParameterId, &ParameterSpec)> {
        self.specs.iter().enumerate().map(|(index, spec)| (ParameterId(index), spec))
    }

    /// Iterates over the names and shapes of all parameters, as in files.
    pub fn named_shapes(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        self.specs.iter().map(|spec| (spec.name.clone(), spec.named_shape()))
    }

    /// Returns the parameter at `id`.
    pub fn spec(&self, id: ParameterId) -> &ParameterSpec {
        &self.specs[id.0]
    }

    /// Returns how many values of the parameter at `id` the width at `index` uses.
    pub fn count_of(&self, id: ParameterId, index: usize) -> u64 {
        let slice = self.spec(id).slice(&self.widths, index);
        slice.map_or(0, |slice| slice.iter().map(|range| range.len() as u64).product())
    }
}
