//! A training step on many devices, on paper: arithmetic, memory traffic and communication.
//!
//! An [operation](slimclr_network::operations) takes as long as the slower of its arithmetic and its memory traffic (the
//! roofline model of Williams et al. 2009), at a fixed fraction of both peaks, and at least as long as a launch. Devices
//! share the batch, whose size stays as it is (strong scaling). Communication is not hidden behind computation, so the
//! times are upper bounds in this respect. Making views, losses and evaluations are left out.

mod collective;
mod device;
mod table4;

use slimclr_network::{encoder::BuildError, operations::Operations, width::WidthError};
use thiserror::Error;

pub use self::{
    collective::{Algorithm, Hops, Interconnect, Protocol},
    device::{Device, DeviceKind},
    table4::{IMAGENET, PAPER_EFFICIENCY, TABLE_4, table_4},
};
use crate::{
    config::{Config, ConfigError},
    method::MethodKind,
    precision::Precision,
};

/// Bytes of a parameter, of its gradient, and of an embedding.
const F32: f64 = 4.0;
/// Images at a time beside which parameters do not matter.
const MANY: f64 = 1e6;

/// Why a step cannot be modelled.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ScalingError {
    /// The options are not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The widths are not valid.
    #[error(transparent)]
    Width(#[from] WidthError),
    /// The network cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The method has more networks or memories than the model knows.
    #[error(
        "only steps of mocov2, mocov3, simclr and supervised are modelled on many devices: choose one of them with --method"
    )]
    Method,
    /// The devices cannot share the batch.
    #[error(
        "{ranks} devices cannot share batch = {images} images equally: choose a divisor of {images}, or another --batch"
    )]
    Batch {
        /// Devices.
        ranks: usize,
        /// Images of a step, or of each of its micro-batches.
        images: usize,
    },
}

/// A run's steps on many devices of a kind.
#[derive(Debug, Clone)]
pub struct StepModel {
    device: Device,
    /// Fraction of the device's peaks, of arithmetic and memory, that operations reach.
    efficiency: f64,
    /// Images of a micro-batch, on all devices together.
    images: usize,
    /// Micro-batches of a step.
    parts: usize,
    /// Devices, or groups of them, with separate batch-norm statistics.
    bn_splits: usize,
    precision: Precision,
    recomputes: bool,
    /// Views of an image that pass the network that is trained, and the key encoder.
    query_views: usize,
    key_views: usize,
    method: MethodKind,
    /// The dimension of the embeddings.
    dim: usize,
    /// The trained network at each width, widest first, and the key encoder.
    widths: Vec<Operations>,
    keys: Operations,
    /// Trained parameters of all widths.
    parameters: usize,
    steps: u64,
    slow_start_steps: u64,
}

/// The parts of a step, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StepTime {
    /// Arithmetic and memory traffic.
    pub compute: f64,
    /// What operations that are shorter than a launch wait for it.
    pub launches: f64,
    /// The all-reduce of the gradient by a ring.
    pub ring: f64,
    /// The same by trees.
    pub tree: f64,
    /// The gather of the keys, or of SimCLR's embeddings, and the all-reduce of the latter's gradient.
    pub embeddings: f64,
    /// The all-reduces of batch-norm statistics.
    pub norms: f64,
}

impl StepTime {
    /// Returns the whole step's time, with the faster all-reduce of the gradient.
    pub fn total(&self) -> f64 {
        self.compute + self.launches + self.gradient() + self.embeddings + self.norms
    }

    /// Returns the time of the faster all-reduce of the gradient.
    pub fn gradient(&self) -> f64 {
        self.ring.min(self.tree)
    }

    /// Returns the largest part besides arithmetic and memory traffic, as text.
    pub fn largest_overhead(&self) -> &'static str {
        let parts = [
            (self.launches, "launches of short kernels"),
            (self.gradient(), "the all-reduce of the gradient"),
            (self.embeddings, "the gather of the embeddings"),
            (self.norms, "the all-reduces of batch-norm statistics"),
        ];
        parts.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).map_or("", |(_, name)| name)
    }
}

