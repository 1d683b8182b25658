//! Infers a network's architecture from the names and shapes in a state dict of the authors' PyTorch code.
//!
//! Below the method's prefix, these names are the layout's, so nothing is renamed. Names and shapes determine the
//! architecture, with one exception: whether sub-networks' slices are nested or disjoint. Nested is assumed.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{Device, TensorData};
use thiserror::Error;

use crate::{
    backbone::{cifar, resnet},
    encoder::{BackboneKind, BuildError, Encoder, EncoderConfig},
    head::HeadKind,
    layout::{MismatchError, Shapes},
    parameter::Parameters,
    width::{Channels, WidthError, Widths},
};

/// The prefix that PyTorch's `DistributedDataParallel` adds to every name.
const WRAPPER: &str = "module.";

/// The prefix of the trained encoder, and the prefixes of what is not part of it: the momentum encoder and the queue.
/// For MoCo v2 and SimCLR, MoCo v3, and supervised training.
const METHODS: [(&str, &[&str]); 3] =
    [("encoder_q.", &["encoder_k.", "queue"]), ("base_encoder.", &["momentum_encoder."]), ("", &[])];

/// The number of batches a norm has seen, which is not used.
const BATCHES_SEEN: &str = ".num_batches_tracked";

const STEM: &str = "conv1.weight";
const PREDICTOR: &str = "predictor.";

/// Most decimals of a width that are tried. Five distinguish any two widths of layers of up to 100,000 channels.
const DIGITS: i32 = 6;

