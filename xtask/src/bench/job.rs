//! What can be measured, in the words that both programs read.

use serde::Serialize;
use serde_json::{Value, json};

/// Something to measure, as `core/benches/against.rs` and `pytorch/jobs.py` read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job(pub Value);

/// A network, and what it is trained with.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Network {
    backbone: &'static str,
    depth: usize,
    batch: usize,
    image_size: usize,
    queue: usize,
}

/// The CIFAR ResNet-20, as in the CIFAR-10 recipe but for a CPU's batch.
pub const RESNET20: Network = Network { backbone: "cifar", depth: 20, batch: 64, image_size: 32, queue: 4096 };

/// ImageNet's ResNet-50, as in the paper's recipe but for a CPU's batch.
pub const RESNET50: Network = Network { backbone: "resnet", depth: 50, batch: 8, image_size: 224, queue: 65_536 };

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

/// The page's own, but for a batch that a software renderer can do.
pub const PAGE: PageNetwork =
    PageNetwork { depth: 8, multiplier: 0.5, dim: 128, batch: 8, image_size: 32, queue: 1024 };

impl Job {
    /// A training step of all `widths` in a browser, on its `cpu` or `webgpu`, as `page/ours.mjs` and `page/theirs.mjs`
    /// read it.
    pub fn page(network: PageNetwork, widths: &[f64], device: &str) -> Self {
        Self(json!({ "page": with(network, json!({ "widths": widths, "device": device })) }))
    }

    /// A training step of all `widths`.
    pub fn step(network: Network, widths: &[f64]) -> Self {
        Self::step_that(network, widths, [false, false])
    }

    /// The same with interference measured.
    pub fn observed_step(network: Network, widths: &[f64]) -> Self {
        Self::step_that(network, widths, [true, false])
    }

    /// The same with activations recomputed.
    pub fn recomputing_step(network: Network, widths: &[f64]) -> Self {
        Self::step_that(network, widths, [false, true])
    }

    fn step_that(network: Network, widths: &[f64], [observe, recompute]: [bool; 2]) -> Self {
        let step = json!({ "widths": widths, "observe": observe, "recompute": recompute });
        Self(json!({ "step": with(network, step) }))
    }

    /// The backbone's features at the last of `widths`, in evaluation mode.
    pub fn evaluate(network: Network, widths: &[f64]) -> Self {
        Self(json!({ "evaluate": with(network, json!({ "widths": widths })) }))
    }

    /// MoCo v2 views of an image file, of `size` pixels: two of each decoding, or all of one.
    pub fn augment(file: &str, size: usize, decode: bool) -> Self {
        Self(json!({ "augment": { "file": file, "size": size, "decode": decode } }))
    }

    /// kNN of 1,000 images in a bank of 50,000, by 512 features.
    pub fn neighbours() -> Self {
        Self(json!({ "neighbours": { "bank": 50_000, "test": 1000, "features": 512, "k": 200 } }))
    }

    /// A product of square matrices: what the machine computes in a second.
    pub fn multiply() -> Self {
        Self(json!({ "multiply": { "side": 2048 } }))
    }

    /// A copy of 256 MiB, more than caches hold: what the machine moves in a second.
    pub fn copy() -> Self {
        Self(json!({ "copy": { "size": 1 << 28 } }))
    }
}

/// The network's description, with more fields.
fn with(network: impl Serialize, more: Value) -> Value {
    let (Ok(Value::Object(mut all)), Value::Object(more)) = (serde_json::to_value(network), more) else {
        unreachable!("both are structs")
    };
    all.extend(more);
    Value::Object(all)
}
