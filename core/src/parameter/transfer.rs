//! Starts a network from another one's weights, also if that has other widths, or none but the full one.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use burn::tensor::{Device, Tensor};

use super::Parameters;
use crate::{
    layout::{Layout, MismatchError, ParameterId, ParameterSpec},
    width::Channels,
};

/// What a network took from another one, besides the backbone.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    /// Whether it took the head. If not, its head is as before.
    pub head: bool,
    /// The widths that the other network does not have, whose norms start as slices of the full network's.
    pub new_widths: Vec<f64>,
}

/// Where the values of a parameter come from.
struct Source {
    id: ParameterId,
    /// The part of it, if not the whole.
    slice: Option<[Range<usize>; 4]>,
}

/// Finds the parameters of one layout in another.
struct Matching<'a> {
    ours: &'a Layout,
    theirs: &'a Layout,
    by_name: BTreeMap<&'a str, ParameterId>,
    /// For each of our widths, the index of theirs with the same channels in every norm.
    widths: Vec<Option<usize>>,
}

impl<'a> Matching<'a> {
    fn new(ours: &'a Layout, theirs: &'a Layout) -> Self {
        let by_name = theirs.iter().map(|(id, spec)| (spec.name.as_str(), id)).collect();
        let mut matching = Self { ours, theirs, by_name, widths: Vec::new() };
        let sub_networks = (1..ours.widths().len()).map(|index| matching.same_width(index));
        matching.widths = [Some(0)].into_iter().chain(sub_networks).collect();
        matching
    }

    /// Returns the index of their width whose norms in the backbone have the shapes of ours at `index`.
    fn same_width(&self, index: usize) -> Option<usize> {
        let norms = || backbone(self.ours).filter(|spec| spec.only_width == Some(index));
        (1..self.theirs.widths().len())
            .find(|theirs| norms().all(|spec| self.same(spec, &spec.name_at(*theirs)).is_some()))
    }

    /// Returns their parameter `name` if it has the shape of `spec`.
    fn same(&self, spec: &ParameterSpec, name: &str) -> Option<ParameterId> {
        let id = *self.by_name.get(name)?;
        (self.theirs.spec(id).named_shape() == spec.named_shape()).then_some(id)
    }

    /// Returns where the values of `spec` come from, or `None` if they have no such parameter.
    fn source(&self, spec: &ParameterSpec) -> Option<Source> {
        let index = spec.only_width.unwrap_or(0);
        if let Some(theirs) = self.widths[index] {
            return Some(Source { id: self.same(spec, &spec.name_at(theirs))?, slice: None });
        }
        let id = *self.by_name.get(spec.name_at(0).as_str())?;
        let full = self.theirs.spec(id).shape();
        let [outputs, inputs, height, width] = spec.shape();
        let part = |full: usize, kept: usize| {
            let range = if full == kept { 0..full } else { Channels::Slim(full).range(self.ours.widths(), index) };
            (range.len() == kept).then_some(range)
        };
        Some(Source { id, slice: Some([part(full[0], outputs)?, part(full[1], inputs)?, 0..height, 0..width]) })
    }

    /// Checks that they have every parameter of our backbone.
    fn check(&self) -> Result<(), MismatchError> {
        let shape_of = |spec: &ParameterSpec| match self.source(spec) {
            Some(_) => Some(spec.named_shape()),
            None => Some(self.theirs.spec(*self.by_name.get(spec.name.as_str())?).named_shape()),
        };
        let found = backbone(self.ours).filter_map(|spec| Some((spec.name.clone(), shape_of(spec)?))).collect();
        MismatchError::check(backbone(self.ours).map(|spec| (spec.name.clone(), spec.named_shape())), &found)
    }

    /// Returns whether the heads are the same, except for the widths of their norms.
    fn has_same_head(&self) -> bool {
        let of_full = |layout: &'a Layout| {
            let head = layout.iter().map(|(_, spec)| spec).filter(|spec| spec.is_of_head());
            head.filter(|spec| spec.only_width.unwrap_or(0) == 0).map(|spec| &spec.name)
        };
        of_full(self.ours).eq(of_full(self.theirs))
            && self.ours.iter().all(|(_, spec)| !spec.is_of_head() || self.source(spec).is_some())
    }
}