/// Why no network can be inferred from a state dict.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum InferError {
    /// The first layer is missing.
    #[error(
        "it does not hold a network of the authors' code: {STEM} is missing, with or without the prefix of a method"
    )]
    NoStem,
    /// The first layer is of another architecture.
    #[error("{STEM} has shape {0:?}, but the supported stems have 3 input channels and kernels of 7x7 or 3x3")]
    Stem(Vec<usize>),
    /// Its batch norms are not switchable.
    #[error("the network is not slimmable: it has no norm for each width, such as bn1.bn.0")]
    NotSlimmable,
    /// Two norms of one width keep different fractions of their channels.
    #[error("no width fits all norms bn.{index}: {}, but {}", .norms[0], .norms[1])]
    Contradiction {
        /// Index of the width.
        index: usize,
        /// The norms, with their channels and those at full width.
        norms: [String; 2],
    },
    /// The layers after the backbone are of another architecture.
    #[error("the layers fc are not those of a supported head")]
    Head,
    /// The widths are not allowed.
    #[error(transparent)]
    Width(#[from] WidthError),
    /// The network cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Other tensors do not fit the inferred network.
    #[error(transparent)]
    Mismatch(#[from] MismatchError),
}

/// The encoder in a state dict.
#[derive(Debug, Clone)]
pub struct Inferred {
    /// Its architecture.
    pub config: EncoderConfig,
    /// Its layers.
    pub encoder: Encoder,
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
/// If there is no slimmable encoder, or tensors are missing, unknown or of other shapes.
pub fn infer(state_dict: &Shapes) -> Result<Inferred, InferError> {
    let names = encoder_names(state_dict)?;
    let tensors = names.iter().map(|(ours, theirs)| (ours.clone(), state_dict[theirs].clone())).collect();
    let config = encoder_config(&tensors)?;
    let encoder = config.build()?;
    MismatchError::check(encoder.layout().named_shapes(), &tensors)?;
    Ok(Inferred { config, encoder, names })
}

/// Returns the names of the encoder's tensors: those of the layout, each with the state dict's.
fn encoder_names(state_dict: &Shapes) -> Result<BTreeMap<String, String>, InferError> {
    let unwrapped: BTreeMap<&str, &String> =
        state_dict.keys().map(|name| (name.strip_prefix(WRAPPER).unwrap_or(name), name)).collect();
    let (prefix, beside) = METHODS
        .into_iter()
        .find(|(prefix, _)| unwrapped.contains_key(format!("{prefix}{STEM}").as_str()))
        .ok_or(InferError::NoStem)?;
    Ok(unwrapped
        .into_iter()
        .filter(|(name, _)| !name.ends_with(BATCHES_SEEN) && !beside.iter().any(|other| name.starts_with(other)))
        // MoCo v3's predictor is beside the encoder; in the layout it is part of the encoder, with the same name.
        .map(|(name, theirs)| (name.strip_prefix(prefix).unwrap_or(name).to_owned(), theirs.clone()))
        .collect())
}

fn encoder_config(tensors: &Shapes) -> Result<EncoderConfig, InferError> {
    let stem = &tensors[STEM];
    let (backbone, multiplier) = match stem[..] {
        [channels, 3, 7, 7] => (BackboneKind::Resnet, channels as f64 / resnet::BASE as f64),
        [channels, 3, 3, 3] => (BackboneKind::Cifar, channels as f64 / cifar::BASE as f64),
        _ => return Err(InferError::Stem(stem.clone())),
    };
    let layers_per_block = if tensors.keys().any(|name| name.ends_with(".conv3.weight")) { 3 } else { 2 };
    let (head, outputs) = head(tensors)?;
    let hidden = match head {
        HeadKind::Mocov3 | HeadKind::Simclr => tensors.get("fc.0.weight").and_then(|shape| shape.first()),
        HeadKind::Mocov2 | HeadKind::Supervised | HeadKind::SupervisedSwitch => None,
    };
    Ok(EncoderConfig {
        backbone,
        // The stem and the classifier count as layers.
        depth: count_numbered(tensors, "features.") * layers_per_block + 2,
        multiplier,
        widths: widths(tensors)?,
        head,
        hidden: hidden.copied().unwrap_or(head.paper_hidden()),
        predictor: tensors.keys().any(|name| name.starts_with(PREDICTOR)),
        outputs,
    })
}

/// Counts the different numbers that follow `part` in the names.
fn count_numbered(tensors: &Shapes, part: &str) -> usize {
    let numbers = tensors.keys().filter_map(|name| name.split_once(part)?.1.split('.').next());
    numbers.collect::<BTreeSet<_>>().len()
}

/// Returns the head's kind and output dimension, inferred from the last layer.
fn head(tensors: &Shapes) -> Result<(HeadKind, usize), InferError> {
    let normed = if tensors.contains_key("fc.0.bias") { HeadKind::Simclr } else { HeadKind::Mocov3 };
    let last_layers = [
        ("fc.weight", HeadKind::Supervised),
        ("fc.linears.0.weight", HeadKind::SupervisedSwitch),
        ("fc.2.weight", HeadKind::Mocov2),
        ("fc.3.weight", normed),
    ];
    let found = last_layers.into_iter().find_map(|(name, kind)| Some((kind, *tensors.get(name)?.first()?)));
    found.ok_or(InferError::Head)
}

fn widths(tensors: &Shapes) -> Result<Widths, InferError> {
    let count = count_numbered(tensors, ".bn.");
    if count == 0 {
        return Err(InferError::NotSlimmable);
    }
    let narrower = (1..count).map(|index| width(tensors, index));
    let widths = [Ok(1.0)].into_iter().chain(narrower).collect::<Result<Vec<_>, _>>()?;
    Ok(Widths::try_from(widths)?)
}

/// A norm at one of the widths.
struct Norm<'a> {
    name: &'a str,
    channels: usize,
    full: usize,
}

impl Norm<'_> {
    /// Returns `channels` as a fraction of those at full width.
    fn fraction(&self, channels: usize) -> f64 {
        channels as f64 / self.full as f64
    }

    fn describe(&self) -> String {
        format!("{} has {} of {} channels", self.name, self.channels, self.full)
    }
}