/// A run on this many devices.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScaledRun {
    /// Devices.
    pub ranks: usize,
    /// Images of a step on each device.
    pub images: usize,
    /// A step that trains all widths.
    pub step: StepTime,
    /// Training time of the run.
    pub seconds: f64,
    /// The time on one device over that on all of them together.
    pub efficiency: f64,
}

impl StepModel {
    /// Models the run of `config` on `images` training images. The operations reach [`PAPER_EFFICIENCY`].
    ///
    /// # Errors
    /// If the options are not valid, or the method is not modelled.
    pub fn new(config: &Config, device: Device, images: usize) -> Result<Self, ScalingError> {
        let (query_views, key_views) = match config.method {
            MethodKind::Mocov2 => (1, 1),
            MethodKind::Mocov3 => (2, 2),
            MethodKind::Simclr => (2, 0),
            MethodKind::Supervised => (1, 0),
            _ => return Err(ScalingError::Method),
        };
        config.check()?;
        let encoder = config.encoder()?.build()?;
        let layout = encoder.layout();
        let widths = (0..layout.widths().len()).map(|index| Operations::of_queries(&encoder, index, config.image_size));
        let trained = layout.iter().filter(|(_, spec)| spec.is_trained());
        let parameters = trained.map(|(_, spec)| spec.shape().iter().product::<usize>()).sum();
        let schedule = config.schedule(images)?;
        Ok(Self {
            device,
            efficiency: PAPER_EFFICIENCY,
            images: config.batch / config.accumulate,
            parts: config.accumulate,
            bn_splits: config.bn_splits,
            precision: config.precision,
            recomputes: config.recompute,
            query_views,
            key_views,
            method: config.method,
            dim: config.dim,
            widths: widths.collect(),
            keys: Operations::of(&encoder, 0, config.image_size),
            parameters,
            steps: schedule.steps,
            slow_start_steps: if config.widths.len() > 1 { schedule.slow_start_step.min(schedule.steps) } else { 0 },
        })
    }

    /// Returns the same with operations that reach this fraction of the device's peaks.
    #[must_use]
    pub fn with_efficiency(self, efficiency: f64) -> Self {
        Self { efficiency, ..self }
    }

    /// Returns the fraction of the peaks that one device reaches if it trains all widths on this many images per second,
    /// so many at a time that launches do not matter.
    pub fn efficiency_at(&self, images_per_second: f64) -> f64 {
        let at_peaks = self.clone().with_efficiency(1.0).operations_time(1, MANY, self.widths.len()).compute;
        at_peaks / MANY * images_per_second
    }

    /// Returns the fraction of the device's peaks that operations reach.
    pub fn efficiency(&self) -> f64 {
        self.efficiency
    }

    /// Returns the run on `ranks` devices.
    ///
    /// # Errors
    /// If they cannot share the batch equally.
    pub fn run(&self, ranks: usize) -> Result<ScaledRun, ScalingError> {
        if ranks == 0 || !self.images.is_multiple_of(ranks) {
            return Err(ScalingError::Batch { ranks, images: self.images });
        }
        let seconds = self.seconds(ranks);
        Ok(ScaledRun {
            ranks,
            images: self.images / ranks * self.parts,
            step: self.step(ranks, self.widths.len()),
            seconds,
            efficiency: self.seconds(1) / (ranks as f64 * seconds),
        })
    }

    /// Returns the run on the fewest devices, of powers of two that can share the batch, that are less than half as
    /// efficient as one.
    pub fn bend(&self) -> Option<ScaledRun> {
        let powers = (0..usize::BITS).map(|power| 1 << power).take_while(|ranks| *ranks <= self.images);
        powers.filter_map(|ranks| self.run(ranks).ok()).find(|run| run.efficiency < 0.5)
    }

