//! Checkpoints: every tensor of a run as safetensors, and the rest of its state as JSON in the file's metadata.

use std::collections::{BTreeMap, HashMap};

use burn::tensor::{DType, Device, ExecutionError, Tensor, TensorData};
use safetensors::{Dtype, SafeTensorError, SafeTensors, serialize, tensor::TensorView};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    config::{Config, ConfigError},
    dataset::DatasetSummary,
    encoder::Encoder,
    interchange::safetensors_file::{self, SafetensorsError},
    layout::{MismatchError, Shapes},
    method::{self, Queue, StateTensor, Teacher, Trainer},
    normalisation::Normalisation,
    optim::loss_scale::LossScale,
    parameter::{Parameters, in_layout_shape},
    precision::Precision,
};

/// The metadata's key.
const KEY: &str = "slimclr";
/// Increased when older programs can no longer read new files.
const VERSION: u32 = 3;

/// Branch of the trained encoder.
pub(crate) const QUERY: &str = "encoder_q";
/// Branch of the momentum encoder.
pub const MOMENTUM_ENCODER: &str = "encoder_k";
const VELOCITY: &str = "velocity";
const QUEUE: &str = "queue";
const LOSS_SCALE: &str = "loss_scale";
/// What the method keeps between steps.
const METHOD: &str = "method";

#[derive(Serialize, Deserialize)]
pub(crate) struct Metadata {
    version: u32,
    step: u64,
    queue_pointer: usize,
    /// What identifies the run's images; missing in older files, and in snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dataset: Option<DatasetSummary>,
    /// Normalisation of the images' channels, in older files.
    #[serde(default, skip_serializing)]
    normalisation: Option<Normalisation>,
    /// As TOML, which keeps every digit of a number.
    config: String,
}

