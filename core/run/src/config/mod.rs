//! The options of a run in one struct: command-line flags, TOML file, and the copy saved with the run.

mod check;
mod preset;
mod two_stage;

use serde::{Deserialize, Serialize};
use slimclr_network::{
    encoder::{BackboneKind, EncoderConfig, Predictors},
    head::HeadKind,
    width::{Slicing, WidthError, Widths},
};

pub use self::{
    check::{ConfigError, in_range},
    two_stage::Recipe,
};
use crate::{
    compress::CompressMemory,
    distill::Distillation,
    method::MethodKind,
    optimizer::OptimizerKind,
    precision::Precision,
    reweight::Reweighting,
    schedule::{Decay, LrSchedule, RunSchedule},
    simdis::SimdisView,
    surgery::Surgery,
};

/// The options of a pre-training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Training method. All other options stay as they are, so choose a preset of that method first
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t = Config::default().method, help_heading = "Method"))]
    pub method: MethodKind,
    /// Temperature of the contrastive logits
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().temperature, help_heading = "Method"))]
    pub temperature: f64,
    /// Keys in the queue: a multiple of the batch, except for CompRess; 0 for none (SwAV only)
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().queue, help_heading = "Method"))]
    pub queue: usize,
    /// Momentum of the key encoder (MoCo, DisCo, CompRess, SimDis)
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().key_momentum, help_heading = "Method"))]
    pub key_momentum: f64,
    /// Raise the key encoder's momentum to 1 along a cosine
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = Config::default().key_momentum_rises, default_missing_value = "true", help_heading = "Method"))]
    pub key_momentum_rises: bool,
    /// Groups that the batch is split into for batch norm, as on that many GPUs without SyncBatchNorm; 1 for no split
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().bn_splits, help_heading = "Method"))]
    pub bn_splits: usize,
    /// Take the statistics of batch norm over the images of all processes that train together (SyncBatchNorm), instead of
    /// each process's own
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = Config::default().sync_bn, default_missing_value = "true", help_heading = "Method"))]
    pub sync_bn: bool,

    /// Trained network to learn from, which stays frozen: a run's folder, a checkpoint, or a PyTorch or safetensors file
    /// of another program (SEED, KD, DisCo, BINGO, CompRess; optional for SimDis)
    #[cfg_attr(
        feature = "clap",
        arg(long, value_name = "RUN", default_value = "", hide_default_value = true, help_heading = "Teacher")
    )]
    pub teacher: String,
    /// Temperature of the teacher's logits (SEED, KD); --temperature is the student's
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().target_temperature, help_heading = "Teacher"))]
    pub target_temperature: f64,
    /// Weight of the teacher in the loss; the rest is the cross-entropy with the labels (KD)
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().kd_weight, help_heading = "Teacher"))]
    pub kd_weight: f64,
    /// Divide the squared error, which is a sum over the batch, by this number, as averaging over that many GPUs does
    /// (DisCo)
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().mse_devices, help_heading = "Teacher"))]
    pub mse_devices: usize,
    /// Leave out the contrastive loss (DisCo)
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = Config::default().mse_only, default_missing_value = "true", help_heading = "Teacher"))]
    pub mse_only: bool,
    /// Neighbours in the bag of each image (BINGO)
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().bag, help_heading = "Teacher"))]
    pub bag: usize,
    /// Memory of earlier features that the student compares with (CompRess)
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t = Config::default().memory, help_heading = "Teacher"))]
    pub memory: CompressMemory,
    /// Compute the teacher's features once, of each image's central crop, and keep them in the run's folder, instead of
    /// computing them for each view (CompRess)
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = Config::default().cached_teacher, default_missing_value = "true", help_heading = "Teacher"))]
    pub cached_teacher: bool,
    /// Targets that the student predicts, separated by commas (SimDis)
    #[cfg_attr(
        feature = "clap",
        arg(long, value_enum, value_delimiter = ',', default_values_t = Config::default().targets, help_heading = "Teacher")
    )]
    pub targets: Vec<SimdisView>,
    /// Train the teacher from random weights, together with the student (SimDis)
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = Config::default().online_teacher, default_missing_value = "true", help_heading = "Teacher"))]
    pub online_teacher: bool,
    /// Depth of the online teacher (SimDis)
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().teacher_depth, help_heading = "Teacher"))]
    pub teacher_depth: usize,
    /// Channel multiplier of the online teacher (SimDis)
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().teacher_multiplier, help_heading = "Teacher"))]
    pub teacher_multiplier: f64,

    /// Prototypes, the clusters that crops are assigned to (SwAV)
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().prototypes, help_heading = "Crops and clusters"))]
    pub prototypes: usize,
    /// Entropy weight (epsilon) of Sinkhorn's algorithm, which assigns crops to prototypes (SwAV)
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().sinkhorn_epsilon, help_heading = "Crops and clusters"))]
    pub sinkhorn_epsilon: f64,
    /// Iterations of Sinkhorn's algorithm (SwAV)
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().sinkhorn_iterations, help_heading = "Crops and clusters"))]
    pub sinkhorn_iterations: usize,
    /// Epochs during which the prototypes are frozen (SwAV)
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().freeze, help_heading = "Crops and clusters"))]
    pub freeze: f64,
    /// Epoch at which the queue starts to be used (SwAV)
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().queue_after, help_heading = "Crops and clusters"))]
    pub queue_after: f64,
    /// Small crops of each image, besides the full-size views (SwAV, SEED)
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().small_crops, help_heading = "Crops and clusters"))]
    pub small_crops: usize,
    /// Side of the small crops, in pixels
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().small_size, help_heading = "Crops and clusters"))]
    pub small_size: usize,

    /// Kind of backbone. Convolutions are initialised as Kaiming normal (fan-out), linear layers as normal with standard
    /// deviation 1 / sqrt(3 * fan-in), or 0.01 if the fan-in is at least 2048
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t = Config::default().backbone, help_heading = "Network"))]
    pub backbone: BackboneKind,
    /// Depth of the backbone; ignored by backbones that have only one
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().depth, help_heading = "Network"))]
    pub depth: usize,
    /// Multiply all channels of the backbone by this; 0.5 makes a network as small as the sub-network of width 0.5
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().multiplier, help_heading = "Network"))]
    pub multiplier: f64,
    /// Widths of the networks, descending from 1.0 and separated by commas
    #[cfg_attr(
        feature = "clap",
        arg(long, value_delimiter = ',', default_value = comma_separated(&Config::default().widths), help_heading = "Network")
    )]
    pub widths: Vec<f64>,
    /// Give the sub-networks disjoint channels: they share weights with the full network, not with each other
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = Config::default().disjoint, default_missing_value = "true", help_heading = "Network"))]
    pub disjoint: bool,
    /// Embedding dimension; with --method supervised, the number of classes instead
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().dim, help_heading = "Network"))]
    pub dim: usize,
    /// Hidden channels of the projection head (all methods but MoCo v2, SEED and KD) and of the predictors (MoCo v3, SimDis)
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().hidden, help_heading = "Network"))]
    pub hidden: usize,
    /// Give MoCo v2's head --hidden hidden channels, instead of as many as the backbone has features (Shi et al.)
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = Config::default().wide_head, default_missing_value = "true", help_heading = "Network"))]
    pub wide_head: bool,

    /// Fraction of the run in which only the full network is trained
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().slow_start, help_heading = "SlimCLR"))]
    pub slow_start: f64,
    /// Online distillation loss from the full network to the sub-networks
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t = Config::default().distill, help_heading = "SlimCLR"))]
    pub distill: Distillation,
    /// Weight of the distillation in a sub-network's loss; the rest is the method's own loss
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().distill_weight, help_heading = "SlimCLR"))]
    pub distill_weight: f64,
    /// Temperature of the full network's logits in --distill
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().teacher_temperature, help_heading = "SlimCLR"))]
    pub teacher_temperature: f64,
    /// Temperature of a sub-network's logits in --distill
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().student_temperature, help_heading = "SlimCLR"))]
    pub student_temperature: f64,
    /// Distil from every wider network, not only from the full one
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = Config::default().full_distill, default_missing_value = "true", help_heading = "SlimCLR"))]
    pub full_distill: bool,
    /// Weight of each width's loss, numbered as in the authors' code. 0: all 1. 1: the width over the sum of the widths.
    /// 2: the width. 3: as 1, times the number of widths. 5 (the paper's): 1 for sub-networks, 1 + the sum of their widths
    /// for the full network. 6: 1 + the sum of the narrower widths, rescaled. 7: as 5, with the second width instead of
    /// the sum
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().reweighting, help_heading = "SlimCLR"))]
    pub reweighting: Reweighting,
    /// How to combine widths' gradients that conflict (an extension of the paper)
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t = Config::default().surgery, help_heading = "Interference"))]
    pub surgery: Surgery,
    /// Measure gradient interference between widths, at most 200 times in the run, and save the weights after each
    /// epoch, at most 200 times. The run's folder grows by some 250 MB for a ResNet-20, some 25 GB for a ResNet-50
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = Config::default().interference, default_missing_value = "true", help_heading = "Interference"))]
    pub interference: bool,

    /// Passes over the training images; may be fractional
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().epochs, help_heading = "Optimisation"))]
    pub epochs: f64,
    /// Images per step
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().batch, help_heading = "Optimisation"))]
    pub batch: usize,
    /// Micro-batches that gradients are accumulated over, to save memory. Each has separate batch-norm statistics, and
    /// in SimCLR and MoCo v3 separate negatives
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().accumulate, help_heading = "Optimisation"))]
    pub accumulate: usize,
    /// Recompute the activations of blocks in the backward pass (activation checkpointing): the same result, less
    /// memory, more time
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = Config::default().recompute, default_missing_value = "true", help_heading = "Optimisation"))]
    pub recompute: bool,
    /// Optimiser
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t = Config::default().optimizer, help_heading = "Optimisation"))]
    pub optimizer: OptimizerKind,
    /// Peak learning rate, reached after the warm-up; not scaled by the batch size
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().learning_rate, help_heading = "Optimisation"))]
    pub learning_rate: f64,
    /// Multiply the learning rate by this after slow start, when the sub-networks start training
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().slim_rate_factor, help_heading = "Optimisation"))]
    pub slim_rate_factor: f64,
    /// Learning-rate schedule after the warm-up
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t = Config::default().decay, help_heading = "Optimisation"))]
    pub decay: Decay,
    /// Fraction of the run during which the learning rate warms up linearly
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().warmup, help_heading = "Optimisation"))]
    pub warmup: f64,
    /// Learning rate at the first step of the warm-up
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().warmup_start, help_heading = "Optimisation"))]
    pub warmup_start: f64,
    /// Learning rate that the decay tends to
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().final_rate, help_heading = "Optimisation"))]
    pub final_rate: f64,
    /// Epochs at which the learning rate is multiplied by --milestone-factor, separated by commas (--decay step)
    #[cfg_attr(
        feature = "clap",
        arg(long, value_delimiter = ',', default_value = comma_separated(&Config::default().milestones), help_heading = "Optimisation")
    )]
    pub milestones: Vec<f64>,
    /// Factor of the learning rate at each milestone (--decay step)
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().milestone_factor, help_heading = "Optimisation"))]
    pub milestone_factor: f64,
    /// Momentum of the optimiser
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().momentum, help_heading = "Optimisation"))]
    pub momentum: f64,
    /// Weight decay; not applied to normalisation layers and biases, except with --weight-decay-all
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().weight_decay, help_heading = "Optimisation"))]
    pub weight_decay: f64,
    /// Apply the weight decay to normalisation layers and biases, too
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = Config::default().weight_decay_all, default_missing_value = "true", help_heading = "Optimisation"))]
    pub weight_decay_all: bool,
    /// Clip the gradient to this norm; 0 for no clipping
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().clip_norm, help_heading = "Optimisation"))]
    pub clip_norm: f64,
    /// Precision of convolutions and linear layers
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t = Config::default().precision, help_heading = "Optimisation"))]
    pub precision: Precision,

    /// Side of the augmented views (random crops), in pixels
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().image_size, help_heading = "Data"))]
    pub image_size: usize,
    /// Augment colours as strongly as Shi et al. (2022) do for small networks: jitter 0.8, 0.8, 0.8, 0.4, and grey with
    /// probability 0.5 (methods with MoCo v2's views)
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = Config::default().strong_colours, default_missing_value = "true", help_heading = "Data"))]
    pub strong_colours: bool,
    /// Images: 'embedded' (4,550 of CIFAR-10), a folder of CIFAR-10's binary batches, a folder of images (with a
    /// sub-folder for each class, perhaps below 'train' and 'val', or without labels), or shards in WebDataset's layout
    /// (their folder, or 'x-{000..099}.tar')
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().data, help_heading = "Data"))]
    pub data: String,

    /// Start from the weights of a run's folder, a checkpoint, or a PyTorch or safetensors file of another program: from
    /// its backbone, and from its head if that has the same layers. Batch norms of widths that it lacks start from those
    /// of its full width
    #[cfg_attr(
        feature = "clap",
        arg(long, value_name = "RUN", default_value = "", hide_default_value = true, help_heading = "Data")
    )]
    pub init: String,
    /// Width of --init's network to start from; below 1, it becomes a plain network of that size
    #[cfg_attr(feature = "clap", arg(long, value_name = "W", default_value_t = Config::default().init_width, help_heading = "Data"))]
    pub init_width: f64,
    /// Fraction of the training images of each class to train on; the same images for every seed
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().label_fraction, help_heading = "Data"))]
    pub label_fraction: f64,

    /// Train a classifier for each width, instead of slices of one (supervised)
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = Config::default().switchable_classifier, default_missing_value = "true", help_heading = "Fine-tuning"))]
    pub switchable_classifier: bool,
    /// Freeze the backbone, with its running statistics, and train the classifier alone (supervised)
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = Config::default().frozen_backbone, default_missing_value = "true", help_heading = "Fine-tuning"))]
    pub frozen_backbone: bool,
    /// Learning rate of the backbone's last stage, as a factor of --learning-rate
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().backbone_rate, help_heading = "Fine-tuning"))]
    pub backbone_rate: f64,
    /// Learning rate of each stage of the backbone, as a factor of the next stage's
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().stage_decay, help_heading = "Fine-tuning"))]
    pub stage_decay: f64,

    /// Neighbours in the kNN evaluation
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().knn, help_heading = "Evaluation"))]
    pub knn: usize,
    /// Training images that vote in the kNN evaluations during training: the same ones each time, balanced over the
    /// classes; 0 for all
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().knn_images, help_heading = "Evaluation"))]
    pub knn_images: usize,
    /// Epochs between kNN evaluations; there is also one before training and one after. 0 for only the one after
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().evaluate_every, help_heading = "Evaluation"))]
    pub evaluate_every: f64,

    /// Seed of all random numbers; on the CPU, the same seed gives the same run bit for bit
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().seed, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64), help_heading = "Run"))]
    pub seed: u64,
    /// Device: auto, cpu, vulkan, webgpu, or cuda in builds with CUDA; cuda:1 is the second CUDA device
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().device, help_heading = "Run"))]
    pub device: String,
    /// Epochs between checkpoints; one is always written at the end
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::default().checkpoint_every, help_heading = "Run"))]
    pub checkpoint_every: f64,
    /// Training images that the schedule was made for, if the run has accepted another number of them since: epochs keep
    /// their number of steps
    #[cfg_attr(feature = "clap", arg(skip))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_images: Option<usize>,
}

