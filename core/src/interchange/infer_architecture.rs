//! Infers a network's architecture from the names and shapes of a file's tensors.
//!
//! Two naming schemes are known. The authors' slimmable networks have the layout's names and norms for each width
//! (`features.0.bn1.bn.0.weight`). Plain networks have torchvision's names (`layer1.0.bn1.weight`). Names and shapes
//! determine the architecture, with two exceptions, in which the common case is assumed: sub-networks' slices are nested,
//! not disjoint, and a plain ResNet's bottlenecks have their stride in the 3x3 convolution (v1.5), not in the first.

mod error;
mod find_network;
mod widths;

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{Device, TensorData};

pub use self::error::InferError;
use self::{
    error::place,
    widths::{multiplier, widths},
};
use super::torchvision::Names;
use crate::{
    encoder::{BackboneKind, Encoder, EncoderConfig, Predictors},
    head::HeadKind,
    layout::{MismatchError, ParameterSpec, Shapes, first_three},
    parameter::Parameters,
};

/// The number of batches a norm has seen, which is not used.
const BATCHES_SEEN: &str = ".num_batches_tracked";
/// What the names of a norm of the full network have in the authors' code.
const SWITCHABLE: &str = ".bn.0.";

const STEM: &str = "conv1.weight";
const EFFICIENTNET_STEM: &str = "features.0.0.weight";
const AUTHORS_BLOCKS: &str = "features.";
const PREDICTOR: &str = "predictor.";

