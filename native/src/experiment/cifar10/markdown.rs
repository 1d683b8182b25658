//! The tables of the comparison.

use slimclr_core::event::LossMonitor;

use super::{
    measure::{ACCURACIES, Measure, PROBE, SLIMMABLE_MINUS_SWITCHABLE, SLIMMABLE_PROBE, TRAINING},
    results::{Network, Results, VariantGradients},
};
use crate::{
    experiment::{
        arm_result,
        mean::Mean,
        seeds,
        tables::{self, Unit},
    },
    terminal,
};

/// What is in the place of a number that is not known yet.
const NONE: &str = "–";

impl Results {
    /// Formats the table of the linear probe for the terminal.
    pub fn table(&self) -> String {
        let rows = self.rows(|network| self.cell(network, &PROBE));
        format!("{}\n{}", PROBE.title, terminal::aligned(&self.heads(), &rows))
    }

    /// Formats all tables in Markdown.
    pub fn markdown(&self) -> String {
        let accuracy = |measure: &Measure| {
            let difference = self.table_of(|network| self.difference(network, measure));
            format!("{}\nDifference to the naive network:\n\n{difference}", self.table_of_measure(measure))
        };
        let [accuracies, training] = [
            ACCURACIES.iter().map(accuracy).collect::<Vec<_>>(),
            TRAINING.iter().map(|measure| self.table_of_measure(measure)).collect(),
        ]
        .map(|tables| tables.join("\n"));
        format!(
            "# Single-width, slimmable and supervised networks on CIFAR-10\n\n\
             {} {} Differences are taken seed by seed.{}\n\n\
             {accuracies}\n\
             ## Slimmable probe\n\n\
             One linear layer for all widths, of which each uses a slice, in place of a layer for each width (the paper's \
             appendix A). In parentheses, the difference to the switchable probe.\n\n\
             {}\n\
             ## What training has reached\n\n\
             {}{}\n\n\
             {training}\n\
             ## Gradients and paths of the weights\n\n\
             Means over the second half of training: the gradient norm on the narrowest network's weights over that on the \
             rest (figure 3), the cosine between the gradients of the full and the narrowest network, and the fraction of \
             weight tensors on which it is negative. First direction: the share of the variance of the last layer's gradient \
             along its first principal component (figure 4). Winding: the length of the weights' path over the distance \
             between its ends, at full and narrowest width (figure 5).\n\n\
             {}\n\
             ## Runs\n\n\
             {}\n\
             {}",
            seeds::about(&self.seeds),
            self.setting.about_error(),
            self.about_noise(),
            self.table_of(|network| self.slimmable_probe(network)),
            self.about_chance(),
            self.about_arms_that_learned_nothing(),
            self.gradients(),
            self.setting.markdown(),
            arm_result::markdown(&self.arms),
        )
    }

    fn heads(&self) -> Vec<String> {
        let widths = self.setting.options.widths.iter().map(|width| format!("width {width}"));
        ["arm".to_owned()].into_iter().chain(widths).collect()
    }

    /// Formats one row per title; the networks of a single width share one.
    fn rows(&self, cell: impl Fn(&Network) -> String) -> Vec<Vec<String>> {
        let groups = self.networks.chunk_by(|a, b| a.variant.title() == b.variant.title());
        let row = |networks: &[Network]| {
            let of_width = |width: &f64| {
                networks.iter().find(|network| network.width == *width).map_or_else(|| NONE.into(), &cell)
            };
            let cells = self.setting.options.widths.iter().map(of_width);
            [networks[0].variant.title()].into_iter().chain(cells).collect()
        };
        groups.map(row).collect()
    }

    fn table_of(&self, cell: impl Fn(&Network) -> String) -> String {
        tables::markdown(&self.heads(), &self.rows(cell))
    }

    fn table_of_measure(&self, measure: &Measure) -> String {
        format!("{}:\n\n{}", measure.title, self.table_of(|network| self.cell(network, measure)))
    }

    /// Formats a measure of a network.
    fn cell(&self, network: &Network, measure: &Measure) -> String {
        match network.measures.get(measure.name) {
            Some(mean) => mean.text(measure.unit, self.seeds.len()),
            // Either the arm or the probe has failed.
            None if network.has_failed || !network.measures.is_empty() => "failed".into(),
            None => NONE.into(),
        }
    }

