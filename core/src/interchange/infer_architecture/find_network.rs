//! Finds a network among a file's tensors: the prefix of its layers' names.
//!
//! Each program saves a network's tensors under other keys (`state_dict`, `model`, `student`) and prefixes
//! (`module.encoder_q.`, `backbone.`). So no list of these is used: the network starts wherever the first layers of a
//! known architecture are.

use std::collections::{BTreeMap, BTreeSet};

use super::{InferError, timm};
use crate::layout::{Shapes, first_three};

/// Parts that wrappers of modules add to names, at the beginning or between: `DistributedDataParallel`, `compile`,
/// `FullyShardedDataParallel` and `checkpoint_wrapper`. No layer is called so.
const WRAPPERS: [&str; 4] = ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

/// First layers of the known architectures: a weight, and the beginnings of names of which one must be there too.
const FIRST_LAYERS: [(&str, &[&str]); 5] = [
    // A ResNet; `features` are its blocks in the authors' code.
    ("conv1.weight", &["layer1.", "features."]),
    // torchvision's EfficientNet; SEED's MobileNetV3.
    ("features.0.0.weight", &["features.1.0.block.", "features.1.conv."]),
    // efficientnet_pytorch's EfficientNet.
    ("_conv_stem.weight", &["_blocks.0."]),
    (TIMM_STEM, &["blocks.0.0.conv_dw."]),
    // A ResNet whose modules are in an `nn.Sequential`, without its last: `Sequential(*list(resnet.children())[:-1])`.
    (FIRST_CHILD, &["4.0.conv1."]),
];
/// The first layer of timm's EfficientNet.
const TIMM_STEM: &str = "conv_stem.weight";
/// The first layer of a ResNet in an `nn.Sequential`.
const FIRST_CHILD: &str = "0.weight";

/// The modules of a ResNet by their place in such a `Sequential`. Those between them have no tensors.
const CHILDREN: [(&str, &str); 6] =
    [("0.", "conv1."), ("1.", "bn1."), ("4.", "layer1."), ("5.", "layer2."), ("6.", "layer3."), ("7.", "layer4.")];

/// Names of other networks that methods save beside the one they train, and of that one: averaged copies of it, and the
/// teachers of SEED, DisCo and SimDis.
const BESIDE: [[&str; 2]; 8] = [
    ["encoder_k", "encoder_q"],
    ["momentum_encoder", "base_encoder"],
    ["target", "online"],
    ["momentum_", ""],
    ["_momentum", ""],
    ["_ema", ""],
    ["teacher_", ""],
    ["teacher", "student"],
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
    /// The prefixes of the file's other networks.
    pub others: Vec<String>,
}

