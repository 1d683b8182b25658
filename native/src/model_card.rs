//! The model card of an exported sub-network: a JSON file beside it.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde::Serialize;
use sha2::{Digest, Sha256};
use slimclr_core::{
    augment::{Normalisation, evaluation_resize},
    config::Config,
    encoder::{BackboneKind, EncoderConfig},
    event::Evaluated,
    interchange::{
        exported::Exported,
        onnx::{FEATURES, IMAGES, LOGITS},
    },
    method::MethodKind,
};

/// The card of one sub-network.
#[derive(Serialize)]
pub struct ModelCard {
    /// Its files' names without extensions.
    pub name: String,
    pub program: &'static str,
    pub architecture: Architecture,
    pub width: f64,
    pub parameters: u64,
    /// Multiply-accumulates for one image of `input.image_size`.
    pub macs: u64,
    pub input: Input,
    /// Channels of each output, by its name.
    pub outputs: BTreeMap<String, usize>,
    /// The names of the classes, in the order of the logits, if there is a classifier of the run's images.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Training by this program, if any.
    pub training: Option<Training>,
    /// The latest evaluation of these weights on the run's images, if any.
    pub evaluation: Option<Evaluated>,
    /// The ONNX files, that in f32 first.
    pub onnx: Vec<OnnxFile>,
    pub files: Vec<FileEntry>,
    /// Lines of Python that make `images` of `files` and compute the outputs.
    pub loading: Loading,
}

impl ModelCard {
    /// Returns the metadata of the ONNX and safetensors files.
    pub fn exported(&self) -> Exported {
        Exported {
            width: self.width,
            backbone: self.architecture.backbone,
            depth: self.architecture.depth,
            image_size: self.input.image_size,
            normalisation: self.input.normalisation,
            classes: self.classes.clone(),
        }
    }
}

#[derive(Serialize)]
pub struct Architecture {
    backbone: BackboneKind,
    /// Number of layers, if the backbone comes in several depths.
    #[serde(skip_serializing_if = "Option::is_none")]
    depth: Option<usize>,
    /// Channels at full width, as a multiple of the standard ones.
    multiplier: f64,
    note: &'static str,
}

#[derive(Serialize)]
pub struct Input {
    name: &'static str,
    layout: &'static str,
    values: &'static str,
    /// Side of the training images in pixels; others work too.
    image_size: usize,
    preprocessing: Preprocessing,
    normalisation: Normalisation,
}

/// How `evaluate` makes the network's input of a picture: as torchvision's `Resize` and `CenterCrop` do, on Pillow images.
#[derive(Serialize)]
struct Preprocessing {
    /// Pixels that the picture's short side is resized to.
    resize: u64,
    /// Side of the square that is cropped from the centre, in pixels.
    crop: usize,
    interpolation: &'static str,
    antialias: bool,
    /// The exception.
    note: String,
}

#[derive(Serialize)]
pub struct Training {
    pub method: MethodKind,
    pub images: usize,
    /// Steps taken.
    pub steps: u64,
    pub epochs: f64,
    pub options: Config,
}

#[derive(Serialize)]
pub struct OnnxFile {
    pub file: String,
    pub precision: &'static str,
    /// For 8 bits.
    #[serde(flatten)]
    pub int8: Option<Int8>,
}

/// What 8 bits were calibrated on, and what they change.
#[derive(Serialize)]
pub struct Int8 {
    pub calibration_images: usize,
    /// Mean cosine of an image's features in f32 and in 8 bits.
    pub cosine_with_f32: f64,
    /// If the images have classes.
    pub accuracy: Option<Int8Accuracy>,
}

/// The accuracy of a kNN vote with features in 8 bits, and with those in f32 of the same images.
#[derive(Serialize)]
pub struct Int8Accuracy {
    pub knn: f64,
    pub knn_f32: f64,
    pub test_images: usize,
    pub training_images: usize,
    pub neighbours: usize,
}

#[derive(Serialize)]
pub struct FileEntry {
    name: String,
    bytes: usize,
    sha256: String,
}

#[derive(Serialize)]
pub struct Loading {
    preprocessing: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    torchvision: Option<[String; 4]>,
    onnxruntime: [String; 3],
}

/// Names an architecture, those of torchvision and timm as there: `resnet50`, `resnet50x2`, `cifar-resnet20`,
/// `efficientnet_b0`.
pub fn name_of(encoder: &EncoderConfig) -> String {
    let EncoderConfig { backbone, depth, multiplier, .. } = encoder;
    let family = match backbone {
        BackboneKind::Cifar => "cifar-resnet",
        BackboneKind::Resnet => "resnet",
        BackboneKind::ResnetCifarStem => "cifar-stem-resnet",
        BackboneKind::EfficientnetB0 => return "efficientnet_b0".into(),
        BackboneKind::EfficientnetB1 => return "efficientnet_b1".into(),
        BackboneKind::TfEfficientnetB0 => return "tf_efficientnet_b0".into(),
        BackboneKind::TfEfficientnetB1 => return "tf_efficientnet_b1".into(),
        BackboneKind::MobilenetV3Large => return "mobilenet_v3_large".into(),
    };
    let multiple = if *multiplier == 1.0 { String::new() } else { format!("x{multiplier}") };
    format!("{family}{depth}{multiple}")
}

