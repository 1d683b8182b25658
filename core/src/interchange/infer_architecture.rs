//! Infers a network's architecture from the names and shapes of a file's tensors.
//!
//! Two naming schemes are known. The authors' slimmable networks have the layout's names and norms for each width
//! (`features.0.bn1.bn.0.weight`). Plain networks have torchvision's names (`layer1.0.bn1.weight`), those of timm and
//! efficientnet_pytorch for an EfficientNet, or those of SEED's MobileNetV3. Names and shapes determine the architecture, with two exceptions, in
//! which the common case is assumed: sub-networks' slices are nested, not disjoint, and a plain ResNet's bottlenecks have
//! their stride in the 3x3 convolution (v1.5), not in the first.

mod error;
mod find_network;
mod head;
mod timm;
mod widths;

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{Device, TensorData};

pub use self::error::InferError;
use self::{
    error::place,
    head::{Sizes, WithHead, predictors, prototypes},
    widths::{multiplier, widths},
};
use super::torchvision::Names;
use crate::{
    encoder::{BackboneKind, Encoder, EncoderConfig},
    head::HeadKind,
    layout::{MismatchError, ParameterSpec, Shapes, first_three},
    parameter::Parameters,
};

/// The number of batches a norm has seen, which is not used.
const BATCHES_SEEN: &str = ".num_batches_tracked";
/// What the names of a norm of the full network have in the authors' code.
const SWITCHABLE: &str = ".bn.0.";

const STEM: &str = "conv1.weight";
const TENSORFLOW_STEM: &str = "_conv_stem.weight";
const MOBILE_STEM: &str = "features.0.0.weight";
const AUTHORS_BLOCKS: &str = "features.";

/// The encoder in a state dict.
#[derive(Debug, Clone)]
pub struct Inferred {
    /// Its architecture.
    pub config: EncoderConfig,
    /// Its layers.
    pub encoder: Encoder,
    /// The names before its layers' names, such as `state_dict.encoder_q`; empty if there are none.
    pub branch: String,
    /// The branches of the file's other networks.
    pub others: Vec<String>,
    /// What was found where, for people.
    pub description: String,
    /// The state dict's name of each parameter of the layout.
    names: BTreeMap<String, String>,
}

impl Inferred {
    /// Returns its parameters on `device`, with the values that `read` returns for the state dict's names.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn parameters<E>(
        &self,
        device: &Device,
        mut read: impl FnMut(&str) -> Result<TensorData, E>,
    ) -> Result<Parameters, E> {
        Parameters::from_named(self.encoder.layout().clone(), device, |name| read(&self.names[name]))
    }
}

/// Infers an encoder from a state dict's names and shapes: that of `branch`, such as `encoder_k`; without a branch, the
/// trained one of an encoder and its averaged copy, or of a student and its teacher.
///
/// # Errors
/// If there is no known network or there are several, or tensors are missing, unknown or of other shapes.
pub fn infer(state_dict: &Shapes, branch: Option<&str>) -> Result<Inferred, InferError> {
    infer_unless_known(state_dict, branch, None)
}

/// Infers a plain network as [`infer`] does, of which the kind of backbone and the depth are known.
///
/// # Errors
/// As [`infer`].
pub fn infer_size(state_dict: &Shapes, backbone: BackboneKind, depth: usize) -> Result<Inferred, InferError> {
    infer_unless_known(state_dict, None, Some((backbone, depth)))
}

fn infer_unless_known(
    state_dict: &Shapes,
    branch: Option<&str>,
    plain_backbone: Option<(BackboneKind, usize)>,
) -> Result<Inferred, InferError> {
    let found = find_network::find(state_dict, branch)?;
    let is_used = |name: &str| !name.ends_with(BATCHES_SEEN);
    let names: BTreeMap<String, String> = found.names.into_iter().filter(|(name, _)| is_used(name)).collect();
    let tensors: Shapes = names.iter().map(|(name, in_file)| (name.clone(), state_dict[in_file].clone())).collect();
    let is_slimmable = tensors.keys().any(|name| name.contains(SWITCHABLE));
    let Network { config, encoder, tensors, head, left_out } =
        if is_slimmable { slimmable(tensors)? } else { plain(tensors, plain_backbone)? };
    let networks = found.others.iter().map(|prefix| format!("the network below {}", place(prefix)));
    let not_used: Vec<String> = networks.chain(left_out).collect();
    let not_used = if not_used.is_empty() { String::new() } else { format!("; not used: {}", first_three(&not_used)) };
    let description = format!("{config} below {}; {head}{not_used}", place(&found.prefix));
    let names = tensors.into_iter().map(|(ours, theirs)| (ours, names[&theirs].clone())).collect();
    let branch = |prefix: &str| prefix.trim_end_matches('.').to_owned();
    let others = found.others.iter().map(|prefix| branch(prefix)).collect();
    Ok(Inferred { config, encoder, branch: branch(&found.prefix), others, description, names })
}