impl Config {
    /// Returns the same options for images of `classes` classes, which set the outputs of a supervised network; 0 if the
    /// images have no labels.
    ///
    /// # Errors
    /// If the method needs labels and there are none.
    pub fn for_classes(self, classes: usize) -> Result<Self, ConfigError> {
        match (self.method, classes) {
            (MethodKind::Supervised, 0) => Err(ConfigError::NoLabels("supervised")),
            (MethodKind::Supervised, dim) => Ok(Self { dim, ..self }),
            (MethodKind::Kd, 0) if self.kd_weight < 1.0 => Err(ConfigError::NoLabels("kd with kd_weight below 1")),
            (MethodKind::Kd, dim) if self.kd_weight < 1.0 => Ok(Self { dim, ..self }),
            _ => Ok(self),
        }
    }

    /// Returns the widths of the network.
    ///
    /// # Errors
    /// If the widths are not valid.
    pub fn network_widths(&self) -> Result<Widths, WidthError> {
        let slicing = if self.disjoint { Slicing::Disjoint } else { Slicing::Nested };
        Widths::try_from(self.widths.clone())?.with_slicing(slicing)
    }

    /// Returns the encoder to train.
    ///
    /// # Errors
    /// If the widths are not valid.
    pub fn encoder(&self) -> Result<EncoderConfig, WidthError> {
        Ok(EncoderConfig {
            backbone: self.backbone,
            depth: self.depth,
            multiplier: self.multiplier,
            widths: self.network_widths()?,
            head: self.head(),
            hidden: self.hidden,
            predictors: self.predictors(),
            prototypes: if self.method == MethodKind::Swav { self.prototypes } else { 0 },
            outputs: self.dim,
        })
    }