    /// Formats the difference of a network's measure to that of the naive network.
    fn difference(&self, network: &Network, measure: &Measure) -> String {
        let difference = network.minus_naive.get(measure.name);
        difference.map_or_else(|| NONE.into(), |mean| mean.signed(measure.unit, self.seeds.len()))
    }

    /// Formats the slimmable probe, and the difference to the switchable one.
    fn slimmable_probe(&self, network: &Network) -> String {
        let probe = self.cell(network, &SLIMMABLE_PROBE);
        match network.measures.get(SLIMMABLE_MINUS_SWITCHABLE.name) {
            Some(mean) => format!("{probe} ({})", mean.signed(Unit::Percent, self.seeds.len())),
            None => probe,
        }
    }

    /// Says which differences say nothing, if there is one seed, so that tables have no errors.
    fn about_noise(&self) -> String {
        match self.seeds.len() {
            1 => format!(
                " So a difference below {:.1} is within the noise of the test images alone.",
                2.0 * 2f64.sqrt() * self.setting.standard_error()
            ),
            _ => String::new(),
        }
    }

    /// Says what the losses are at chance level.
    fn about_chance(&self) -> String {
        let candidates = self.setting.options.candidates();
        let LossMonitor { cross_entropy, top1, .. } = candidates.map(LossMonitor::of_guess).unwrap_or_default();
        match (candidates, cross_entropy.zip(top1)) {
            (Some(candidates), Some((loss, top1))) => format!(
                "Chance level among the {candidates} keys is a cross-entropy of {loss:.2} nats and an accuracy of {:.2} %. That \
                 of supervised training is among the classes.",
                100.0 * top1
            ),
            _ => String::new(),
        }
    }

    /// Names the networks that learned nothing.
    fn about_arms_that_learned_nothing(&self) -> String {
        let networks = self.networks.iter().flat_map(|network| {
            let of_seed = |seed: &u64| format!("{} at width {} (seed {seed})", network.variant, network.width);
            network.learned_nothing_with.iter().map(of_seed).collect::<Vec<_>>()
        });
        let networks: Vec<String> = networks.collect();
        const TEST: &str =
            "kNN, or the network's own classifier, is not better than before training by two standard errors";
        match &networks[..] {
            [] => format!(" No network learned nothing ({TEST})."),
            networks => format!(" Learned nothing ({TEST}): {}.", networks.join(", ")),
        }
    }