/// Returns the width at `index`: of the widths that give all its norms their channels, the one with the fewest decimals,
/// and the lowest of these.
fn width(tensors: &Shapes, index: usize) -> Result<f64, InferError> {
    let norms: Vec<Norm> = tensors
        .iter()
        .filter_map(|(tensor, shape)| {
            let name = tensor.strip_suffix(".bn.0.running_mean")?;
            let narrow = tensors.get(&format!("{name}.bn.{index}.running_mean"))?;
            Some(Norm { name, channels: *narrow.first()?, full: *shape.first()? })
        })
        // Norms that all widths use in full, as at the end of a head, say nothing about the width.
        .filter(|norm| norm.channels < norm.full)
        .collect();
    let at_least = norms.iter().max_by(|a, b| a.fraction(a.channels).total_cmp(&b.fraction(b.channels)));
    let below = norms.iter().min_by(|a, b| a.fraction(a.channels + 1).total_cmp(&b.fraction(b.channels + 1)));
    let (Some(at_least), Some(below)) = (at_least, below) else { return Ok(1.0) };
    let fits = |width: f64| {
        Widths::try_from(vec![1.0, width])
            .is_ok_and(|widths| norms.iter().all(|norm| Channels::Slim(norm.full).at(&widths, 1) == norm.channels))
    };
    let [low, high] = [at_least.fraction(at_least.channels), below.fraction(below.channels + 1)];
    (1..=DIGITS)
        .map(|digits| 10f64.powi(digits))
        .flat_map(|scale| ((low * scale) as u64..=(high * scale) as u64).map(move |digits| digits as f64 / scale))
        .find(|width| fits(*width))
        .ok_or_else(|| InferError::Contradiction { index, norms: [at_least.describe(), below.describe()] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder(backbone: BackboneKind, depth: usize, widths: &[f64], head: HeadKind) -> EncoderConfig {
        let widths = Widths::try_from(widths.to_vec()).unwrap();
        let hidden = if matches!(head, HeadKind::Mocov3 | HeadKind::Simclr) { 96 } else { head.paper_hidden() };
        EncoderConfig { backbone, depth, multiplier: 1.0, widths, head, hidden, predictor: false, outputs: 24 }
    }

    fn small() -> EncoderConfig {
        encoder(BackboneKind::Cifar, 8, &[1.0, 0.5], HeadKind::Mocov2)
    }

    /// Returns the state dict of an encoder under `prefix`, with its norms' counters.
    fn state_dict(config: &EncoderConfig, prefix: &str) -> Shapes {
        let encoder = config.build().unwrap();
        let shapes = encoder.layout().named_shapes();
        let counter = |name: &str| Some((name.strip_suffix(".running_var")?.to_owned() + BATCHES_SEEN, vec![]));
        let with_counters = shapes.flat_map(|(name, shape)| [counter(&name), Some((name, shape))]);
        with_counters.flatten().map(|(name, shape)| (format!("{prefix}{name}"), shape)).collect()
    }

    /// Returns the state dict that MoCo v2 saves.
    fn moco_v2(config: &EncoderConfig) -> Shapes {
        let mut all = state_dict(config, "module.encoder_q.");
        all.extend(state_dict(config, "module.encoder_k."));
        all.extend([("module.queue".into(), vec![24, 4096]), ("module.queue_ptr".into(), vec![1])]);
        all
    }

    #[test]
    fn the_architecture_is_inferred_from_names_and_shapes() {
        use BackboneKind::{Cifar, Resnet};
        use HeadKind::{Mocov2, Mocov3, Simclr, Supervised, SupervisedSwitch};
        for config in [
            encoder(Cifar, 20, &[1.0, 0.75, 0.5, 0.25], Mocov2),
            encoder(Cifar, 110, &[1.0], Supervised),
            encoder(Resnet, 18, &[1.0, 0.35], SupervisedSwitch),
            encoder(Resnet, 34, &[1.0, 0.9, 0.3, 0.125], Mocov2),
            encoder(Resnet, 50, &[1.0, 0.3], Mocov2),
            encoder(Resnet, 101, &[1.0, 0.5, 0.25], SupervisedSwitch),
            encoder(Resnet, 152, &[1.0, 0.5], Supervised),
            encoder(Resnet, 18, &[1.0, 0.75, 0.25], Simclr),
            encoder(Resnet, 50, &[1.0, 0.25], Mocov3),
            EncoderConfig { multiplier: 2.0, ..encoder(Resnet, 50, &[1.0, 0.75], Mocov2) },
            EncoderConfig { multiplier: 0.5, ..encoder(Resnet, 18, &[1.0], Mocov2) },
            // Of 48 channels: 0.29 as an f64 is slightly below 0.29.
            EncoderConfig { multiplier: 3.0, ..encoder(Cifar, 8, &[1.0, 0.29], Mocov2) },
        ] {
            assert_eq!(infer(&moco_v2(&config)).unwrap().config, config);
            for prefix in ["module.", "", "encoder_q."] {
                assert_eq!(infer(&state_dict(&config, prefix)).unwrap().config, config, "{prefix}");
            }
        }
        let moco_v3 = EncoderConfig { predictor: true, ..encoder(Cifar, 8, &[1.0, 0.5], Mocov3) };
        let mut tensors = state_dict(&moco_v3, "module.base_encoder.");
        tensors.extend(state_dict(&EncoderConfig { predictor: false, ..moco_v3.clone() }, "module.momentum_encoder."));
        // The authors' predictor is beside the encoders.
        let beside = |name: String| name.replace("base_encoder.predictor.", "predictor.");
        let tensors = tensors.into_iter().map(|(name, shape)| (beside(name), shape)).collect();
        assert_eq!(infer(&tensors).unwrap().config, moco_v3);
    }

    #[test]
    fn values_are_read_by_the_state_dicts_names() {
        let shapes = moco_v2(&small());
        let inferred = infer(&shapes).unwrap();
        let parameters = inferred.parameters(&Device::flex(), |name| {
            assert!(name.starts_with("module.encoder_q."));
            let shape = shapes[name].clone();
            Ok::<_, ()>(TensorData::full(shape, name.len() as f32))
        });
        for (spec, value) in parameters.unwrap().named() {
            let expected = "module.encoder_q.".len() + spec.name.len();
            assert_eq!(value.clone().max().into_scalar::<f32>(), expected as f32, "{}", spec.name);
        }
    }

    #[test]
    fn missing_unknown_and_misshapen_tensors_are_named_together() {
        let mut tensors = moco_v2(&small());
        tensors.retain(|name, _| !name.starts_with("module.encoder_q.bn1.bn.0."));
        tensors.insert("module.encoder_q.fc.9.weight".into(), vec![1]);
        tensors.insert("module.encoder_q.fc.0.weight".into(), vec![64, 60]);
        assert_eq!(
            infer(&tensors).unwrap_err().to_string(),
            "the tensors do not fit the network: 4 missing (bn1.bn.0.weight, bn1.bn.0.bias, \
             bn1.bn.0.running_mean, …); 1 unknown (fc.9.weight); 1 of another shape (fc.0.weight has shape [64, 60], \
             not [64, 64])"
        );
    }

    #[test]
    fn other_networks_are_refused() {
        let refused = |change: &dyn Fn(&mut Shapes)| {
            let mut tensors = state_dict(&small(), "module.");
            change(&mut tensors);
            infer(&tensors).unwrap_err()
        };
        assert_eq!(refused(&|tensors| tensors.clear()), InferError::NoStem);
        let stem = |shape: [usize; 4]| refused(&|t| drop(t.insert("module.conv1.weight".into(), shape.to_vec())));
        assert_eq!(stem([16, 3, 5, 5]), InferError::Stem(vec![16, 3, 5, 5]));
        assert!(matches!(stem([20, 3, 3, 3]), InferError::Mismatch(_)), "a stem that does not fit the next layer");
        let none = BuildError::NoChannels { multiplier: 0.0, channels: 16 };
        assert_eq!(stem([0, 3, 3, 3]), InferError::Build(none));
        assert_eq!(refused(&|t| t.retain(|name, _| !name.contains(".bn."))), InferError::NotSlimmable);
        assert_eq!(refused(&|t| t.retain(|name, _| !name.starts_with("module.fc."))), InferError::Head);
        let deeper = refused(&|t| drop(t.insert("module.features.9.conv1.weight".into(), vec![])));
        assert!(matches!(deeper, InferError::Build(BuildError::Depth { depth: 10, .. })), "{deeper}");
        let uneven = refused(&|t| drop(t.insert("module.features.2.bn2.bn.1.running_mean".into(), vec![30])));
        assert_eq!(
            uneven.to_string(),
            "no width fits all norms bn.1: features.2.shortcut.1 has 32 of 64 channels, but features.2.bn2 has 30 of 64 channels"
        );
        let repeated = refused(&|tensors| {
            tensors.retain(|name, _| !name.contains(".bn.1."));
            let again: Shapes =
                tensors.iter().map(|(name, shape)| (name.replace(".bn.0.", ".bn.1."), shape.clone())).collect();
            tensors.extend(again);
        });
        assert!(matches!(repeated, InferError::Width(WidthError::NotDescending { .. })), "{repeated}");
    }
}