    /// Returns the teacher that SimDis trains beside the student. Its projection is the student's, and it predicts its own
    /// moving average's.
    pub fn online_teacher_encoder(&self) -> EncoderConfig {
        EncoderConfig {
            multiplier: self.teacher_multiplier,
            hidden: self.hidden,
            predictors: Predictors::Simdis(vec![SimdisView::SemaDv.name().into()]),
            ..EncoderConfig::new(self.backbone, self.teacher_depth, HeadKind::Swav, self.dim)
        }
    }

    /// Returns the head that the method trains.
    fn head(&self) -> HeadKind {
        match self.method {
            MethodKind::Mocov2 if self.wide_head => HeadKind::Disco,
            MethodKind::Mocov2 | MethodKind::Seed | MethodKind::Kd => HeadKind::Mocov2,
            MethodKind::Mocov3 => HeadKind::Mocov3,
            MethodKind::Simclr => HeadKind::Simclr,
            MethodKind::Supervised if self.switchable_classifier => HeadKind::SupervisedSwitch,
            MethodKind::Supervised => HeadKind::Supervised,
            MethodKind::Disco | MethodKind::Bingo => HeadKind::Disco,
            MethodKind::Simdis | MethodKind::Swav => HeadKind::Swav,
            // The student's embeddings are compared with the teacher's features.
            MethodKind::Compress if self.memory == CompressMemory::OneQueue => HeadKind::Supervised,
            MethodKind::Compress => HeadKind::None,
        }
    }

