//! Messages between the page and its workers: JSON, with files or pixels attached.
//!
//! The page starts a worker for each run, and one for viewing trained networks. The first message to a worker is
//! [`Request::Open`]. Long jobs report [`Report::Progress`]; [`Request::Cancel`] ends them.

#[cfg(target_family = "wasm")]
pub mod wire;

use serde::{Deserialize, Serialize};
use slimclr_network::profile::Profile;
use slimclr_run::{command::Command, config::Config, event::Event, interference::landscape::Landscape};

/// A message from the page to a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Opens a device. Comes first; answered by [`Report::Ready`].
    Open {
        /// The device to open.
        device: DeviceChoice,
    },
    /// Sets the images for all later requests. Answered by [`Report::Images`].
    Images(Images),
    /// Trains from scratch, or from an attached checkpoint. Answered by [`Report::Event`]s and [`Report::Checkpoint`]s.
    /// Attached: the file of the teacher, if the options name one; then the checkpoint.
    ///
    /// If the checkpoint was trained with another method, only its backbone and its step number are used.
    Train {
        /// The options.
        config: Box<Config>,
        /// Whether to pause before the first step.
        paused: bool,
    },
    /// Pauses, resumes, single-steps, changes or stops the run.
    Command(Command),
    /// Computes the loss landscape around the run's latest checkpoint. Answered by [`Report::Landscape`].
    Landscape {
        /// Grid points along each direction.
        cells: usize,
    },
    /// Loads the attached trained network: a checkpoint of this program, or of the authors' PyTorch code. Answered by
    /// [`Report::Network`], then [`Report::Gallery`].
    Network {
        /// The file's name.
        name: String,
    },
    /// Embeds a picture at every width of the network. Answered by [`Report::Embedded`].
    Embed {
        /// Identifies the answer.
        id: u64,
        /// The kind of picture that is attached, or the sample to use.
        picture: Picture,
    },
    /// Cancels the loss landscape or the gallery that is being computed.
    Cancel,
}

/// The device that the user chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceChoice {
    /// WebGPU if available, else the CPU.
    #[default]
    Auto,
    /// WebGPU.
    Webgpu,
    /// The CPU, in WebAssembly.
    Cpu,
}

/// Images to train and evaluate on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Images {
    /// The bundle's sprite sheets of CIFAR-10 images, attached as bytes: training images, then test images.
    Bundle,
    /// Attached files (`File` or `Blob`): CIFAR-10's binary batches, or a folder of images for each class.
    Files {
        /// The path of each attachment, relative to the dropped folder.
        paths: Vec<String>,
    },
}

/// A picture to embed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Picture {
    /// An attached image file.
    File,
    /// Attached pixels in RGBA order, row by row, as a canvas returns them.
    Rgba {
        /// In pixels.
        width: usize,
        /// In pixels.
        height: usize,
    },
    /// The index of one of the gallery's samples.
    Sample(usize),
}

/// A message from a worker to the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The device is open.
    Ready {
        /// The device and its adapter as text: `WebGPU on …`, `CPU (WebAssembly, one thread)`.
        device: String,
        /// Whether it is a GPU.
        gpu: bool,
        /// Why the requested device is not used, if it is not.
        instead: Option<String>,
    },
    /// The images are ready.
    Images {
        /// Their name, for the user.
        name: String,
        /// Class names.
        classes: Vec<String>,
        /// Number of training images.
        train: usize,
        /// Number of test images.
        test: usize,
        /// What of the user's files is used and what is not, as text.
        note: Option<String>,
    },
    /// Images of the user's are damaged, and others take their place. Says which; replaces the report before.
    Damaged(String),
    /// An event of the run.
    Event(Box<Event>),
    /// A checkpoint of the run, attached as bytes.
    Checkpoint {
        /// Steps taken.
        step: u64,
    },
    /// Views of images in the current batch, after each checkpoint. Attached: images, first views and second views, each
    /// as RGB pixels, image by image.
    Pairs {
        /// Which of them each width finds.
        pairs: Pairs,
        /// Sides of images, first and second views, in pixels.
        sides: [usize; 3],
    },
    /// Progress of a long job.
    Progress(Progress),
    /// The loss landscape of the run.
    Landscape(Landscape),
    /// The trained network was read.
    Network {
        /// The file's name.
        name: String,
        /// The architecture, as text.
        architecture: String,
        /// Training steps, if the file records them.
        steps: Option<u64>,
        /// Side of the network's input, in pixels.
        side: usize,
        /// Cost of each width, widest first.
        profile: Vec<Profile>,
    },
    /// Training images as embedded at each width. Attached: their pixels in RGB order, image by image; then the pixels
    /// of the samples.
    Gallery {
        /// Side of every image, in pixels.
        side: usize,
        /// Class names.
        classes: Vec<String>,
        /// The class of each image.
        labels: Vec<u32>,
        /// The class of each sample; samples are test images that the user can choose.
        samples: Vec<u32>,
        /// One map for each width, widest first.
        maps: Vec<Map>,
        /// At each width, the share of the images that a vote of their nearest neighbours gets right, each image left out
        /// of its own vote; empty if the images have no labels.
        knn: Vec<f64>,
    },
    /// A picture as embedded at each width. Attached: the network's input as RGB pixels; then for each width the unit
    /// feature vector as little-endian 32-bit floats.
    Embedded {
        /// The `id` of the request.
        id: u64,
        /// One for each width, widest first.
        widths: Vec<Embedding>,
    },
    /// A job failed. Everything else continues.
    Failed {
        /// The job that failed.
        job: Job,
        /// One sentence that says what is wrong and what to do.
        message: String,
    },
    /// A job ended because it was cancelled.
    Cancelled {
        /// The cancelled job.
        job: Job,
    },
}

/// How well each width recognises images by two views of each. A width finds an image if its embedding of the second
/// view is the most similar one to that of the first view, among the second views of several images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pairs {
    /// Training steps taken.
    pub step: u64,
    /// Number of images.
    pub images: usize,
    /// Number of images that each width finds, widest first.
    pub found: Vec<usize>,
    /// For each width, whether it finds each of the first images, those that are shown.
    pub is_found: Vec<Vec<bool>>,
    /// At full width, the cosines of the first views of these images, a row each, with their second views.
    pub cosines: Vec<Vec<f32>>,
}

/// Progress of a long job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The job, as a gerund: `embedding the gallery`.
    pub what: String,
    /// Units done, out of `total`.
    pub done: usize,
    /// At least 1.
    pub total: usize,
}

/// The gallery's images on the two principal components of their features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Map {
    /// The width.
    pub width: f64,
    /// Coordinates of each image, rotated to match the full network's map as closely as possible.
    pub points: Vec<[f32; 2]>,
    /// Share of the features' variance along each component.
    pub explained: [f64; 2],
}

/// A picture as embedded at one width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// The width.
    pub width: f64,
    /// Milliseconds for one image: the median of several runs.
    pub milliseconds: f64,
    /// Nearest images of the gallery and their cosine similarity, nearest first.
    pub neighbours: Vec<(usize, f32)>,
    /// Coordinates on the width's [`Map`].
    pub at: [f32; 2],
}

/// The jobs of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Opening a device.
    Open,
    /// Reading images.
    Images,
    /// Training. Earlier checkpoints stay valid if it fails.
    Train,
    /// Computing a loss landscape.
    Landscape,
    /// Reading a network and embedding the gallery.
    Network,
    /// Embedding a picture.
    Embed,
}