/// Why a checkpoint cannot be written or read.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The file is not in the safetensors format, or damaged.
    #[error(transparent)]
    Unreadable(#[from] SafetensorsError),
    /// A tensor cannot be written or read.
    #[error(transparent)]
    Tensor(#[from] SafeTensorError),
    /// The file was not written by this library.
    #[error("it is a safetensors file without slimclr's metadata: choose a checkpoint that slimclr has written")]
    Foreign,
    /// The file is from a newer program.
    #[error("this checkpoint has version {0}, but this program reads up to {VERSION}: use a newer slimclr")]
    Newer(u32),
    /// The metadata cannot be parsed.
    #[error("the checkpoint's metadata is damaged: {0}")]
    Metadata(#[from] serde_json::Error),
    /// The options cannot be parsed.
    #[error("the checkpoint's options are damaged: {0}")]
    Options(#[from] toml::de::Error),
    /// The options cannot be written.
    #[error("the options cannot be written: {0}")]
    Unwritable(#[from] toml::ser::Error),
    /// The queue pointer is not the start of a batch of keys.
    #[error("the checkpoint's metadata is damaged: its queue pointer is {0}")]
    Pointer(usize),
    /// The options are not valid.
    #[error("the checkpoint's options are not valid: {0}")]
    Config(#[from] ConfigError),
    /// The tensors do not fit the network.
    #[error(transparent)]
    Mismatch(#[from] MismatchError),
    /// A tensor is not 32-bit floating point.
    #[error("tensor {0} is not of type F32")]
    Type(String),
    /// The device failed while tensors were read.
    #[error("the device failed: {0}")]
    Device(#[from] ExecutionError),
}

/// Writes the whole state of a run, and what identifies its images.
///
/// # Errors
/// If the device fails.
pub async fn save(state: &Trainer, config: &Config, dataset: &DatasetSummary) -> Result<Vec<u8>, CheckpointError> {
    let mut file = TensorFile::default();
    file.add_parameters(QUERY, &state.query).await?;
    if let Some(key) = &state.key {
        file.add_parameters(MOMENTUM_ENCODER, key).await?;
    }
    for StateTensor { name, shape, values } in state.method.state() {
        file.add(format!("{METHOD}.{name}"), shape, values).await?;
    }
    for (id, spec) in state.encoder.layout().iter() {
        if let Some(velocity) = state.optimizer.velocity(id) {
            let name = format!("{VELOCITY}.{}", spec.name);
            file.add(name, spec.named_shape(), velocity.flatten(0, 3)).await?;
        }
    }
    if let Some(queue) = &state.queue {
        file.add(QUEUE.into(), queue.keys.dims().to_vec(), queue.keys.clone().flatten(0, 1)).await?;
    }
    if let Some(scale) = &state.loss_scale {
        file.add(LOSS_SCALE.into(), scale.state().dims().to_vec(), scale.state().clone()).await?;
    }
    file.finish(Some(&Metadata {
        version: VERSION,
        step: state.steps,
        queue_pointer: state.queue.as_ref().map_or(0, |queue| queue.pointer),
        dataset: Some(dataset.clone()),
        normalisation: None,
        config: toml::to_string(config)?,
    }))
}

/// A safetensors file to be written.
#[derive(Default)]
pub(crate) struct TensorFile {
    tensors: Vec<(String, Vec<usize>, Vec<u8>)>,
}

impl TensorFile {
    /// Adds a tensor under the given shape.
    pub async fn add(&mut self, name: String, shape: Vec<usize>, value: Tensor<1>) -> Result<(), CheckpointError> {
        self.add_data(name, shape, value.into_data_async().await?);
        Ok(())
    }

    /// Adds a tensor's values.
    pub fn add_data(&mut self, name: String, shape: Vec<usize>, data: TensorData) {
        self.tensors.push((name, shape, data.convert::<f32>().as_bytes().to_vec()));
    }

    async fn add_parameters(&mut self, prefix: &str, parameters: &Parameters) -> Result<(), CheckpointError> {
        for (spec, value) in parameters.named() {
            self.add(format!("{prefix}.{}", spec.name), spec.named_shape(), value.clone().flatten(0, 3)).await?;
        }
        Ok(())
    }

    /// Returns the file's bytes.
    pub fn finish(self, metadata: Option<&Metadata>) -> Result<Vec<u8>, CheckpointError> {
        let metadata = match metadata {
            Some(metadata) => Some(HashMap::from([(KEY.into(), serde_json::to_string(metadata)?)])),
            None => None,
        };
        let views = self
            .tensors
            .iter()
            .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>, SafeTensorError>>()?;
        Ok(serialize(views, metadata)?)
    }

    /// Reads the tensors of a file without metadata.
    pub fn read(file: &[u8]) -> Result<BTreeMap<String, TensorData>, CheckpointError> {
        let tensors = safetensors_file::open(file)?;
        tensors.iter().map(|(name, view)| Ok((name.to_owned(), values(name, &view)?))).collect()
    }
}

/// The trained encoder after some steps, a point of the weights' path (paper figure 5). Training cannot resume from it.
pub struct Snapshot {
    /// Steps that the run had taken.
    pub step: u64,
    /// The run's options.
    pub config: Config,
    /// The encoder's parameters.
    pub query: Parameters,
}

impl Snapshot {
    /// Writes the encoder of a run.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn save(state: &Trainer, config: &Config) -> Result<Vec<u8>, CheckpointError> {
        let mut file = TensorFile::default();
        file.add_parameters(QUERY, &state.query).await?;
        file.finish(Some(&Metadata {
            version: VERSION,
            step: state.steps,
            queue_pointer: 0,
            dataset: None,
            normalisation: None,
            config: toml::to_string(config)?,
        }))
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If `bytes` are not a snapshot, or its tensors are not those of its options' network.
    pub fn read(bytes: &[u8], device: &Device) -> Result<Self, CheckpointError> {
        let file = Checkpoint::open(bytes)?;
        file.check_snapshot()?;
        Ok(Self { step: file.step(), query: file.query(&file.encoder()?, device)?, config: file.config })
    }
}

/// Returns the trained encoder of a checkpoint or [`Snapshot`] as a snapshot that also has what identifies the run's
/// images.
///
/// # Errors
/// If `bytes` are neither, or the tensors are not those of the options' network.
pub fn encoder_alone(bytes: &[u8]) -> Result<Vec<u8>, CheckpointError> {
    let file = Checkpoint::read_encoder(bytes)?;
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let encoder = file.tensors.iter().filter(|(name, _)| name.starts_with(QUERY));
    Ok(serialize(encoder, header.metadata().clone())?)
}

/// A checkpoint in memory.
pub struct Checkpoint<'a> {
    tensors: SafeTensors<'a>,
    metadata: Metadata,
    config: Config,
}

impl<'a> Checkpoint<'a> {
    /// Reads the table of contents and the metadata.
    ///
    /// # Errors
    /// If `bytes` are not a checkpoint, or its tensors are not those of its options' network.
    pub fn read(bytes: &'a [u8]) -> Result<Self, CheckpointError> {
        let checkpoint = Self::open(bytes)?;
        let (config, pointer) = (&checkpoint.config, checkpoint.metadata.queue_pointer);
        if config.queue_length() > 0 && (pointer >= config.queue || !pointer.is_multiple_of(config.batch)) {
            return Err(CheckpointError::Pointer(pointer));
        }
        checkpoint.check_tensors()?;
        Ok(checkpoint)
    }

    /// Reads a checkpoint or a [`Snapshot`], for its trained encoder only.
    ///
    /// # Errors
    /// If `bytes` are neither, or the tensors are not those of the options' network.
    pub fn read_encoder(bytes: &'a [u8]) -> Result<Self, CheckpointError> {
        let file = Self::open(bytes)?;
        if file.tensors.names().iter().all(|name| name.starts_with(QUERY)) {
            file.check_snapshot()?;
            return Ok(file);
        }
        Self::read(bytes)
    }

    /// Reads a checkpoint or snapshot without checking its tensors.
    fn open(bytes: &'a [u8]) -> Result<Self, CheckpointError> {
        let tensors = safetensors_file::open(bytes)?;
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header.metadata().as_ref().and_then(|map| map.get(KEY)).ok_or(CheckpointError::Foreign)?;
        let version = serde_json::from_str::<serde_json::Value>(metadata)?["version"].as_u64().unwrap_or(0);
        if version > u64::from(VERSION) {
            return Err(CheckpointError::Newer(version as u32));
        }
        let metadata: Metadata = serde_json::from_str(metadata)?;
        let config: Config = toml::from_str(&metadata.config)?;
        config.check()?;
        Ok(Self { tensors, metadata, config })
    }

    fn shapes(&self) -> Shapes {
        self.tensors.iter().map(|(name, view)| (name.to_owned(), view.shape().to_vec())).collect()
    }

    /// Checks that the tensors are those that [`Snapshot::save`] writes.
    fn check_snapshot(&self) -> Result<(), CheckpointError> {
        let encoder = self.encoder()?;
        let expected = encoder.layout().named_shapes().map(|(name, shape)| (format!("{QUERY}.{name}"), shape));
        Ok(MismatchError::check(expected, &self.shapes())?)
    }

    /// Checks that the tensors are those that [`save`] writes, except for the method's own ([`resume`](Self::resume)
    /// checks these). Velocities may be missing, as sub-networks' are during the slow start.
    fn check_tensors(&self) -> Result<(), CheckpointError> {
        let mut found = self.shapes();
        found.retain(|name, _| !name.starts_with(METHOD));
        let encoder = self.encoder()?;
        let with =
            |prefix| encoder.layout().named_shapes().map(move |(name, shape)| (format!("{prefix}.{name}"), shape));
        let config = &self.config;
        let queue = (QUEUE.to_owned(), vec![config.dim, config.queue]);
        let expected = with(QUERY)
            .chain(with(MOMENTUM_ENCODER).filter(|_| config.has_key_encoder()))
            .chain(with(VELOCITY).filter(|(name, _)| found.contains_key(name)))
            .chain((config.queue_length() > 0).then_some(queue))
            .chain((config.precision == Precision::F16).then(|| (LOSS_SCALE.to_owned(), vec![2])));
        Ok(MismatchError::check(expected, &found)?)
    }

    /// Returns the run's options.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns what identifies the images that the run was trained on, if the file has it.
    pub fn dataset(&self) -> Option<&DatasetSummary> {
        self.metadata.dataset.as_ref()
    }

    /// Returns the normalisation of the images' channels, if the file has it.
    pub fn normalisation(&self) -> Option<Normalisation> {
        self.dataset().map(|dataset| dataset.normalisation).or(self.metadata.normalisation)
    }

    /// Returns the steps that the run had taken.
    pub fn step(&self) -> u64 {
        self.metadata.step
    }

    /// Returns the trained encoder's architecture.
    ///
    /// # Errors
    /// If the options do not describe one.
    pub fn encoder(&self) -> Result<Encoder, CheckpointError> {
        let config = self.config().encoder().map_err(ConfigError::from)?;
        Ok(config.build().map_err(ConfigError::from)?)
    }

    /// Reads the trained encoder's parameters.
    ///
    /// # Errors
    /// If a tensor is not 32-bit floating point.
    pub fn query(&self, encoder: &Encoder, device: &Device) -> Result<Parameters, CheckpointError> {
        self.parameters(QUERY, encoder, device)
    }

    /// Reads the whole state, to resume training with the teacher that the run began with, if it had one.
    ///
    /// # Errors
    /// If a tensor is not 32-bit floating point, or the method's are not those that it keeps.
    ///
    /// # Panics
    /// If the method needs a teacher, and there is none.
    pub fn resume(&self, device: &Device, teacher: Option<Teacher>) -> Result<Trainer, CheckpointError> {
        let encoder = self.encoder()?;
        let config = self.config();
        let layout = encoder.layout().clone();
        let query = self.query(&encoder, device)?;
        let mut method = method::from_config(config, &encoder, teacher, device);
        let of_method = method.state().into_iter().map(|tensor| (format!("{METHOD}.{}", tensor.name), tensor.shape));
        let of_method: Vec<_> = of_method.collect();
        let mut found = self.shapes();
        found.retain(|name, _| name.starts_with(METHOD));
        MismatchError::check(of_method.clone(), &found)?;
        let values = of_method.iter().map(|(name, _)| self.tensor(name)).collect::<Result<_, _>>()?;
        method.restore(values, self.metadata.step * config.batch as u64);
        let mut state = Trainer::with_method(config, method, encoder, query);
        if state.key.is_some() {
            state.key = Some(self.parameters(MOMENTUM_ENCODER, &state.encoder, device)?);
        }
        let mut velocities = Vec::new();
        for (id, spec) in layout.iter() {
            let name = format!("{VELOCITY}.{}", spec.name);
            if self.tensors.tensor(&name).is_ok() {
                velocities.push((id, Tensor::from_data(in_layout_shape(spec, self.tensor(&name)?), device)));
            }
        }
        state.optimizer.set_velocities(&velocities);
        // Before the first step, it is the queue of a new run, whose other layout in memory rounds the first products
        // differently.
        if state.queue.is_some() && self.metadata.step > 0 {
            let keys = Tensor::from_data(self.tensor(QUEUE)?, device);
            state.queue = Some(Queue { keys, pointer: self.metadata.queue_pointer });
        }
        if state.loss_scale.is_some() {
            state.loss_scale = Some(LossScale::from_state(Tensor::from_data(self.tensor(LOSS_SCALE)?, device)));
        }
        state.steps = self.metadata.step;
        Ok(state)
    }

    fn parameters(&self, prefix: &str, encoder: &Encoder, device: &Device) -> Result<Parameters, CheckpointError> {
        Parameters::from_named(encoder.layout().clone(), device, |name| self.tensor(&format!("{prefix}.{name}")))
    }

    /// Returns the branches of its encoders.
    pub(crate) fn branches(&self) -> impl Iterator<Item = &'static str> {
        let names = self.tensors.names();
        let is_there = move |branch: &&str| names.iter().any(|name| name.split('.').next() == Some(*branch));
        [QUERY, MOMENTUM_ENCODER].into_iter().filter(is_there)
    }

    /// Reads a tensor's values.
    pub(crate) fn tensor(&self, name: &str) -> Result<TensorData, CheckpointError> {
        values(name, &self.tensors.tensor(name)?)
    }
}

fn values(name: &str, view: &TensorView) -> Result<TensorData, CheckpointError> {
    if view.dtype() != Dtype::F32 {
        return Err(CheckpointError::Type(name.into()));
    }
    Ok(TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), DType::F32))
}