    /// Returns the predictors that the method trains.
    fn predictors(&self) -> Predictors {
        match self.method {
            MethodKind::Mocov3 => Predictors::Mocov3,
            MethodKind::Simdis => Predictors::Simdis(self.targets.iter().map(|target| target.name().into()).collect()),
            _ => Predictors::None,
        }
    }

    /// Returns whether the method has a momentum encoder.
    pub fn has_key_encoder(&self) -> bool {
        match self.method {
            MethodKind::Mocov2 | MethodKind::Mocov3 | MethodKind::Disco | MethodKind::Simdis => true,
            MethodKind::Compress => self.memory == CompressMemory::Momentum,
            MethodKind::Simclr | MethodKind::Supervised | MethodKind::Seed | MethodKind::Kd => false,
            MethodKind::Bingo | MethodKind::Swav => false,
        }
    }

    /// Returns the number of keys in the queue that keys enter after each step; 0 if the method has none.
    pub fn queue_length(&self) -> usize {
        match self.method {
            MethodKind::Mocov2 | MethodKind::Seed | MethodKind::Disco | MethodKind::Bingo => self.queue,
            MethodKind::Mocov3 | MethodKind::Simclr | MethodKind::Supervised | MethodKind::Kd => 0,
            // These keep features of another kind themselves.
            MethodKind::Compress | MethodKind::Simdis | MethodKind::Swav => 0,
        }
    }