/// Finds the network among tensors with the names and shapes of a state dict: the one below `branch`, the last of the
/// names before its layers' (`encoder_k`) or several of them (`model.student_ema`); without a branch, the trained one
/// of an encoder and its averaged copy, or of a student and its teacher.
///
/// # Errors
/// If there is none, or there are several.
pub fn find(state_dict: &Shapes, branch: Option<&str>) -> Result<Found, InferError> {
    let mut names: BTreeMap<String, &String> = BTreeMap::new();
    for name in state_dict.keys() {
        if let Some(other) = names.insert(without_wrappers(name), name) {
            return Err(InferError::Twice([other, name].map(String::clone)));
        }
    }
    let prefixes = prefixes(&names);
    let is_wanted = |prefix: &str| match branch {
        Some(branch) => is_branch(prefix, &without_wrappers(branch)),
        None => !is_beside(prefix, &prefixes),
    };
    let wanted: Vec<&str> = prefixes.iter().map(String::as_str).filter(|prefix| is_wanted(prefix)).collect();
    let [prefix] = wanted[..] else {
        return Err(match (&wanted[..], branch) {
            _ if prefixes.is_empty() => InferError::NoNetwork(describe(state_dict)),
            ([], Some(branch)) => InferError::NoBranch(branch.into(), prefixes.into_iter().collect()),
            (several, _) => InferError::Several(several.iter().map(|prefix| (*prefix).to_owned()).collect()),
        });
    };
    let others = prefixes.iter().filter(|other| *other != prefix).cloned().collect();
    let predictor = prefix.strip_suffix(BASE_ENCODER).map(|parent| format!("{parent}{PREDICTOR}"));
    let in_network = |name: &str| match (&predictor, name.strip_prefix(prefix)) {
        (_, Some(name)) => Some(name.to_owned()),
        (Some(predictor), None) => Some(format!("{PREDICTOR}{}", name.strip_prefix(predictor)?)),
        (None, None) => None,
    };
    let begins_with = |first_layer: &str| names.contains_key(&format!("{prefix}{first_layer}"));
    let rename: fn(&str) -> String = if begins_with(FIRST_CHILD) {
        child_by_name
    } else if begins_with(TIMM_STEM) {
        timm::torchvision_name
    } else {
        str::to_owned
    };
    let in_file = names.iter().filter_map(|(name, in_file)| Some((rename(&in_network(name)?), (*in_file).clone())));
    Ok(Found { prefix: prefix.into(), names: in_file.collect(), others })
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

/// Returns whether `prefix` is that of an averaged copy or the teacher of a network at another of `prefixes`.
fn is_beside(prefix: &str, prefixes: &BTreeSet<String>) -> bool {
    BESIDE.iter().any(|[other, trained]| prefix.contains(other) && prefixes.contains(&prefix.replace(other, trained)))
}

/// Returns whether a user who writes `branch` means `prefix`.
fn is_branch(prefix: &str, branch: &str) -> bool {
    let place = prefix.trim_end_matches('.');
    place.strip_suffix(branch).is_some_and(|before| before.is_empty() || before.ends_with('.'))
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
            let found = find(&resnet(prefix), None).unwrap();
            assert_eq!(found.names["layer1.0.conv1.weight"], format!("{prefix}layer1.0.conv1.weight"));
            assert_eq!(found.names.len(), 3, "{prefix}");
            assert!(!found.prefix.contains("module") && !found.prefix.contains("_orig_mod"), "{}", found.prefix);
        }
        // Between the parts of a name too.
        let compiled = shapes(["conv1.weight", "layer1._orig_mod.0.conv1.weight"]);
        assert_eq!(find(&compiled, None).unwrap().names["layer1.0.conv1.weight"], "layer1._orig_mod.0.conv1.weight");
    }

    #[test]
    fn the_children_of_a_resnet_get_their_names() {
        let tensors = shapes(["net.0.weight", "net.1.running_mean", "net.4.0.conv1.weight", "net.7.1.bn2.bias"]);
        let names: Vec<String> = find(&tensors, None).unwrap().names.into_keys().collect();
        assert_eq!(names, ["bn1.running_mean", "conv1.weight", "layer1.0.conv1.weight", "layer4.1.bn2.bias"]);
    }

    #[test]
    fn of_several_networks_the_trained_one_is_found() {
        for [trained, other] in [
            ["module.encoder_q.", "module.encoder_k."],
            ["base_encoder.", "momentum_encoder."],
            ["online_network.net.", "target_network.net."],
            ["backbone.", "backbone_momentum."],
            ["model.backbone.", "model.momentum_backbone."],
            ["state_dict.module.student.", "state_dict.module.teacher."],
            ["module.encoder_q.", "module.teacher_encoder_q."],
            ["module.student.", "module.student_ema."],
        ] {
            let both = resnet(trained).into_iter().chain(resnet(other)).collect();
            let found = find(&both, None).unwrap();
            assert!(found.names.values().all(|name| name.starts_with(trained)), "{trained}");
            assert_eq!(found.others, [other.replace("module.", "")]);
            assert!(find(&resnet(other), None).is_ok(), "{other} alone");
        }
        let disco = ["encoder_q.", "encoder_k.", "teacher_encoder_q.", "teacher_encoder_k."];
        let simdis = ["student.", "student_ema.", "teacher.", "teacher_ema."];
        for networks in [disco, simdis] {
            let all: Shapes = networks.iter().flat_map(|name| resnet(&format!("model.{name}"))).collect();
            assert_eq!(find(&all, None).unwrap().prefix, format!("model.{}", networks[0]));
            for name in networks {
                for branch in [name.trim_end_matches('.'), &format!("model.{}", name.trim_end_matches('.'))] {
                    assert_eq!(find(&all, Some(branch)).unwrap().prefix, format!("model.{name}"));
                }
            }
        }
        let with_predictor = resnet("module.base_encoder.").into_iter().chain(shapes(["module.predictor.0.weight"]));
        assert_eq!(
            find(&with_predictor.collect(), None).unwrap().names["predictor.0.weight"],
            "module.predictor.0.weight"
        );
    }

    #[test]
    fn several_networks_and_none_are_refused() {
        let refused = |tensors: Shapes| find(&tensors, None).unwrap_err().to_string();
        let both = |a, b| resnet(a).into_iter().chain(resnet(b)).collect();
        let error = refused(both("net_a.", "net_b."));
        assert!(error.starts_with("it holds several networks, below net_a and net_b: "), "{error}");
        let error = refused(both("", "ema."));
        assert!(error.starts_with("it holds several networks, below its root and ema: "), "{error}");
        let error = refused(both("", "module."));
        assert!(error.starts_with("it holds both bn1.weight and module.bn1.weight: "), "{error}");
        let error = find(&both("student.", "teacher."), Some("encoder_q")).unwrap_err().to_string();
        assert_eq!(error, "it holds no network below encoder_q: choose from student and teacher");
        let transformer = shapes(["model.cls_token", "model.blocks.0.attn.qkv.weight"]);
        let error = refused(transformer);
        assert!(error.contains("among its 2 tensors (model.blocks.0.attn.qkv.weight, model.cls_token)"), "{error}");
    }
}
