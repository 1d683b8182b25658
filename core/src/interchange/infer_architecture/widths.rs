//! Infers widths and the multiplier of the channels from the shapes of norms and weights.

use std::collections::BTreeSet;

use super::{super::torchvision::Names, InferError, STEM};
use crate::{
    backbone::{cifar, resnet},
    encoder::{BackboneKind, EncoderConfig},
    head::HeadKind,
    layout::Shapes,
    width::{Channels, Widths, portion},
};

/// Most decimals of a width that are tried. Five distinguish any two widths of layers of up to 100,000 channels.
const DIGITS: i32 = 6;

/// Returns the multiplier of the standard channels with which those of all norms fit: that of the stem, or the one with
/// the fewest decimals. Without such a multiplier it is the stem's, and a comparison of all shapes then says what differs.
pub fn multiplier(standard: &EncoderConfig, tensors: &Shapes) -> f64 {
    let base = match standard.backbone {
        BackboneKind::Cifar => cifar::BASE,
        BackboneKind::Resnet | BackboneKind::ResnetCifarStem => resnet::BASE,
        _ => return 1.0,
    };
    let of_stem =
        tensors.get(STEM).and_then(|shape| shape.first()).map_or(1.0, |channels| *channels as f64 / base as f64);
    let backbone = EncoderConfig::new(standard.backbone, standard.depth, HeadKind::None, 1);
    let Ok(encoder) = backbone.build() else { return of_stem };
    let layout = encoder.layout();
    let names = Names::of(layout);
    // By the layout's name in the authors' networks, by torchvision's in plain ones.
    let kept = layout.iter().filter_map(|(_, spec)| {
        let shape = tensors.get(&spec.name).or_else(|| tensors.get(&names.name(spec)))?;
        Some(Kept { layer: &spec.name, channels: *shape.first()?, full: spec.outputs.full() })
    });
    let kept: Vec<Kept> = kept.collect();
    let fits = |multiplier: f64| kept.iter().all(|it| portion(it.full, multiplier) == it.channels);
    if fits(of_stem) { of_stem } else { Kept::fraction(&kept, fits).unwrap_or(of_stem) }
}

/// Returns a slimmable network's widths, of which the first is the full network.
///
/// # Errors
/// If norms contradict each other, or the widths are not valid.
pub fn widths(tensors: &Shapes) -> Result<Widths, InferError> {
    let narrower = (1..count_numbered(tensors, ".bn.")).map(|index| width(tensors, index));
    let widths = [Ok(1.0)].into_iter().chain(narrower).collect::<Result<Vec<_>, _>>()?;
    Ok(Widths::try_from(widths)?)
}

/// Channels that a layer keeps of its full number.
struct Kept<'a> {
    layer: &'a str,
    channels: usize,
    full: usize,
}

impl Kept<'_> {
    /// Returns `channels` as a fraction of the full number.
    fn share(&self, channels: usize) -> f64 {
        channels as f64 / self.full as f64
    }

    /// Returns the layers that keep the most and the least: the fraction is at least the share of the first, and below
    /// what the second would keep with one channel more.
    fn bounds(layers: &[Self]) -> Option<[&Self; 2]> {
        let most = layers.iter().max_by(|a, b| a.share(a.channels).total_cmp(&b.share(b.channels)))?;
        let least = layers.iter().min_by(|a, b| a.share(a.channels + 1).total_cmp(&b.share(b.channels + 1)))?;
        Some([most, least])
    }

    /// Returns the fraction that `fits` all layers, with the fewest decimals, and the lowest of these.
    fn fraction(layers: &[Self], fits: impl Fn(f64) -> bool) -> Option<f64> {
        let [most, least] = Self::bounds(layers)?;
        let [low, high] = [most.share(most.channels), least.share(least.channels + 1)];
        (1..=DIGITS)
            .map(|digits| 10f64.powi(digits))
            .flat_map(|scale| ((low * scale) as u64..=(high * scale) as u64).map(move |digits| digits as f64 / scale))
            .find(|fraction| fits(*fraction))
    }
}

/// Returns the width at `index`: of the widths that give all its norms their channels, the one with the fewest decimals,
/// and the lowest of these.
fn width(tensors: &Shapes, index: usize) -> Result<f64, InferError> {
    let norms = tensors.iter().filter_map(|(tensor, shape)| {
        let name = tensor.strip_suffix(".bn.0.running_mean")?;
        let narrow = tensors.get(&format!("{name}.bn.{index}.running_mean"))?;
        Some(Kept { layer: name, channels: *narrow.first()?, full: *shape.first()? })
    });
    // Norms that all widths use in full, as at the end of a head, say nothing about the width.
    let norms: Vec<Kept> = norms.filter(|norm| norm.channels < norm.full).collect();
    let Some(bounds) = Kept::bounds(&norms) else { return Ok(1.0) };
    let fits = |width: f64| {
        Widths::try_from(vec![1.0, width])
            .is_ok_and(|widths| norms.iter().all(|norm| Channels::Slim(norm.full).at(&widths, 1) == norm.channels))
    };
    let describe = |norm: &Kept| format!("{} has {} of {} channels", norm.layer, norm.channels, norm.full);
    Kept::fraction(&norms, fits).ok_or_else(|| InferError::Contradiction { index, norms: bounds.map(describe) })
}

/// Counts the different numbers that follow `part` in the names.
fn count_numbered(tensors: &Shapes, part: &str) -> usize {
    let numbers = tensors.keys().filter_map(|name| name.split_once(part)?.1.split('.').next());
    numbers.collect::<BTreeSet<_>>().len()
}