    /// Returns whether the method needs a trained teacher.
    pub fn needs_teacher(&self) -> bool {
        match self.method {
            MethodKind::Seed | MethodKind::Kd | MethodKind::Disco | MethodKind::Bingo | MethodKind::Compress => true,
            MethodKind::Simdis => {
                !self.online_teacher && self.targets.iter().any(|view| view.network().is_of_teacher())
            }
            MethodKind::Mocov2 | MethodKind::Mocov3 | MethodKind::Simclr | MethodKind::Supervised => false,
            MethodKind::Swav => false,
        }
    }

    /// Returns the step after which a run's queue has been filled for the first time, if it has one that keys enter
    /// after each step. Until then, some of its keys are random, which are easy to tell from the positive.
    pub fn queue_filled_step(&self) -> Option<u64> {
        let length = self.queue_length();
        (length > 0).then(|| length.div_ceil(self.batch.max(1)) as u64)
    }

    /// Returns the number of candidates that the method's cross-entropy chooses among, if it has one: the positive and the
    /// negatives, or the classes. At chance level, the cross-entropy is the logarithm of this number `n`, and the accuracy
    /// is `1 / n`.
    pub fn candidates(&self) -> Option<usize> {
        let images = self.batch / self.accumulate.max(1);
        match self.method {
            MethodKind::Mocov2 | MethodKind::Disco | MethodKind::Bingo => Some(self.queue.saturating_add(1)),
            MethodKind::Mocov3 => Some(images),
            MethodKind::Simclr => Some(images.saturating_mul(2).saturating_sub(1)),
            MethodKind::Supervised | MethodKind::Kd => Some(self.dim),
            MethodKind::Seed | MethodKind::Compress | MethodKind::Simdis | MethodKind::Swav => None,
        }
    }

