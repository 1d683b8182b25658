//! The arms of the comparison, each of which differs from the others in one thing.

use std::fmt::{Display, Formatter};

use anyhow::{Result, bail};
use clap::{ArgMatches, parser::ValueSource};
use serde::{Serialize, Serializer};
use slimclr_core::{
    config::Config,
    interference::surgery::Surgery,
    loss::{distill::Distillation, reweight::Reweighting},
    method::MethodKind,
};

/// The fraction of the run that is trained at full width alone, where an arm starts slowly: half, as in the paper.
const SLOW_START: f64 = 0.5;

/// The supervised network's learning rate for a batch of 128 (He et al. 2016, section 4.2); it grows with the batch.
const SUPERVISED_RATE: f64 = 0.1 / 128.0;

/// Options that the arms set themselves.
pub const ARM_OPTIONS: [&str; 7] =
    ["method", "init", "slow_start", "distill", "reweighting", "surgery", "interference"];

/// One arm: a run in a folder of that name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arm {
    /// A plain network with the channels of this width.
    Alone(f64),
    /// A slimmable network, trained on the sum of its widths' losses.
    Naive,
    /// Naive; sub-networks are trained from halfway on.
    SlowStart,
    /// Naive; the full network teaches the sub-networks.
    Distillation,
    /// Naive; the full network's loss has a larger weight.
    Reweighting,
    /// Slow start, distillation and reweighting.
    Slimclr,
    /// Naive, with PCGrad.
    Pcgrad,
    /// Naive, with CAGrad.
    Cagrad,
    /// A slimmable network trained on labels.
    Supervised,
}

impl Arm {
    /// Returns all arms for a network of these widths, in the order of the table.
    pub fn all(widths: &[f64]) -> Vec<Self> {
        let slimmable = [
            Self::Naive,
            Self::SlowStart,
            Self::Distillation,
            Self::Reweighting,
            Self::Slimclr,
            Self::Pcgrad,
            Self::Cagrad,
            Self::Supervised,
        ];
        widths.iter().map(|width| Self::Alone(*width)).chain(slimmable).collect()
    }

    /// Returns the arms with these names, in the order of the table; all if `names` is empty.
    ///
    /// # Errors
    /// If there is no arm with a name.
    pub fn select(names: &[String], widths: &[f64]) -> Result<Vec<Self>> {
        let names: Vec<&str> = names.iter().map(|name| name.trim()).collect();
        let mut arms = Self::all(widths);
        let known: Vec<String> = arms.iter().map(Self::to_string).collect();
        if let Some(name) = names.iter().find(|name| !known.iter().any(|known| known == *name)) {
            bail!("there is no arm '{name}': choose from {}", known.join(", "));
        }
        arms.retain(|arm| names.is_empty() || names.contains(&arm.to_string().as_str()));
        Ok(arms)
    }

    /// Returns the title of its row in the table.
    pub fn title(self) -> &'static str {
        match self {
            Self::Alone(_) => "each width alone",
            Self::Naive => "slimmable, naive",
            Self::SlowStart => "naive + slow start",
            Self::Distillation => "naive + distillation",
            Self::Reweighting => "naive + reweighting",
            Self::Slimclr => "SlimCLR: all three",
            Self::Pcgrad => "naive + PCGrad",
            Self::Cagrad => "naive + CAGrad",
            Self::Supervised => "slimmable, supervised",
        }
    }

    /// Returns the width of its network for a column of the table, if it has one.
    pub fn network_width(self, width: f64) -> Option<f64> {
        match self {
            Self::Alone(of) => (of == width).then_some(1.0),
            _ => Some(width),
        }
    }

    /// Returns its options, given those that the arms share.
    pub fn config(self, base: &Config) -> Config {
        let naive = Config {
            method: MethodKind::Mocov2,
            init: String::new(),
            slow_start: 0.0,
            distill: Distillation::None,
            reweighting: Reweighting::Equal,
            surgery: Surgery::None,
            interference: true,
            ..base.clone()
        };
        match self {
            Self::Alone(width) => {
                Config { multiplier: base.multiplier * width, widths: vec![1.0], disjoint: false, ..naive }
            }
            Self::Naive => naive,
            Self::SlowStart => Config { slow_start: SLOW_START, ..naive },
            Self::Distillation => Config { distill: Distillation::Seed, ..naive },
            Self::Reweighting => Config { reweighting: Reweighting::FullTakesAll, ..naive },
            Self::Slimclr => Config {
                slow_start: SLOW_START,
                distill: Distillation::Seed,
                reweighting: Reweighting::FullTakesAll,
                ..naive
            },
            Self::Pcgrad => Config { surgery: Surgery::Pcgrad, ..naive },
            Self::Cagrad => Config { surgery: Surgery::Cagrad, ..naive },
            Self::Supervised => {
                Config { learning_rate: SUPERVISED_RATE * base.batch as f64, ..naive.with_supervised() }
            }
        }
    }
}

