//! Infers the layers after a backbone: head, predictors and prototypes.

use std::collections::BTreeSet;

use super::named;
use crate::{
    encoder::{Encoder, EncoderConfig, Predictors},
    head::HeadKind,
    layout::{MismatchError, Shapes},
};

/// Beginnings of the names of a head's tensors in plain networks, `fc.` in a layout: most programs', that of
/// efficientnet_pytorch, SwAV's, and of torchvision's and timm's EfficientNets.
const MODULES: [&str; 5] = ["fc.", "_fc.", "projection_head.", "classifier.1.", "classifier."];
/// Beginning of the names in a layout.
const HEAD: &str = "fc.";
const MOCOV3_PREDICTOR: &str = "predictor.";
const SIMDIS_PREDICTORS: &str = "pred_";
const PROTOTYPES: &str = "prototypes.weight";

/// The kind of a head and its sizes.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub kind: HeadKind,
    pub hidden: usize,
    pub outputs: usize,
}

/// Returns the kind of a head and its sizes, inferred from its tensors, which have a layout's names. `None` if they are of
/// another head.
pub fn sizes(tensors: &Shapes) -> Option<Sizes> {
    let outputs_of = |layer: &str| tensors.get(&format!("{layer}.weight"))?.first().copied();
    let has_bias = |layer: &str| tensors.contains_key(&format!("{layer}.bias"));
    let (kind, outputs) = if let Some(outputs) = outputs_of("fc") {
        (HeadKind::Supervised, outputs)
    } else if let Some(outputs) = outputs_of("fc.linears.0") {
        (HeadKind::SupervisedSwitch, outputs)
    } else if let Some(outputs) = outputs_of("fc.2") {
        let is_square = tensors.get("fc.0.weight").is_some_and(|shape| shape.first() == shape.get(1));
        (if is_square { HeadKind::Mocov2 } else { HeadKind::Disco }, outputs)
    } else {
        let kind = match ["fc.0", "fc.3"].map(has_bias) {
            [_, true] => HeadKind::Swav,
            [true, false] => HeadKind::Simclr,
            [false, false] => HeadKind::Mocov3,
        };
        (kind, outputs_of("fc.3")?)
    };
    let hidden = match kind {
        HeadKind::Mocov3 | HeadKind::Simclr | HeadKind::Disco | HeadKind::Swav => outputs_of("fc.0"),
        _ => None,
    };
    Some(Sizes { kind, hidden: hidden.unwrap_or(kind.paper_hidden()), outputs })
}

/// Returns the predictors after the head.
pub fn predictors(tensors: &Shapes) -> Predictors {
    if tensors.keys().any(|name| name.starts_with(MOCOV3_PREDICTOR)) {
        return Predictors::Mocov3;
    }
    let view = |name: &str| Some(name.strip_prefix(SIMDIS_PREDICTORS)?.split_once('.')?.0.to_owned());
    let views: BTreeSet<String> = tensors.keys().filter_map(|name| view(name)).collect();
    if views.is_empty() { Predictors::None } else { Predictors::Simdis(views.into_iter().collect()) }
}

/// Returns the number of SwAV's prototypes.
pub fn prototypes(tensors: &Shapes) -> usize {
    tensors.get(PROTOTYPES).and_then(|shape| shape.first()).copied().unwrap_or(0)
}

/// A plain network with its head.
pub struct WithHead {
    /// The beginning of the names of the head's tensors in the file.
    pub module: &'static str,
    pub config: EncoderConfig,
    pub encoder: Encoder,
}

/// Adds to a plain backbone the head in `beside`, the tensors that are not the backbone's, with predictors and prototypes
/// if these fit too. `None` if there is no head.
///
/// # Errors
/// If there is a head, but it is none that is known.
pub fn add(backbone: &EncoderConfig, beside: &Shapes) -> Result<Option<WithHead>, MismatchError> {
    let is_there = |module: &&str| beside.keys().any(|name| name.starts_with(*module));
    let Some(module) = MODULES.into_iter().find(is_there) else { return Ok(None) };
    let in_layout = |name: &str| match name.strip_prefix(module) {
        Some(rest) => format!("{HEAD}{rest}"),
        None => name.to_owned(),
    };
    let renamed: Shapes = beside.iter().map(|(name, shape)| (in_layout(name), shape.clone())).collect();
    let unknown = || {
        let extra = beside.keys().filter(|name| name.starts_with(module)).cloned().collect();
        MismatchError { extra, ..MismatchError::default() }
    };
    let Sizes { kind, hidden, outputs } = sizes(&renamed).ok_or_else(unknown)?;
    let alone = EncoderConfig { head: kind, hidden, outputs, ..backbone.clone() };
    let complete =
        EncoderConfig { predictors: predictors(&renamed), prototypes: prototypes(&renamed), ..alone.clone() };
    let checked = |config: EncoderConfig| {
        let encoder = config.build().map_err(|_| unknown())?;
        let of_head = named(&encoder, module).filter(|(spec, _)| spec.is_of_head());
        let expected: Shapes = of_head.map(|(spec, name)| (name, spec.named_shape())).collect();
        let found = beside.iter().filter(|(name, _)| name.starts_with(module) || expected.contains_key(*name));
        let found = found.map(|(name, shape)| (name.clone(), shape.clone())).collect();
        MismatchError::check(expected, &found)?;
        Ok(WithHead { module, config, encoder })
    };
    checked(complete).or_else(|_| checked(alone)).map(Some)
}

/// Describes the head of a network with this number of `features`: the channels before and after its layers.
pub fn describe(config: &EncoderConfig, features: usize) -> String {
    let EncoderConfig { head, hidden, outputs, .. } = config;
    let mut parts = vec![match head {
        HeadKind::None => return "no head".into(),
        HeadKind::Supervised | HeadKind::SupervisedSwitch => format!("head {features}-{outputs}"),
        HeadKind::Mocov2 => format!("head {features}-{features}-{outputs}"),
        HeadKind::Disco => format!("head {features}-{hidden}-{outputs}"),
        HeadKind::Mocov3 | HeadKind::Simclr | HeadKind::Swav => {
            format!("head {features}-{hidden}-{outputs} with batch norm")
        }
    }];
    match &config.predictors {
        Predictors::None => {}
        Predictors::Mocov3 => parts.push("a predictor".into()),
        Predictors::Simdis(views) => parts.push(format!("predictors {}", views.join(", "))),
    }
    if config.prototypes > 0 {
        parts.push(format!("{} prototypes", config.prototypes));
    }
    parts.join(", ")
}
