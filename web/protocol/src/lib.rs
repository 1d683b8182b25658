//! What the page and its worker say to each other: JSON with files or pixels attached.
//!
//! The page has a worker for each run, and one for looking at networks. Every worker begins with [`Request::Open`] and then
//! obeys whatever it is asked; what takes long reports its [`Report::Progress`] and ends at [`Request::Cancel`].

#[cfg(target_family = "wasm")]
pub mod parcel;

use serde::{Deserialize, Serialize};
use slimclr_network::profile::Profile;
use slimclr_run::{command::Command, config::Config, event::Event, interference::landscape::Landscape};

/// What the page asks of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Take a device. Comes first; answered by [`Report::Ready`].
    Open {
        /// Which.
        device: Choice,
    },
    /// Use these images from now on. Answered by [`Report::Images`].
    Images(Images),
    /// Train from scratch on the images, or go on from an attached checkpoint. Answered by [`Report::Event`]s, with
    /// [`Report::Checkpoint`]s between them.
    ///
    /// A checkpoint of another method gives its backbone to the new run, which goes on at its step.
    Train {
        /// The options.
        config: Box<Config>,
        /// Whether to wait before the first step.
        paused: bool,
    },
    /// Pause, resume, take a single step, go on with other options, or stop.
    Steer(Command),
    /// The loss landscape of the run so far, from its latest checkpoint. Answered by [`Report::Landscape`].
    Survey {
        /// Places along each direction.
        cells: usize,
    },
    /// Look at the attached trained network: a checkpoint of ours, or one of the authors' PyTorch code. Answered by
    /// [`Report::Network`], then [`Report::Gallery`].
    Network {
        /// The file's name.
        name: String,
    },
    /// Embed a picture at every width of the network. Answered by [`Report::Embedded`].
    Embed {
        /// To tell answers apart.
        id: u64,
        /// What is attached, or which image of the test set is meant.
        picture: Picture,
    },
    /// End the survey or the gallery that is being computed.
    Cancel,
}

/// Where to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// WebGPU where there is some, else the CPU.
    #[default]
    Auto,
    /// WebGPU.
    Webgpu,
    /// The CPU, in WebAssembly.
    Cpu,
}

/// Images to train on and to evaluate with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Images {
    /// The bundle's sheets of CIFAR-10 images, attached as bytes: training, then test images.
    Bundle,
    /// Attached files (`File` or `Blob`), with their paths below the folder that was dropped: CIFAR-10's binary batches,
    /// or images in a folder for each class.
    Files {
        /// One for each attachment.
        paths: Vec<String>,
    },
}

/// A picture to embed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Picture {
    /// A JPEG, PNG or WebP file, attached.
    File,
    /// Pixels as a canvas has them, attached: 4 bytes each, row by row.
    Rgba {
        /// In pixels.
        width: usize,
        /// In pixels.
        height: usize,
    },
    /// One of the gallery's samples.
    Sample(usize),
}

/// What a worker tells the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The device is there.
    Ready {
        /// In words, with the adapter: `WebGPU on …`, `CPU (WebAssembly, one thread)`.
        device: String,
        /// Whether it is a GPU.
        gpu: bool,
        /// Why it is not the one that was asked for.
        instead: Option<String>,
    },
    /// The images can be used.
    Images {
        /// What they are, in words.
        name: String,
        /// The classes' names.
        classes: Vec<String>,
        /// Training images.
        train: usize,
        /// Test images.
        test: usize,
        /// Files that are no images, or not whole.
        skipped: usize,
    },
    /// Something of the run.
    Event(Event),
    /// A checkpoint; attached as bytes.
    Checkpoint {
        /// Steps that it has taken.
        step: u64,
    },
    /// How far the work that takes long has come.
    Progress(Progress),
    /// The loss around the run's weights.
    Landscape(Landscape),
    /// A trained network was read.
    Network {
        /// The file's name.
        name: String,
        /// The architecture, in words.
        architecture: String,
        /// Steps that it was trained for, if the file tells.
        steps: Option<u64>,
        /// Side of the images that it sees, in pixels.
        side: usize,
        /// What each width costs, widest first.
        profile: Vec<Profile>,
    },
    /// Where the network's widths see some training images. Attached: the images' pixels, 3 bytes each, image by image;
    /// then those of the samples.
    Gallery {
        /// Side of all images, in pixels.
        side: usize,
        /// The classes' names.
        classes: Vec<String>,
        /// The class of each image.
        labels: Vec<u32>,
        /// The class of each sample: a test image to choose.
        samples: Vec<u32>,
        /// One for each width, widest first.
        maps: Vec<Map>,
    },
    /// What the network makes of a picture. Attached: the pixels that it saw, 3 bytes each; then for each width its
    /// feature, of unit length, as the bytes of 32-bit floats, lowest first.
    Embedded {
        /// As it was asked for.
        id: u64,
        /// One for each width, widest first.
        widths: Vec<Embedding>,
    },
    /// Something went wrong; all else goes on.
    Failed {
        /// What was being done.
        task: Task,
        /// What is wrong and what to do, in a sentence.
        message: String,
    },
    /// What was to be cancelled has ended.
    Cancelled {
        /// What was being done.
        task: Task,
    },
}

/// How far something that takes long has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done, as a gerund: `embedding the gallery`.
    pub what: String,
    /// Of `total`.
    pub done: usize,
    /// At least 1.
    pub total: usize,
}

/// Images on the two principal components of their features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Map {
    /// The width.
    pub width: f64,
    /// The place of each image of the gallery; turned so as to lie as near as possible to the full network's.
    pub points: Vec<[f32; 2]>,
    /// The share of the features' variance along each component.
    pub explained: [f64; 2],
}

/// A picture in the embedding of one width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// The width.
    pub width: f64,
    /// Milliseconds that one image takes: the median of several runs.
    pub milliseconds: f64,
    /// Images of the gallery, nearest first, with the cosine of their features.
    pub neighbours: Vec<(usize, f32)>,
    /// The place on the width's map.
    pub at: [f32; 2],
}

/// What a worker may be busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Taking a device.
    Open,
    /// Reading images.
    Images,
    /// Training; what was kept before stands.
    Train,
    /// The loss landscape.
    Survey,
    /// Reading a network and embedding the gallery.
    Network,
    /// Embedding a picture.
    Embed,
}
