//! Finds a network among a file's tensors: the names before which its layers' names begin.
//!
//! Programs save a network's tensors under keys (`state_dict`, `model`, `student`) and with prefixes
//! (`module.encoder_q.`, `backbone.`) of their own. So none of these is looked for: the network begins wherever the
//! first layers of a known architecture are.

use std::collections::{BTreeMap, BTreeSet};

use super::InferError;
use crate::layout::{Shapes, first_three};

/// Parts that wrappers of modules add to names, at the beginning or between: `DistributedDataParallel`, `compile`,
/// `FullyShardedDataParallel` and `checkpoint_wrapper`. No layer is called so.
const WRAPPERS: [&str; 4] = ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

/// First layers of the known architectures: a weight, and the beginnings of names of which one must be there too.
const FIRST_LAYERS: [(&str, &[&str]); 3] = [
    // A ResNet; `features` are its blocks in the authors' code.
    ("conv1.weight", &["layer1.", "features."]),
    // EfficientNet-B0.
    ("features.0.0.weight", &["features.1.0.block."]),
    // A ResNet whose modules are in an `nn.Sequential`, without its last: `Sequential(*list(resnet.children())[:-1])`.
    ("0.weight", &["4.0.conv1."]),
];

/// The modules of a ResNet by their place in such a `Sequential`. Those between them have no tensors.
const CHILDREN: [(&str, &str); 6] =
    [("0.", "conv1."), ("1.", "bn1."), ("4.", "layer1."), ("5.", "layer2."), ("6.", "layer3."), ("7.", "layer4.")];

/// Names of averaged copies of a trained encoder, and of the encoder, which methods save both.
const COPIES: [[&str; 2]; 5] = [
    ["encoder_k", "encoder_q"],
    ["momentum_encoder", "base_encoder"],
    ["target", "online"],
    ["momentum_", ""],
    ["_momentum", ""],
];

/// The prefix of MoCo v3's trained encoder, beside whose parent its predictor is.
const BASE_ENCODER: &str = "base_encoder.";
const PREDICTOR: &str = "predictor.";

/// The tensors of a network among those of a file.
#[derive(Debug)]
pub struct Found {
    /// What comes before its names in the file, without wrappers: empty, or with a dot at its end.
    pub prefix: String,
    /// The file's name of each tensor, by its name in the network.
    pub names: BTreeMap<String, String>,
}

/// Finds the network among tensors with the names and shapes of a state dict. Of an encoder and its averaged copy it is
/// the encoder.
///
/// # Errors
/// If there is none, or there are several.
pub fn find(state_dict: &Shapes) -> Result<Found, InferError> {
    let mut names: BTreeMap<String, &String> = BTreeMap::new();
    for name in state_dict.keys() {
        if let Some(other) = names.insert(without_wrappers(name), name) {
            return Err(InferError::Twice([other, name].map(String::clone)));
        }
    }
    let prefixes = prefixes(&names);
    let trained: Vec<&str> = prefixes.iter().filter(|prefix| !is_copy(prefix, &prefixes)).map(String::as_str).collect();
    let [prefix] = trained[..] else {
        return Err(match &trained[..] {
            [] => InferError::NoNetwork(describe(state_dict)),
            several => InferError::Several(several.iter().map(|prefix| (*prefix).to_owned()).collect()),
        });
    };
    let predictor = prefix.strip_suffix(BASE_ENCODER).map(|parent| format!("{parent}{PREDICTOR}"));
    let in_network = |name: &str| match (&predictor, name.strip_prefix(prefix)) {
        (_, Some(name)) => Some(name.to_owned()),
        (Some(predictor), None) => Some(format!("{PREDICTOR}{}", name.strip_prefix(predictor)?)),
        (None, None) => None,
    };
    let are_children = names.contains_key(&format!("{prefix}{}", FIRST_LAYERS[2].0));
    let named = |name: String| if are_children { child_by_name(&name) } else { name };
    let in_file = names.iter().filter_map(|(name, in_file)| Some((named(in_network(name)?), (*in_file).clone())));
    Ok(Found { prefix: prefix.into(), names: in_file.collect() })
}

/// Returns a name without the parts that wrappers add.
fn without_wrappers(name: &str) -> String {
    name.split('.').filter(|part| !WRAPPERS.contains(part)).collect::<Vec<_>>().join(".")
}

/// Returns what comes before the names of each network.
fn prefixes(names: &BTreeMap<String, &String>) -> BTreeSet<String> {
    let begins = |beginning: String| {
        names.range(beginning.clone()..).next().is_some_and(|(name, _)| name.starts_with(&beginning))
    };
    let first_layer = |name: &String| {
        FIRST_LAYERS.iter().find_map(|(weight, beside)| {
            let prefix = name.strip_suffix(weight).filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))?;
            beside.iter().any(|other| begins(format!("{prefix}{other}"))).then(|| prefix.to_owned())
        })
    };
    names.keys().filter_map(first_layer).collect()
}

