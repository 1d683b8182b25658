//! Learning rates by stage, for fine-tuning.

use std::{collections::BTreeMap, iter};

use crate::{config::Config, encoder::Encoder, head::HEAD, layout::ParameterId, profile::parameters_by_stage};

/// Returns the factors of the learning rates of the backbone's parameters: `backbone_rate` in its last stage, and
/// `stage_decay` times that of the next stage in each before (Howard & Ruder 2018, section 3.2). Those of the head are 1
/// and left out; there are none if all are 1.
pub fn rate_factors(config: &Config, encoder: &Encoder) -> BTreeMap<ParameterId, f64> {
    if config.backbone_rate == 1.0 && config.stage_decay == 1.0 {
        return BTreeMap::new();
    }
    let factors = iter::successors(Some(config.backbone_rate), |rate| Some(rate * config.stage_decay));
    let stages = parameters_by_stage(encoder).into_iter().filter(|(name, _)| name != HEAD).rev();
    stages.zip(factors).flat_map(|((_, ids), factor)| ids.into_iter().map(move |id| (id, factor))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_fall_from_the_head_to_the_stem() {
        let config = Config { backbone_rate: 0.5, stage_decay: 0.1, ..Config::mini().with_supervised() };
        let encoder = config.encoder().unwrap().build().unwrap();
        let factors = rate_factors(&config, &encoder);
        let of = |name: &str| {
            let found = encoder.layout().iter().find(|(_, spec)| spec.name == name);
            factors.get(&found.unwrap_or_else(|| panic!("no {name}")).0).copied()
        };
        let close = |a: Option<f64>, b: f64| (a.unwrap() - b).abs() < 1e-9;
        // A ResNet-8 has a block in each of its three stages.
        assert!(close(of("features.2.conv1.weight"), 0.5) && close(of("features.0.conv1.weight"), 0.005));
        assert!(close(of("conv1.weight"), 0.0005));
        // Norms of the sub-networks, too.
        assert!(close(of("features.2.bn1.bn.3.weight"), 0.5));
        assert_eq!(of("fc.weight"), None);
        let trained = encoder.layout().iter().filter(|(_, spec)| spec.is_trained() && !spec.is_of_head());
        assert_eq!(factors.len(), trained.count());
        assert!(rate_factors(&Config::mini(), &encoder).is_empty());
    }
}