/// The encoder in a state dict.
#[derive(Debug, Clone)]
pub struct Inferred {
    /// Its architecture.
    pub config: EncoderConfig,
    /// Its layers.
    pub encoder: Encoder,
    /// Where it was found and what it is, for people.
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

/// Infers the trained encoder from a state dict's names and shapes.
///
/// # Errors
/// If there is no known network or there are several, or tensors are missing, unknown or of other shapes.
pub fn infer(state_dict: &Shapes) -> Result<Inferred, InferError> {
    let found = find_network::find(state_dict)?;
    let is_used = |name: &str| !name.ends_with(BATCHES_SEEN);
    let names: BTreeMap<String, String> = found.names.into_iter().filter(|(name, _)| is_used(name)).collect();
    let tensors: Shapes = names.iter().map(|(name, in_file)| (name.clone(), state_dict[in_file].clone())).collect();
    let is_slimmable = tensors.keys().any(|name| name.contains(SWITCHABLE));
    let Network { config, encoder, tensors, left_out } =
        if is_slimmable { slimmable(tensors)? } else { plain(&tensors)? };
    let not_used = if left_out.is_empty() { String::new() } else { format!("; not used: {}", first_three(&left_out)) };
    let description = format!("{config} below {}{not_used}", place(&found.prefix));
    let names = tensors.into_iter().map(|(ours, theirs)| (ours, names[&theirs].clone())).collect();
    Ok(Inferred { config, encoder, description, names })
}

/// A network whose tensors are all there.
struct Network {
    config: EncoderConfig,
    encoder: Encoder,
    /// The name of each parameter's tensor, by the parameter's.
    tensors: BTreeMap<String, String>,
    /// Tensors that it does not have.
    left_out: Vec<String>,
}

/// Infers a network of the authors' code.
fn slimmable(tensors: Shapes) -> Result<Network, InferError> {
    let config = slimmable_config(&tensors)?;
    let encoder = config.build()?;
    MismatchError::check(encoder.layout().named_shapes(), &tensors)?;
    let tensors = tensors.into_keys().map(|name| (name.clone(), name)).collect();
    Ok(Network { config, encoder, tensors, left_out: Vec::new() })
}

fn slimmable_config(tensors: &Shapes) -> Result<EncoderConfig, InferError> {
    let (backbone, depth) = backbone(tensors, |name| name.strip_prefix(AUTHORS_BLOCKS)?.split('.').next())?;
    let (head, hidden, outputs) = head(tensors).ok_or(InferError::Head)?;
    let config = EncoderConfig {
        widths: widths(tensors)?,
        hidden,
        predictors: predictors(tensors),
        ..EncoderConfig::new(backbone, depth, head, outputs)
    };
    Ok(EncoderConfig { multiplier: multiplier(&config, tensors), ..config })
}

/// Infers a plain network, with torchvision's names: its backbone, and its head if that is known.
fn plain(tensors: &Shapes) -> Result<Network, InferError> {
    let (backbone, depth) = if tensors.contains_key(EFFICIENTNET_STEM) {
        (BackboneKind::EfficientnetB0, 0)
    } else if tensors.keys().any(|name| name.starts_with(AUTHORS_BLOCKS)) {
        return Err(InferError::NotSlimmable);
    } else {
        backbone(tensors, |name| {
            // Stage and number: 1.0 of layer1.0.conv1.weight.
            let stage = name.strip_prefix("layer")?;
            Some(&stage[..stage.match_indices('.').nth(1)?.0])
        })?
    };
    if backbone == BackboneKind::Cifar {
        return Err(InferError::SmallStem);
    }
    let config = EncoderConfig::new(backbone, depth, HeadKind::None, 1);
    let config = EncoderConfig { multiplier: multiplier(&config, tensors), ..config };
    let encoder = config.build()?;
    let config = EncoderConfig { outputs: encoder.backbone().features().full(), ..config };
    let is_head = |name: &str, shape: &[usize]| shape.len() < 3 && !is_of_backbone(name);
    let of_backbone = tensors.iter().filter(|(name, shape)| !is_head(name, shape));
    let of_backbone = of_backbone.map(|(name, shape)| (name.clone(), shape.clone())).collect();
    MismatchError::check(named(&encoder).map(|(spec, theirs)| (theirs, spec.named_shape())), &of_backbone)
        .map_err(|mismatch| InferError::Resembles { architecture: config.to_string(), mismatch })?;
    let (config, encoder) = with_head(&config, tensors).unwrap_or((config, encoder));
    let names: BTreeMap<String, String> = named(&encoder).map(|(spec, theirs)| (spec.name.clone(), theirs)).collect();
    let used: BTreeSet<&String> = names.values().collect();
    let left_out = tensors.keys().filter(|name| !used.contains(name)).cloned().collect();
    Ok(Network { config, encoder, tensors: names, left_out })
}

/// Returns whether a tensor of this name is in a module of torchvision's backbones, so that it has to be known.
fn is_of_backbone(name: &str) -> bool {
    ["conv1.", "bn1.", "layer", "features."].iter().any(|module| name.starts_with(module))
}

/// Iterates over the parameters of a network of one width, each with its name in torchvision.
fn named(encoder: &Encoder) -> impl Iterator<Item = (&ParameterSpec, String)> {
    let names = Names::of(encoder.layout());
    encoder.layout().iter().map(move |(_, spec)| (spec, names.name(spec)))
}

/// Returns the network with the head that `tensors` have, if it is a known one.
fn with_head(backbone: &EncoderConfig, tensors: &Shapes) -> Option<(EncoderConfig, Encoder)> {
    // The classifier of an EfficientNet has another name than in a layout.
    let in_layout = |name: &String| name.replace("classifier.1.", "fc.");
    let renamed: Shapes = tensors.iter().map(|(name, shape)| (in_layout(name), shape.clone())).collect();
    let (head, hidden, outputs) = head(&renamed)?;
    let config = EncoderConfig { head, hidden, outputs, predictors: predictors(tensors), ..backbone.clone() };
    let encoder = config.build().ok()?;
    let expected: Shapes = named(&encoder).map(|(spec, theirs)| (theirs, spec.named_shape())).collect();
    let is_of_head = |name: &str| ["fc.", "classifier.", PREDICTOR].iter().any(|module| name.starts_with(module));
    let fits = expected.iter().all(|(name, shape)| tensors.get(name) == Some(shape))
        && tensors.keys().all(|name| expected.contains_key(name) || !is_of_head(name));
    fits.then_some((config, encoder))
}

/// Returns kind and depth of a ResNet, in which `block` names the block of a tensor.
fn backbone<'a>(
    tensors: &'a Shapes,
    block: impl Fn(&'a str) -> Option<&'a str>,
) -> Result<(BackboneKind, usize), InferError> {
    let missing = || MismatchError { missing: vec![STEM.into()], ..MismatchError::default() };
    let stem = tensors.get(STEM).ok_or_else(missing)?;
    let kind = match stem[..] {
        [_, 3, 7, 7] => BackboneKind::Resnet,
        [_, 3, 3, 3] => BackboneKind::Cifar,
        _ => return Err(InferError::Stem(stem.clone())),
    };
    let blocks: BTreeSet<&str> = tensors.keys().filter_map(|name| block(name)).collect();
    let layers_per_block = if tensors.keys().any(|name| name.ends_with(".conv3.weight")) { 3 } else { 2 };
    // The stem and the classifier count as layers.
    Ok((kind, blocks.len() * layers_per_block + 2))
}

/// Returns the predictors after the head.
fn predictors(tensors: &Shapes) -> Predictors {
    if tensors.keys().any(|name| name.starts_with(PREDICTOR)) { Predictors::Mocov3 } else { Predictors::None }
}

/// Returns the head's kind, hidden channels and output dimension, inferred from its layers. `None` if they are of
/// another head.
fn head(tensors: &Shapes) -> Option<(HeadKind, usize, usize)> {
    let normed = if tensors.contains_key("fc.0.bias") { HeadKind::Simclr } else { HeadKind::Mocov3 };
    let last_layers = [
        ("fc.weight", HeadKind::Supervised),
        ("fc.linears.0.weight", HeadKind::SupervisedSwitch),
        ("fc.2.weight", HeadKind::Mocov2),
        ("fc.3.weight", normed),
    ];
    let (kind, outputs) =
        last_layers.into_iter().find_map(|(name, kind)| Some((kind, *tensors.get(name)?.first()?)))?;
    let hidden = match kind {
        HeadKind::Mocov3 | HeadKind::Simclr => tensors.get("fc.0.weight").and_then(|shape| shape.first()),
        _ => None,
    };
    Some((kind, hidden.copied().unwrap_or(kind.paper_hidden()), outputs))
}

#[cfg(test)]
mod tests;