    /// Returns the weight of each width's loss once all widths are trained, widest first.
    ///
    /// # Errors
    /// If the widths are not valid.
    pub fn loss_weights(&self) -> Result<Vec<f64>, WidthError> {
        Ok(self.reweighting.weights(&self.network_widths()?))
    }

    /// Returns the run's schedule, given the number of training images. It is that of `scheduled_images` if the run was
    /// planned for these.
    ///
    /// # Errors
    /// If there are fewer images than one batch.
    pub fn schedule(&self, images: usize) -> Result<RunSchedule, ConfigError> {
        in_range("batch", self.batch as f64, self.batch > 0, "at least 1")?;
        if self.batch > images {
            return Err(ConfigError::Batch { batch: self.batch, images });
        }
        let steps_per_epoch = (self.scheduled_images.unwrap_or(images) / self.batch).max(1) as u64;
        let in_steps = |epochs: f64| ((epochs * steps_per_epoch as f64).round() as u64).max(1);
        let steps = in_steps(self.epochs);
        Ok(RunSchedule {
            steps_per_epoch,
            steps,
            slow_start_step: (self.slow_start * steps as f64).round() as u64,
            // A plain network has no sub-networks to start.
            slim_rate_factor: if self.widths.len() > 1 { self.slim_rate_factor } else { 1.0 },
            key_momentum: self.key_momentum,
            key_momentum_rises: self.key_momentum_rises,
            evaluate_every: if self.evaluate_every > 0.0 { in_steps(self.evaluate_every) } else { 0 },
            checkpoint_every: in_steps(self.checkpoint_every),
            learning_rate: LrSchedule {
                decay: self.decay,
                peak: self.learning_rate,
                warmup_start: self.warmup_start,
                final_rate: self.final_rate,
                total_steps: steps,
                warmup_steps: (self.warmup * steps as f64).round() as u64,
                steps_per_epoch,
                milestones: self.milestones.clone(),
                milestone_factor: self.milestone_factor,
            },
        })
    }
}

/// Returns a list as it is written on the command line.
#[cfg(feature = "clap")]
fn comma_separated(values: &[f64]) -> String {
    values.iter().map(f64::to_string).collect::<Vec<_>>().join(",")
}