    /// Formats the gradients of each variant.
    fn gradients(&self) -> String {
        let text = |mean: Option<Mean>, unit| mean.map_or_else(|| NONE.into(), |it| it.text(unit, self.seeds.len()));
        let row = |it: &VariantGradients| {
            let [full, narrowest] = it.winding.map_or([None, None], |winding| winding.map(Some));
            vec![
                it.variant.title(),
                text(Some(it.narrowest_over_rest), Unit::Number(2)),
                text(Some(it.cosine), Unit::Number(2)),
                text(Some(it.conflict), Unit::Percent),
                text(it.first_direction, Unit::Percent),
                text(full, Unit::Number(1)),
                text(narrowest, Unit::Number(1)),
            ]
        };
        let heads = [
            "arm",
            "narrowest / rest",
            "cosine",
            "conflicts, %",
            "first direction, %",
            "winding, full",
            "winding, narrowest",
        ];
        tables::markdown(&heads, &self.gradients.iter().map(row).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use slimclr_core::{
        config::Config,
        event::{Evaluated, Event},
    };

    use super::*;
    use crate::experiment::{
        arm_result::ArmResult,
        fixture::{FINISHED, probed, setting, started, step},
    };

    /// Returns the result of an arm that is done, whose network has this accuracy of the linear probe at all widths.
    fn done(arm: &str, widths: &[f64], probe: Option<f64>) -> ArmResult {
        let mut events = vec![started(widths), step(1), step(2), FINISHED];
        events.extend(widths.iter().map(|width| probed(*width, probe)));
        ArmResult::new(arm, &events)
    }

    fn results(seeds: &[u64], arms: Vec<ArmResult>) -> Results {
        Results::new(setting(Config { widths: vec![1.0, 0.5], ..Config::mini() }), seeds.to_vec(), arms)
    }

    #[track_caller]
    fn has(tables: &str, lines: &[&str]) {
        for line in lines {
            assert!(tables.lines().any(|found| found == *line), "'{line}' is not in:\n{tables}");
        }
    }

    #[test]
    fn single_width_networks_share_a_row_and_missing_cells_are_marked() {
        let both = [1.0, 0.5];
        let tables = results(
            &[0],
            vec![
                done("alone-1.0-seed0", &[1.0], Some(0.612)),
                done("alone-0.5-seed0", &[1.0], Some(0.5)),
                ArmResult::new("naive-seed0", &[started(&both), step(1)]),
                ArmResult::new("slimclr-seed0", &[started(&both)]).failed("the loss | is NaN"),
                done("supervised-seed0", &both, None),
            ],
        )
        .markdown();
        has(
            &tables,
            &[
                "| arm | width 1 | width 0.5 |",
                "| each width alone | 61.2 | 50.0 |",
                "| slimmable, naive | – | – |",
                "| SlimCLR: all three | failed | failed |",
                "| slimmable, supervised | failed | failed |",
                "| each width alone | 25.0 | 25.0 |",
                "| naive-seed0 | 1 of 2 steps | 2.0 s | CPU |",
                "| images | 5,000 training, 10,000 test |",
            ],
        );
        assert!(tables.contains("with seed 0; the variance between seeds is not included."), "{tables}");
        assert!(tables.contains("a difference below 1.4 is within the noise"), "{tables}");
        assert!(tables.contains("Chance level among the 1025 keys is a cross-entropy of 6.93 nats"), "{tables}");
    }

    #[test]
    fn seeds_are_averaged_and_differences_taken_seed_by_seed() {
        let arms = vec![
            done("alone-1.0-seed0", &[1.0], Some(0.7)),
            done("naive-seed0", &[1.0, 0.5], Some(0.5)),
            done("slow-start-seed0", &[1.0, 0.5], Some(0.6)),
            done("naive-seed1", &[1.0, 0.5], Some(0.4)),
            done("slow-start-seed1", &[1.0, 0.5], Some(0.54)),
        ];
        let results = results(&[0, 1], arms);
        let tables = results.markdown();
        has(
            &tables,
            &[
                "| each width alone | 70.0 (1 of 2 seeds) | – |",
                "| each width alone | +20.0 (1 of 2 seeds) | – |",
                "| slimmable, naive | 45.0 ± 5.0 | 45.0 ± 5.0 |",
                "| naive + slow start | 57.0 ± 3.0 | 57.0 ± 3.0 |",
                "| naive + slow start | +12.0 ± 2.0 | +12.0 ± 2.0 |",
            ],
        );
        let json = serde_json::to_value(&results).unwrap();
        let network = json["networks"].as_array().unwrap().iter().find(|it| it["variant"] == "slow-start").unwrap();
        assert_eq!((&network["width"], &network["measures"]["probe"]["runs"]), (&1.0.into(), &2.into()));
        assert!((network["minus_naive"]["probe"]["mean"].as_f64().unwrap() - 0.12).abs() < 1e-12);
        assert_eq!(json["arms"][0]["arm"], "alone-1.0-seed0");
    }

    #[test]
    fn networks_that_learned_nothing_are_named() {
        let before = |knn| {
            let knn_standard_error = Some(0.005);
            Event::Evaluated(Evaluated { width: 1.0, knn: Some(knn), knn_standard_error, ..Evaluated::default() })
        };
        // It is 0.5 afterwards.
        let of = |seed, knn| {
            let events = [started(&[1.0]), before(knn), step(1), step(2), FINISHED, probed(1.0, Some(0.6))];
            ArmResult::new(&format!("alone-0.5-seed{seed}"), &events)
        };
        let tables = results(&[0, 1], vec![of(0, 0.3), of(1, 0.495)]).markdown();
        assert!(tables.contains("by two standard errors): alone-0.5 at width 0.5 (seed 1).\n"), "{tables}");
        let tables = results(&[0], vec![of(0, 0.3)]).markdown();
        assert!(tables.contains(" No network learned nothing ("), "{tables}");
    }
}