fn backbone(layout: &Layout) -> impl Iterator<Item = &ParameterSpec> {
    layout.iter().map(|(_, spec)| spec).filter(|spec| !spec.is_of_head())
}

impl Parameters {
    /// Draws initial values as [`init`](Self::init), and takes the backbone of a trained network, and its head if that
    /// is the same ([`load_backbone`](Self::load_backbone)).
    ///
    /// # Errors
    /// If the backbones differ.
    pub fn started_from(
        trained: &Parameters,
        layout: Arc<Layout>,
        seed: u64,
        device: &Device,
    ) -> Result<(Self, Transfer), MismatchError> {
        let mut parameters = Self::init(layout, seed, device);
        let transfer = parameters.load_backbone(trained)?;
        Ok((parameters, transfer))
    }

    /// Takes `other`'s backbone, and its head if that is the same.
    ///
    /// Weights are shared by the widths, so they need only the same full network. The norms of a width come from
    /// `other`'s at the same width; if it has none, they start as the slice of the full network's that the width uses.
    ///
    /// # Errors
    /// If a tensor of the backbone is missing in `other`, or of another shape.
    pub fn load_backbone(&mut self, other: &Parameters) -> Result<Transfer, MismatchError> {
        let layout = self.layout.clone();
        let matching = Matching::new(&layout, &other.layout);
        matching.check()?;
        let head = matching.has_same_head();
        for (id, spec) in layout.iter().filter(|(_, spec)| head || !spec.is_of_head()) {
            let source = matching.source(spec).expect("checked above");
            let value: Tensor<4> = other.get(source.id).clone();
            self.values[id.index()] = match source.slice {
                Some(slice) => value.slice(slice),
                None => value,
            };
        }
        self.packed = None;
        let widths = layout.widths().iter().zip(&matching.widths);
        Ok(Transfer { head, new_widths: widths.filter(|(_, same)| same.is_none()).map(|(width, _)| width).collect() })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::{config::Config, method::MethodKind};

    /// Returns parameters of a network, all different.
    fn parameters(config: &Config, seed: u64) -> Parameters {
        let layout = config.encoder().unwrap().build().unwrap().layout().clone();
        let mut parameters = Parameters::init(layout.clone(), seed, &Device::flex());
        for (id, spec) in layout.iter() {
            let count = spec.shape().iter().product::<usize>();
            let first = (1000 * id.index()) as f32 + seed as f32 / 8.0;
            let values = (0..count).map(|index| first + index as f32).collect();
            parameters.update(id, |_| Tensor::from_data(TensorData::new(values, spec.shape()), &Device::flex()));
        }
        parameters
    }

    fn with_widths(widths: &[f64]) -> Config {
        Config { multiplier: 1.0, widths: widths.to_vec(), ..Config::mini() }
    }

    fn values(parameters: &Parameters) -> BTreeMap<String, Vec<f32>> {
        let named = parameters.named();
        named.map(|(spec, value)| (spec.name.clone(), value.clone().into_data().iter().collect())).collect()
    }

    #[test]
    fn the_same_network_is_taken_whole() {
        let [mut ours, theirs] = [1, 2].map(|seed| parameters(&with_widths(&[1.0, 0.5]), seed));
        let transfer = ours.load_backbone(&theirs).unwrap();
        assert_eq!(transfer, Transfer { head: true, new_widths: Vec::new() });
        assert_eq!(values(&ours), values(&theirs));
    }

    #[test]
    fn norms_of_new_widths_are_slices_of_the_full_networks() {
        let theirs = parameters(&with_widths(&[1.0]), 2);
        for (disjoint, begin) in [(false, 0), (true, 4)] {
            let mut ours = parameters(&Config { disjoint, ..with_widths(&[1.0, 0.5, 0.25]) }, 1);
            let transfer = ours.load_backbone(&theirs).unwrap();
            assert_eq!(transfer, Transfer { head: true, new_widths: vec![0.5, 0.25] });
            let [ours, theirs] = [&ours, &theirs].map(values);
            for (name, values) in &theirs {
                assert_eq!(&ours[name], values, "{name}");
            }
            for part in ["weight", "bias", "running_mean", "running_var"] {
                let full = &theirs[&format!("bn1.bn.0.{part}")];
                assert_eq!(full.len(), 16);
                assert_eq!(ours[&format!("bn1.bn.1.{part}")], full[begin..begin + 8], "{part}");
                assert_eq!(ours[&format!("bn1.bn.2.{part}")], full[..4], "{part}");
            }
        }
    }

    #[test]
    fn norms_of_a_width_that_both_have_are_taken_wherever_it_stands() {
        let theirs = parameters(&with_widths(&[1.0, 0.75, 0.5, 0.25]), 2);
        let mut ours = parameters(&with_widths(&[1.0, 0.5, 0.3]), 1);
        assert_eq!(ours.load_backbone(&theirs).unwrap().new_widths, [0.3]);
        let [ours, theirs] = [&ours, &theirs].map(values);
        assert_eq!(ours["features.1.bn2.bn.1.bias"], theirs["features.1.bn2.bn.2.bias"]);
        assert_eq!(ours["features.1.bn2.bn.2.bias"], theirs["features.1.bn2.bn.0.bias"][..9]);
        // One width alone.
        let mut alone = parameters(&with_widths(&[1.0]), 1);
        let theirs = parameters(&with_widths(&[1.0, 0.5]), 2);
        alone.load_backbone(&theirs).unwrap();
        let theirs = values(&theirs);
        for (name, values) in values(&alone) {
            assert_eq!(values, theirs[&name], "{name}");
        }
    }

    #[test]
    fn a_head_of_other_layers_or_shapes_stays() {
        let mocov2 = with_widths(&[1.0, 0.5]);
        let other_dim = Config { dim: 2 * mocov2.dim, ..mocov2.clone() };
        let supervised = Config { method: MethodKind::Supervised, ..mocov2.clone() };
        for config in [other_dim, supervised] {
            let mut ours = parameters(&config, 1);
            let before = values(&ours);
            let theirs = parameters(&mocov2, 2);
            assert!(!ours.load_backbone(&theirs).unwrap().head);
            let is_head = |name: &str| name.starts_with("fc.");
            for (name, values) in values(&ours) {
                let expected = if is_head(&name) { &before[&name] } else { &values };
                assert_eq!(&values, expected, "{name}");
            }
        }
        // A head with norms, whose other widths start from the full one.
        let simclr = |widths: &[f64]| Config { method: MethodKind::Simclr, hidden: 64, ..with_widths(widths) };
        let mut ours = parameters(&simclr(&[1.0, 0.5]), 1);
        let theirs = parameters(&simclr(&[1.0]), 2);
        assert!(ours.load_backbone(&theirs).unwrap().head);
        let [ours, theirs] = [&ours, &theirs].map(values);
        assert_eq!(ours["fc.1.bn.1.weight"], theirs["fc.1.bn.0.weight"][..32]);
        assert_eq!(ours["fc.4.bn.1.weight"], theirs["fc.4.bn.0.weight"]);
    }

    #[test]
    fn another_backbone_is_refused() {
        let mut ours = parameters(&with_widths(&[1.0, 0.5]), 1);
        let before = values(&ours);
        let wider = parameters(&Config { multiplier: 2.0, ..with_widths(&[1.0]) }, 2);
        let error = ours.load_backbone(&wider).unwrap_err().to_string();
        assert!(error.contains("conv1.weight has shape [32, 3, 3, 3], not [16, 3, 3, 3]"), "{error}");
        let deeper = parameters(&Config { depth: 14, ..with_widths(&[1.0]) }, 2);
        assert!(ours.load_backbone(&deeper).is_err());
        assert_eq!(values(&ours), before);
    }
}