/// A network whose tensors are all there.
struct Network {
    config: EncoderConfig,
    encoder: Encoder,
    /// The name of each parameter's tensor, by the parameter's.
    tensors: BTreeMap<String, String>,
    /// Its head, for people.
    head: String,
    /// Tensors that it does not have.
    left_out: Vec<String>,
}

/// Infers a network of the authors' code.
fn slimmable(tensors: Shapes) -> Result<Network, InferError> {
    let config = slimmable_config(&tensors)?;
    let encoder = config.build()?;
    MismatchError::check(encoder.layout().named_shapes(), &tensors)?;
    let tensors = tensors.into_keys().map(|name| (name.clone(), name)).collect();
    let head = head::describe(&config, encoder.backbone().features().full());
    Ok(Network { config, encoder, tensors, head, left_out: Vec::new() })
}

fn slimmable_config(tensors: &Shapes) -> Result<EncoderConfig, InferError> {
    let (backbone, depth) = resnet(tensors, |name| name.strip_prefix(AUTHORS_BLOCKS)?.split('.').next())?;
    let Sizes { kind, hidden, outputs } = head::sizes(tensors).ok_or(InferError::Head)?;
    let config = EncoderConfig {
        widths: widths(tensors)?,
        hidden,
        predictors: predictors(tensors),
        prototypes: prototypes(tensors),
        ..EncoderConfig::new(backbone, depth, kind, outputs)
    };
    Ok(EncoderConfig { multiplier: multiplier(&config, tensors), ..config })
}

/// Infers a plain network: its backbone, and its head if that is known.
fn plain(tensors: Shapes, backbone: Option<(BackboneKind, usize)>) -> Result<Network, InferError> {
    let (backbone, depth) = backbone.map_or_else(|| plain_backbone(&tensors), Ok)?;
    let tensors = with_convolutions(backbone, tensors);
    let config = EncoderConfig::new(backbone, depth, HeadKind::None, 1);
    let config = EncoderConfig { multiplier: multiplier(&config, &tensors), ..config };
    let encoder = config.build()?;
    let features = encoder.backbone().features().full();
    let config = EncoderConfig { outputs: features, ..config };
    let is_beside = |name: &str, shape: &[usize]| shape.len() < 3 && !is_of_backbone(backbone, name);
    let (beside, of_backbone): (Shapes, Shapes) = tensors
        .iter()
        .map(|(name, shape)| (name.clone(), shape.clone()))
        .partition(|(name, shape)| is_beside(name, shape));
    MismatchError::check(named(&encoder, "").map(|(spec, theirs)| (theirs, spec.named_shape())), &of_backbone)
        .map_err(|mismatch| InferError::Resembles { architecture: config.to_string(), mismatch })?;
    let (module, config, encoder, head) = match head::add(&config, &beside) {
        Ok(Some(WithHead { module, config, encoder })) => {
            let head = head::describe(&config, features);
            (module, config, encoder, head)
        }
        Ok(None) => ("", config, encoder, "no head".into()),
        Err(mismatch) => ("", config, encoder, format!("no known head: {}", mismatch.differences())),
    };
    let names: BTreeMap<String, String> =
        named(&encoder, module).map(|(spec, theirs)| (spec.name.clone(), theirs)).collect();
    let used: BTreeSet<&String> = names.values().collect();
    let left_out = tensors.keys().filter(|name| !used.contains(name)).cloned().collect();
    Ok(Network { config, encoder, tensors: names, head, left_out })
}