impl Architecture {
    /// Describes the architecture of `encoder`.
    pub fn of(encoder: &EncoderConfig) -> Self {
        Self {
            backbone: encoder.backbone,
            depth: encoder.backbone.has_sizes().then_some(encoder.depth),
            multiplier: encoder.multiplier,
            note: match encoder.backbone {
                BackboneKind::Cifar => {
                    "tensors are named as in torchvision's ResNet, but torchvision has no such network: its blocks \
                     have a ReLU before the addition as well as after it"
                }
                BackboneKind::Resnet => {
                    "torchvision's ResNet (v1.5), without num_batches_tracked, which has no effect, and without fc if \
                     there is no classifier"
                }
                BackboneKind::ResnetCifarStem => {
                    "torchvision's ResNet (v1.5) with a 3x3 convolution of stride 1 as conv1 and without maxpool; without \
                     num_batches_tracked, which has no effect, and without fc if there is no classifier"
                }
                BackboneKind::EfficientnetB0 | BackboneKind::EfficientnetB1 => {
                    "torchvision's EfficientNet, without num_batches_tracked, which has no effect, and without \
                     classifier.1 if there is no classifier"
                }
                BackboneKind::TfEfficientnetB0 | BackboneKind::TfEfficientnetB1 => {
                    "tensors are named as in efficientnet_pytorch and SEED's code, whose padding and batch-norm \
                     constants it has; torchvision's differ"
                }
                BackboneKind::MobilenetV3Large => {
                    "tensors are named as in SEED's code, with 1x1 convolutions in place of linear layers in the \
                     backbone; torchvision has squeeze-excitation after the activation"
                }
            },
        }
    }
}

impl Input {
    /// Describes images like those that the network was trained on.
    pub fn new(image_size: usize, normalisation: Normalisation) -> Self {
        Self {
            name: IMAGES,
            layout: "batch, channel (red, green, blue), row, column",
            values: "float32: (intensity from 0 to 1 - mean) / std",
            image_size,
            preprocessing: Preprocessing {
                resize: evaluation_resize(image_size as u64),
                crop: image_size,
                interpolation: "bilinear",
                antialias: true,
                note: format!("a picture of exactly {image_size} x {image_size} pixels is not resized"),
            },
            normalisation,
        }
    }

    /// Writes Python code that makes `images` of picture files as `evaluate` does.
    fn python(&self) -> Vec<String> {
        let Preprocessing { resize, crop, .. } = self.preprocessing;
        let Normalisation { mean, std } = &self.normalisation;
        vec![
            "import numpy, PIL.Image".into(),
            "def prepare(file):".into(),
            "    image = PIL.Image.open(file).convert('RGB')".into(),
            format!("    if image.size != ({crop}, {crop}):"),
            format!("        size = [side * {resize} // min(image.size) for side in image.size]"),
            "        image = image.resize(size, PIL.Image.Resampling.BILINEAR)".into(),
            format!("    left, top = [round((side - {crop}) / 2) for side in image.size]"),
            format!("    pixels = numpy.asarray(image.crop((left, top, left + {crop}, top + {crop}))) / 255"),
            format!("    return ((pixels - {mean:?}) / {std:?}).transpose(2, 0, 1).astype('float32')"),
            "images = numpy.stack([prepare(file) for file in files])".into(),
        ]
    }
}

impl FileEntry {
    /// Describes the file `name` with these contents.
    pub fn of(name: &str, contents: &[u8]) -> Self {
        Self { name: name.into(), bytes: contents.len(), sha256: HEXLOWER.encode(&Sha256::digest(contents)) }
    }
}

impl Loading {
    /// Writes Python code that prepares `input`, loads the network `name` and computes its outputs.
    pub fn of(encoder: &EncoderConfig, input: &Input, name: &str, has_classifier: bool) -> Self {
        let (output, outputs) =
            if has_classifier { (LOGITS, format!("{FEATURES}, {LOGITS}")) } else { (FEATURES, format!("{FEATURES},")) };
        let torchvision_model = match encoder.backbone {
            BackboneKind::Resnet | BackboneKind::ResnetCifarStem => Some((format!("resnet{}", encoder.depth), "fc")),
            BackboneKind::EfficientnetB0 | BackboneKind::EfficientnetB1 => Some((name_of(encoder), "classifier")),
            BackboneKind::Cifar
            | BackboneKind::TfEfficientnetB0
            | BackboneKind::TfEfficientnetB1
            | BackboneKind::MobilenetV3Large => None,
        };
        let torchvision = torchvision_model.map(|(function, classifier)| {
            let removed = format!("; network.{classifier} = torch.nn.Identity()");
            let removed = if has_classifier { "" } else { &removed };
            let stem = match encoder.backbone {
                BackboneKind::ResnetCifarStem => {
                    "; network.conv1.stride = network.conv1.padding = (1, 1); network.maxpool = torch.nn.Identity()"
                }
                _ => "",
            };
            [
                "import operator, safetensors.torch, torch, torchvision".into(),
                format!("network = torchvision.models.{function}(){removed}{stem}"),
                // Replaces whole tensors, so that torchvision's network gets the sub-network's channels.
                format!(
                    "for name, tensor in safetensors.torch.load_file('{name}.safetensors').items(): \
                     operator.attrgetter(name)(network).data = tensor"
                ),
                format!("{output} = network.eval()(torch.as_tensor({IMAGES}))"),
            ]
        });
        let onnxruntime = [
            "import onnxruntime".into(),
            format!("network = onnxruntime.InferenceSession('{name}.onnx')"),
            format!("{outputs} = network.run(None, {{'{IMAGES}': {IMAGES}}})"),
        ];
        Self { preprocessing: input.python(), torchvision, onnxruntime }
    }
}
