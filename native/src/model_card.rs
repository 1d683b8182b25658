//! What is to be known of an exported sub-network, as JSON beside it.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};
use slimclr_core::{
    augment::Normalisation,
    config::Config,
    encoder::{BackboneKind, EncoderConfig},
    event::Evaluated,
    interchange::onnx::{FEATURES, IMAGES, LOGITS},
    method::MethodKind,
};

use crate::data::fetch::hex;

/// The card of one sub-network.
#[derive(Serialize)]
pub struct ModelCard {
    /// What its files are called, without their endings.
    pub name: String,
    pub program: &'static str,
    pub architecture: Architecture,
    pub width: f64,
    pub parameters: u64,
    /// Multiply-accumulates for one image of the size below.
    pub macs: u64,
    pub input: Input,
    /// Names and channels.
    pub outputs: BTreeMap<String, usize>,
    /// How it was trained, if by this program.
    pub training: Option<Training>,
    /// Latest accuracies of these very weights, if they were measured.
    pub evaluation: Option<Evaluated>,
    pub files: Vec<FileEntry>,
    /// Lines of Python that compute the outputs of `images`.
    pub loading: Loading,
}

impl ModelCard {
    /// What the ONNX file itself says, as key and JSON.
    ///
    /// # Errors
    /// If a number has no JSON.
    pub fn properties(&self) -> serde_json::Result<[(&'static str, String); 3]> {
        let Normalisation { mean, std } = &self.input.normalisation;
        Ok([
            ("width", serde_json::to_string(&self.width)?),
            ("mean", serde_json::to_string(mean)?),
            ("std", serde_json::to_string(std)?),
        ])
    }
}

#[derive(Serialize)]
pub struct Architecture {
    backbone: BackboneKind,
    /// Layers, where the backbone comes in several depths.
    #[serde(skip_serializing_if = "Option::is_none")]
    depth: Option<usize>,
    /// Channels at full width, over the standard ones.
    multiplier: f64,
    note: &'static str,
}

#[derive(Serialize)]
pub struct Input {
    name: &'static str,
    layout: &'static str,
    values: &'static str,
    /// Side of the images it was trained on, in pixels; others will do.
    image_size: usize,
    normalisation: Normalisation,
}

#[derive(Serialize)]
pub struct Training {
    pub method: MethodKind,
    pub images: usize,
    /// Those taken.
    pub steps: u64,
    pub epochs: f64,
    pub options: Config,
}

#[derive(Serialize)]
pub struct FileEntry {
    name: String,
    bytes: usize,
    sha256: String,
}

#[derive(Serialize)]
pub struct Loading {
    #[serde(skip_serializing_if = "Option::is_none")]
    torchvision: Option<[String; 4]>,
    onnxruntime: [String; 3],
}

/// What an architecture's files are called: `resnet50`, `resnet50x2`, `cifar-resnet20`, `efficientnet_b0`.
pub fn name_of(encoder: &EncoderConfig) -> String {
    let EncoderConfig { backbone, depth, multiplier, .. } = encoder;
    let family = match backbone {
        BackboneKind::Cifar => "cifar-resnet",
        BackboneKind::Resnet => "resnet",
        BackboneKind::EfficientnetB0 => return "efficientnet_b0".into(),
    };
    let multiple = if *multiplier == 1.0 { String::new() } else { format!("x{multiplier}") };
    format!("{family}{depth}{multiple}")
}

impl Architecture {
    /// That of `encoder`.
    pub fn of(encoder: &EncoderConfig) -> Self {
        Self {
            backbone: encoder.backbone,
            depth: (encoder.backbone != BackboneKind::EfficientnetB0).then_some(encoder.depth),
            multiplier: encoder.multiplier,
            note: match encoder.backbone {
                BackboneKind::Cifar => {
                    "tensors are named as torchvision names a ResNet's, but torchvision has no such network: its \
                     blocks have a ReLU before the sum as well as after it"
                }
                BackboneKind::Resnet => {
                    "ResNet v1.5, as torchvision's; its load_state_dict misses num_batches_tracked, which nothing \
                     depends on, and, where there is no classifier, fc"
                }
                BackboneKind::EfficientnetB0 => {
                    "EfficientNet-B0, as torchvision's; its load_state_dict misses num_batches_tracked, which nothing \
                     depends on, and, where there is no classifier, classifier.1"
                }
            },
        }
    }
}

impl Input {
    /// Images as the network was trained on.
    pub fn new(image_size: usize, normalisation: Normalisation) -> Self {
        Self {
            name: IMAGES,
            layout: "batch, channel (red, green, blue), row, column",
            values: "32-bit float: intensity from 0 to 1, less mean, over std",
            image_size,
            normalisation,
        }
    }
}

impl FileEntry {
    /// The file `name` with these contents.
    pub fn of(name: &str, contents: &[u8]) -> Self {
        Self { name: name.into(), bytes: contents.len(), sha256: hex(&Sha256::digest(contents)) }
    }
}

impl Loading {
    /// How to load the network `name`, which computes its last output.
    pub fn of(encoder: &EncoderConfig, name: &str, has_classifier: bool) -> Self {
        let (output, outputs) =
            if has_classifier { (LOGITS, format!("{FEATURES}, {LOGITS}")) } else { (FEATURES, format!("{FEATURES},")) };
        let known = match encoder.backbone {
            BackboneKind::Cifar => None,
            BackboneKind::Resnet => Some((format!("resnet{}", encoder.depth), "fc")),
            BackboneKind::EfficientnetB0 => Some(("efficientnet_b0".into(), "classifier")),
        };
        let torchvision = known.map(|(function, classifier)| {
            let removed = format!("; network.{classifier} = torch.nn.Identity()");
            let removed = if has_classifier { "" } else { &removed };
            [
                "import operator, safetensors.torch, torch, torchvision".into(),
                format!("network = torchvision.models.{function}(){removed}"),
                // Whole tensors are replaced, so that torchvision's network takes on the sub-network's channels.
                format!(
                    "for name, tensor in safetensors.torch.load_file('{name}.safetensors').items(): \
                     operator.attrgetter(name)(network).data = tensor"
                ),
                format!("{output} = network.eval()({IMAGES})"),
            ]
        });
        let onnxruntime = [
            "import onnxruntime".into(),
            format!("network = onnxruntime.InferenceSession('{name}.onnx')"),
            format!("{outputs} = network.run(None, {{'{IMAGES}': {IMAGES}}})"),
        ];
        Self { torchvision, onnxruntime }
    }
}