    /// Returns the training time of the run on `ranks` devices.
    fn seconds(&self, ranks: usize) -> f64 {
        let [slow, all] = [1, self.widths.len()].map(|widths| self.step(ranks, widths).total());
        self.slow_start_steps as f64 * slow + (self.steps - self.slow_start_steps) as f64 * all
    }

    /// Returns the parts of a step of the first `widths` widths on `ranks` devices.
    fn step(&self, ranks: usize, widths: usize) -> StepTime {
        let parts = self.parts as f64;
        let images = (self.images / ranks) as f64;
        let StepTime { compute, launches, .. } = self.operations_time(self.parts, images, widths);
        let network = &self.device.interconnect;
        let gradient = F32 * self.parameters as f64;
        StepTime {
            compute: compute + self.update_time(),
            launches,
            ring: network.all_reduce(Algorithm::Ring, ranks, gradient),
            tree: network.all_reduce(Algorithm::Tree, ranks, gradient),
            embeddings: parts * self.embeddings_time(ranks, widths),
            norms: parts * self.norms_time(ranks, widths),
        }
    }

    /// Returns the time of the operations of the first `widths` widths, `parts` times on `images` images.
    fn operations_time(&self, parts: usize, images: f64, widths: usize) -> StepTime {
        let (peak, bytes) = match self.precision {
            // On GPUs, nothing else is chosen automatically.
            Precision::F32 | Precision::Auto => (self.device.flops, F32),
            Precision::Bf16 | Precision::F16 => (self.device.half_flops, F32 / 2.0),
        };
        let forwards = if self.recomputes { 2 } else { 1 };
        let of_width = |width: &Operations| {
            let forward = [&width.forward].repeat(forwards);
            forward.into_iter().chain([&width.backward]).flatten().copied().collect::<Vec<_>>()
        };
        let queries = self.widths[..widths].iter().flat_map(of_width).map(|operation| (operation, self.query_views));
        let keys = self.keys.forward.iter().map(|operation| (*operation, self.key_views));
        let mut time = StepTime::default();
        for (operation, views) in queries.chain(keys) {
            let arithmetic = 2.0 * operation.macs as f64 * images / peak;
            let values = operation.activations as f64 * images + operation.parameters as f64;
            let compute = arithmetic.max(values * bytes / self.device.memory) / self.efficiency;
            let times = (views * parts) as f64;
            time.compute += times * compute;
            time.launches += times * (self.device.launch - compute).max(0.0);
        }
        time
    }

    /// Returns the time in which the optimiser reads parameters, velocities and gradients and writes the former two, and
    /// in which the key encoder follows.
    fn update_time(&self) -> f64 {
        let passes = if self.key_views > 0 { 8.0 } else { 5.0 };
        passes * F32 * self.parameters as f64 / self.device.memory / self.efficiency
    }

    /// Returns the time of exchanging the embeddings of a micro-batch.
    fn embeddings_time(&self, ranks: usize, widths: usize) -> f64 {
        let network = &self.device.interconnect;
        let view = F32 * (self.images * self.dim) as f64;
        match self.method {
            MethodKind::Simclr => {
                let views = 2.0 * view;
                widths as f64 * (network.all_gather(ranks, views) + network.fastest_all_reduce(ranks, views))
            }
            _ => self.key_views as f64 * network.all_gather(ranks, view),
        }
    }

    /// Returns the time of synchronising batch norms over the devices that share statistics: sums of values and squares
    /// forward, and as many backward.
    fn norms_time(&self, ranks: usize, widths: usize) -> f64 {
        let sharing = ranks / self.bn_splits.min(ranks);
        let network = &self.device.interconnect;
        let once = |norms: &[u64]| -> f64 {
            norms.iter().map(|channels| network.fastest_all_reduce(sharing, F32 * 2.0 * *channels as f64)).sum()
        };
        let queries: f64 = self.widths[..widths].iter().map(|width| 2.0 * once(&width.norms)).sum();
        self.query_views as f64 * queries + self.key_views as f64 * once(&self.keys.norms)
    }
}

#[cfg(test)]
mod tests;