impl Display for Arm {
    /// Writes the name of its folder.
    fn fmt(&self, formatter: &mut Formatter) -> std::fmt::Result {
        let name = match self {
            Self::Alone(width) => return write!(formatter, "alone-{width:?}"),
            Self::Naive => "naive",
            Self::SlowStart => "slow-start",
            Self::Distillation => "distillation",
            Self::Reweighting => "reweighting",
            Self::Slimclr => "slimclr",
            Self::Pcgrad => "pcgrad",
            Self::Cagrad => "cagrad",
            Self::Supervised => "supervised",
        };
        formatter.write_str(name)
    }
}

impl Serialize for Arm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Refuses options that the arms set themselves, because they would have no effect.
///
/// # Errors
/// If any was given; the error names them.
pub fn refuse_arm_options(matches: &ArgMatches) -> Result<()> {
    let given = ARM_OPTIONS.into_iter().filter(|key| matches.value_source(key) == Some(ValueSource::CommandLine));
    let given: Vec<String> = given.map(|key| format!("--{}", key.replace('_', "-"))).collect();
    if !given.is_empty() {
        bail!(
            "each arm sets {} itself: remove it and choose arms with --arms, or train a single network with \
             slimclr pretrain",
            given.join(", ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_differs_from_naive_only_in_what_it_is_named_after() {
        let base = Config { multiplier: 2.0, seed: 7, ..Config::cifar10() };
        let names: Vec<String> = Arm::all(&base.widths).iter().map(Arm::to_string).collect();
        assert_eq!(
            names.join(" "),
            "alone-1.0 alone-0.75 alone-0.5 alone-0.25 naive slow-start distillation reweighting slimclr pcgrad cagrad \
             supervised"
        );
        let naive = Arm::Naive.config(&base);
        let of_naive = (naive.method, naive.slow_start, naive.distill, naive.reweighting, naive.surgery);
        assert_eq!(of_naive, (MethodKind::Mocov2, 0.0, Distillation::None, Reweighting::Equal, Surgery::None));
        assert!(naive.interference && naive.init.is_empty());
        let expected = [
            (Arm::Alone(0.25), Config { multiplier: 0.5, widths: vec![1.0], ..naive.clone() }),
            (Arm::SlowStart, Config { slow_start: 0.5, ..naive.clone() }),
            (Arm::Distillation, Config { distill: Distillation::Seed, ..naive.clone() }),
            (Arm::Reweighting, Config { reweighting: Reweighting::FullTakesAll, ..naive.clone() }),
            (Arm::Pcgrad, Config { surgery: Surgery::Pcgrad, ..naive.clone() }),
            (Arm::Cagrad, Config { surgery: Surgery::Cagrad, ..naive.clone() }),
            // The preset is SlimCLR's configuration.
            (Arm::Slimclr, Config { interference: true, ..base.clone() }),
        ];
        for (arm, expected) in expected {
            assert_eq!(arm.config(&base), expected, "{arm}");
        }
        for arm in Arm::all(&base.widths) {
            let config = arm.config(&base);
            config.check().unwrap();
            let shared = |it: &Config| (it.epochs, it.batch, it.seed, it.depth, it.data.clone(), it.weight_decay);
            assert_eq!(shared(&config), shared(&base), "{arm}");
        }
    }

    #[test]
    fn the_learning_rate_of_the_supervised_arm_scales_with_the_batch() {
        let rate = |batch| Arm::Supervised.config(&Config { batch, ..Config::cifar10() }).learning_rate;
        assert_eq!([rate(128), rate(512)], [0.1, 0.4]);
        let supervised = Arm::Supervised.config(&Config::cifar10());
        let of_others = (supervised.method, supervised.distill, supervised.distill_weight, supervised.bn_splits);
        assert_eq!(of_others, (MethodKind::Supervised, Distillation::Inplace, 1.0, 1));
    }

    #[test]
    fn arms_are_selected_by_name() {
        let select =
            |names: &[&str]| Arm::select(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>(), &[1.0]);
        assert_eq!(select(&["slimclr", " alone-1.0"]).unwrap(), [Arm::Alone(1.0), Arm::Slimclr]);
        assert_eq!(select(&[]).unwrap(), Arm::all(&[1.0]));
        let error = select(&["naive", "alone-0.5"]).unwrap_err().to_string();
        assert!(error.starts_with("there is no arm 'alone-0.5': choose from alone-1.0, naive, "), "{error}");
    }
}