/// Returns kind and depth of a plain network's backbone.
fn plain_backbone(tensors: &Shapes) -> Result<(BackboneKind, usize), InferError> {
    let begins = |beginning: &str| tensors.keys().any(|name| name.starts_with(beginning));
    let kind = if tensors.contains_key(TENSORFLOW_STEM) {
        // B0 has 16 blocks.
        if begins("_blocks.16.") { BackboneKind::TfEfficientnetB1 } else { BackboneKind::TfEfficientnetB0 }
    } else if tensors.contains_key(MOBILE_STEM) && begins("features.1.conv.") {
        BackboneKind::MobilenetV3Large
    } else if tensors.contains_key(MOBILE_STEM) {
        // B0's first stage has one block.
        if begins("features.1.1.") { BackboneKind::EfficientnetB1 } else { BackboneKind::EfficientnetB0 }
    } else if begins(AUTHORS_BLOCKS) {
        return Err(InferError::NotSlimmable);
    } else {
        let (kind, depth) = resnet(tensors, |name| {
            // Stage and number: 1.0 of layer1.0.conv1.weight.
            let stage = name.strip_prefix("layer")?;
            Some(&stage[..stage.match_indices('.').nth(1)?.0])
        })?;
        if kind == BackboneKind::Cifar {
            return Err(InferError::ThreeStages);
        }
        return Ok((kind, depth));
    };
    Ok((kind, 0))
}

/// Returns the tensors with a kernel of 1x1 in the linear layers of SEED's MobileNetV3, which are convolutions here.
fn with_convolutions(backbone: BackboneKind, tensors: Shapes) -> Shapes {
    if backbone != BackboneKind::MobilenetV3Large {
        return tensors;
    }
    let with_kernel = |(name, mut shape): (String, Vec<usize>)| {
        if shape.len() == 2 && is_of_backbone(backbone, &name) {
            shape.extend([1, 1]);
        }
        (name, shape)
    };
    tensors.into_iter().map(with_kernel).collect()
}

/// Returns whether a tensor of this name is in a module of a plain backbone, so that it has to be known.
fn is_of_backbone(backbone: BackboneKind, name: &str) -> bool {
    let modules: &[&str] = match backbone {
        BackboneKind::TfEfficientnetB0 | BackboneKind::TfEfficientnetB1 => &["_conv", "_bn", "_blocks."],
        BackboneKind::MobilenetV3Large => &["features.", "conv.", "classifier.0."],
        _ => &["conv1.", "bn1.", "layer", "features."],
    };
    modules.iter().any(|module| name.starts_with(module))
}

/// Iterates over the parameters of a network of one width, each with its name in a plain one, where `module` is the
/// beginning of the names in the head.
fn named<'a>(encoder: &'a Encoder, module: &'static str) -> impl Iterator<Item = (&'a ParameterSpec, String)> {
    let names = Names::of(encoder.layout()).with_head(module.trim_end_matches('.'));
    encoder.layout().iter().map(move |(_, spec)| (spec, names.name(spec)))
}

/// Returns kind and depth of a ResNet, in which `block` names the block of a tensor.
fn resnet<'a>(
    tensors: &'a Shapes,
    block: impl Fn(&'a str) -> Option<&'a str>,
) -> Result<(BackboneKind, usize), InferError> {
    let missing = || MismatchError { missing: vec![STEM.into()], ..MismatchError::default() };
    let stem = tensors.get(STEM).ok_or_else(missing)?;
    let blocks: BTreeSet<&str> = tensors.keys().filter_map(|name| block(name)).collect();
    let has_bottlenecks = tensors.keys().any(|name| name.ends_with(".conv3.weight"));
    let layers_per_block = if has_bottlenecks { 3 } else { 2 };
    // The stem and the classifier count as layers.
    let depth = blocks.len() * layers_per_block + 2;
    // The authors number the blocks without stages; no network of three stages has these depths.
    let has_four_stages = || tensors.keys().any(|name| name.starts_with("layer4.")) || matches!(depth, 18 | 34);
    let kind = match stem[..] {
        [_, 3, 7, 7] => BackboneKind::Resnet,
        [_, 3, 3, 3] if has_bottlenecks || has_four_stages() => BackboneKind::ResnetCifarStem,
        [_, 3, 3, 3] => BackboneKind::Cifar,
        _ => return Err(InferError::Stem(stem.clone())),
    };
    Ok((kind, depth))
}

#[cfg(test)]
mod tests;