/// Returns whether `prefix` is that of an averaged copy of a network at another of `prefixes`.
fn is_copy(prefix: &str, prefixes: &BTreeSet<String>) -> bool {
    COPIES.iter().any(|[copy, trained]| prefix.contains(copy) && prefixes.contains(&prefix.replace(copy, trained)))
}

/// Names a child of a `Sequential` as in its ResNet.
fn child_by_name(name: &str) -> String {
    let child = CHILDREN.iter().find_map(|(place, child)| Some(format!("{child}{}", name.strip_prefix(place)?)));
    child.unwrap_or_else(|| name.to_owned())
}

/// Describes tensors by their number and some names: those of weights, if there are any.
fn describe(state_dict: &Shapes) -> String {
    let weights: Vec<&String> = state_dict.iter().filter(|(_, shape)| shape.len() > 1).map(|(name, _)| name).collect();
    let names = if weights.is_empty() { state_dict.keys().collect() } else { weights };
    let names = if names.is_empty() { String::new() } else { format!(" ({})", first_three(&names)) };
    format!("{} tensors{names}", state_dict.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns tensors of these names.
    fn shapes<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Shapes {
        names.into_iter().map(|name| (name.into(), vec![1; 4])).collect()
    }

    fn resnet(prefix: &str) -> Shapes {
        shapes(["conv1.weight", "bn1.weight", "layer1.0.conv1.weight"].map(|name| format!("{prefix}{name}")))
    }

    #[test]
    fn a_network_is_found_behind_any_prefix() {
        for prefix in [
            "",
            "module.",
            "module.module.",
            "_orig_mod.module.",
            "module._orig_mod.",
            "state_dict.model.",
            "model_state_dict.",
            "net.",
            "student.module.backbone.",
            "classy_state_dict.base_model.model.trunk._feature_blocks.",
            "something.nobody.thought.of.",
        ] {
            let found = find(&resnet(prefix)).unwrap();
            assert_eq!(found.names["layer1.0.conv1.weight"], format!("{prefix}layer1.0.conv1.weight"));
            assert_eq!(found.names.len(), 3, "{prefix}");
            assert!(!found.prefix.contains("module") && !found.prefix.contains("_orig_mod"), "{}", found.prefix);
        }
        // Between the parts of a name too.
        let compiled = shapes(["conv1.weight", "layer1._orig_mod.0.conv1.weight"]);
        assert_eq!(find(&compiled).unwrap().names["layer1.0.conv1.weight"], "layer1._orig_mod.0.conv1.weight");
    }

    #[test]
    fn the_children_of_a_resnet_get_their_names() {
        let tensors = shapes(["net.0.weight", "net.1.running_mean", "net.4.0.conv1.weight", "net.7.1.bn2.bias"]);
        let names: Vec<String> = find(&tensors).unwrap().names.into_keys().collect();
        assert_eq!(names, ["bn1.running_mean", "conv1.weight", "layer1.0.conv1.weight", "layer4.1.bn2.bias"]);
    }

    #[test]
    fn of_an_encoder_and_its_averaged_copy_the_encoder_is_found() {
        for [trained, copy] in [
            ["module.encoder_q.", "module.encoder_k."],
            ["base_encoder.", "momentum_encoder."],
            ["online_network.net.", "target_network.net."],
            ["backbone.", "backbone_momentum."],
            ["model.backbone.", "model.momentum_backbone."],
        ] {
            let both = resnet(trained).into_iter().chain(resnet(copy)).collect();
            assert!(find(&both).unwrap().names.values().all(|name| name.starts_with(trained)), "{trained}");
            assert!(find(&resnet(copy)).is_ok(), "{copy} alone");
        }
        let with_predictor = resnet("module.base_encoder.").into_iter().chain(shapes(["module.predictor.0.weight"]));
        assert_eq!(find(&with_predictor.collect()).unwrap().names["predictor.0.weight"], "module.predictor.0.weight");
    }

    #[test]
    fn several_networks_and_none_are_refused() {
        let refused = |tensors: Shapes| find(&tensors).unwrap_err().to_string();
        let both = |a, b| resnet(a).into_iter().chain(resnet(b)).collect();
        let error = refused(both("student.", "teacher."));
        assert!(error.starts_with("it holds several networks, below student and teacher: "), "{error}");
        let error = refused(both("", "ema."));
        assert!(error.starts_with("it holds several networks, below its root and ema: "), "{error}");
        let error = refused(both("", "module."));
        assert!(error.starts_with("it holds both bn1.weight and module.bn1.weight: "), "{error}");
        let transformer = shapes(["model.cls_token", "model.blocks.0.attn.qkv.weight"]);
        let error = refused(transformer);
        assert!(error.contains("among its 2 tensors (model.blocks.0.attn.qkv.weight, model.cls_token)"), "{error}");
    }
}
