//! What can be measured, as JSON that both programs read.

use serde::Serialize;
use serde_json::{Value, json};

/// Something to measure, in the format of `core/benches/against.rs` and `pytorch/jobs.py`.
#[derive(Debug, Clone, PartialEq)]
pub struct Job(pub Value);

/// A network, and its batch and queue.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Network {
    backbone: &'static str,
    depth: usize,
    batch: usize,
    image_size: usize,
    queue: usize,
    /// As `--precision` has it; PyTorch's by autocast.
    precision: &'static str,
}

/// The CIFAR ResNet-20 of the CIFAR-10 recipe, with a batch for CPUs.
pub const RESNET20: Network =
    Network { backbone: "cifar", depth: 20, batch: 64, image_size: 32, queue: 4096, precision: "f32" };

/// ImageNet's ResNet-50 of the paper's recipe, with a batch for CPUs.
pub const RESNET50: Network =
    Network { backbone: "resnet", depth: 50, batch: 8, image_size: 224, queue: 65_536, precision: "f32" };

impl Network {
    /// Returns the network in bf16.
    pub const fn in_bf16(self) -> Self {
        Self { precision: "bf16", ..self }
    }
}

/// The network that the page trains.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PageNetwork {
    depth: usize,
    multiplier: f64,
    dim: usize,
    batch: usize,
    image_size: usize,
    queue: usize,
}

/// The page's default, with a batch for software renderers.
pub const PAGE: PageNetwork =
    PageNetwork { depth: 8, multiplier: 0.5, dim: 128, batch: 8, image_size: 32, queue: 1024 };

/// How much of making a view is measured. PyTorch always does all of it.
#[derive(Debug, Clone, Copy)]
pub struct Views {
    /// The file is decoded.
    pub decode: bool,
    /// A JPEG file is decoded at a fraction of its size, if the crops allow it.
    pub reduce: bool,
    /// Colours, blur and normalisation, which slimclr leaves to a GPU if there is one.
    pub finish: bool,
}

/// A method that the paper compares with, and its options that depend on the size of the network.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct TwoStage {
    pub method: &'static str,
    /// Depth of the teacher, for methods with one.
    pub teacher_depth: usize,
    pub prototypes: usize,
    /// Entropy weight of the assignment to prototypes.
    pub epsilon: f64,
    pub small_crops: usize,
    pub small_size: usize,
}

/// What the methods need with the CIFAR ResNet-20.
pub const SMALL: TwoStage =
    TwoStage { method: "", teacher_depth: 56, prototypes: 300, epsilon: 0.02, small_crops: 0, small_size: 32 };

/// What they need with the ResNet-50.
pub const LARGE: TwoStage =
    TwoStage { method: "", teacher_depth: 50, prototypes: 3000, epsilon: 0.05, small_crops: 6, small_size: 96 };

impl Job {
    /// A training step of all `widths` in a browser, on its `cpu` or `webgpu`, in the format of `page/slimclr.mjs` and
    /// `page/tensorflow.mjs`.
    pub fn page(network: PageNetwork, widths: &[f64], device: &str) -> Self {
        Self(json!({ "page": with(network, json!({ "widths": widths, "device": device })) }))
    }

    /// A training step of all `widths`.
    pub fn step(network: Network, widths: &[f64]) -> Self {
        Self::step_with(network, widths, [false, false])
    }

    /// A training step that also measures interference.
    pub fn observed_step(network: Network, widths: &[f64]) -> Self {
        Self::step_with(network, widths, [true, false])
    }

    /// A training step that recomputes activations.
    pub fn recomputing_step(network: Network, widths: &[f64]) -> Self {
        Self::step_with(network, widths, [false, true])
    }

    fn step_with(network: Network, widths: &[f64], [observe, recompute]: [bool; 2]) -> Self {
        let step = json!({ "widths": widths, "observe": observe, "recompute": recompute });
        Self(json!({ "step": with(network, step) }))
    }

    /// A training step of a method that the paper compares with, of a plain network.
    pub fn two_stage(network: Network, method: TwoStage) -> Self {
        Self(json!({ "two_stage": with(network, with(method, json!({ "widths": [1.0] }))) }))
    }

    /// The features of the backbone at the last of `widths`, in evaluation mode.
    pub fn evaluate(network: Network, widths: &[f64]) -> Self {
        Self(json!({ "evaluate": with(network, json!({ "widths": widths })) }))
    }

    /// MoCo v2 views of an image file, `size` pixels wide. Where it is decoded, that is for every two views.
    pub fn augment(file: &str, size: usize, views: Views) -> Self {
        let Views { decode, reduce, finish } = views;
        let options = json!({ "file": file, "size": size, "decode": decode, "reduce": reduce, "finish": finish });
        Self(json!({ "augment": options }))
    }

    /// kNN of 1,000 images in a bank of 50,000, with 512 features.
    pub fn neighbours() -> Self {
        Self(json!({ "neighbours": { "bank": 50_000, "test": 1000, "features": 512, "k": 200 } }))
    }

    /// A product of square matrices, for the machine's arithmetic rate.
    pub fn multiply() -> Self {
        Self(json!({ "multiply": { "side": 2048 } }))
    }

    /// A copy of 256 MiB, more than caches hold, for the machine's memory bandwidth.
    pub fn copy() -> Self {
        Self(json!({ "copy": { "size": 1 << 28 } }))
    }
}

/// Returns the network's fields and more.
fn with(network: impl Serialize, more: Value) -> Value {
    let (Ok(Value::Object(mut all)), Value::Object(more)) = (serde_json::to_value(network), more) else {
        unreachable!("both are structs")
    };
    all.extend(more);
    Value::Object(all)
}
