//! The paper's comparison with a supervised network (figures 3 to 5) and its ablation: variants of one network, each of
//! which differs from the others in one thing.

pub mod results;

use std::fmt::{Display, Formatter};

use slimclr_core::{
    config::Config,
    interference::surgery::Surgery,
    loss::{distill::Distillation, reweight::Reweighting},
    method::MethodKind,
};

use super::{arm::Arm, plain};

/// The fraction of the run that is trained at full width alone, where an arm starts slowly: half, as in the paper.
const SLOW_START: f64 = 0.5;

/// The supervised network's learning rate for a batch of 128 (He et al. 2016, section 4.2); it grows with the batch.
const SUPERVISED_RATE: f64 = 0.1 / 128.0;

/// Options that the variants set themselves.
pub const VARIANT_OPTIONS: [&str; 7] =
    ["method", "init", "slow_start", "distill", "reweighting", "surgery", "interference"];

/// A variant of the network, trained in one arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Variant {
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

impl Variant {
    /// Returns all variants for a network of these widths, in the order of the table.
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

    /// Returns the arm that trains it, given the options that the arms share.
    pub fn arm(self, shared: &Config) -> Arm {
        Arm::new(self, self.config(shared))
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
    fn config(self, base: &Config) -> Config {
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
            Self::Alone(width) => plain(&naive, width),
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

impl Display for Variant {
    /// Writes the name of its arm.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_differs_from_naive_only_in_what_it_is_named_after() {
        let base = Config { multiplier: 2.0, seed: 7, ..Config::cifar10() };
        let names: Vec<String> = Variant::all(&base.widths).iter().map(Variant::to_string).collect();
        assert_eq!(
            names.join(" "),
            "alone-1.0 alone-0.75 alone-0.5 alone-0.25 naive slow-start distillation reweighting slimclr pcgrad cagrad \
             supervised"
        );
        let naive = Variant::Naive.config(&base);
        let of_naive = (naive.method, naive.slow_start, naive.distill, naive.reweighting, naive.surgery);
        assert_eq!(of_naive, (MethodKind::Mocov2, 0.0, Distillation::None, Reweighting::Equal, Surgery::None));
        assert!(naive.interference && naive.init.is_empty());
        let expected = [
            (Variant::Alone(0.25), Config { multiplier: 0.5, widths: vec![1.0], ..naive.clone() }),
            (Variant::SlowStart, Config { slow_start: 0.5, ..naive.clone() }),
            (Variant::Distillation, Config { distill: Distillation::Seed, ..naive.clone() }),
            (Variant::Reweighting, Config { reweighting: Reweighting::FullTakesAll, ..naive.clone() }),
            (Variant::Pcgrad, Config { surgery: Surgery::Pcgrad, ..naive.clone() }),
            (Variant::Cagrad, Config { surgery: Surgery::Cagrad, ..naive.clone() }),
            // The preset is SlimCLR's configuration.
            (Variant::Slimclr, Config { interference: true, ..base.clone() }),
        ];
        for (variant, expected) in expected {
            assert_eq!(variant.config(&base), expected, "{variant}");
        }
        for variant in Variant::all(&base.widths) {
            let config = variant.config(&base);
            config.check().unwrap();
            let shared = |it: &Config| (it.epochs, it.batch, it.seed, it.depth, it.data.clone(), it.weight_decay);
            assert_eq!(shared(&config), shared(&base), "{variant}");
        }
    }

    #[test]
    fn the_learning_rate_of_the_supervised_variant_scales_with_the_batch() {
        let rate = |batch| Variant::Supervised.config(&Config { batch, ..Config::cifar10() }).learning_rate;
        assert_eq!([rate(128), rate(512)], [0.1, 0.4]);
        let supervised = Variant::Supervised.config(&Config::cifar10());
        let of_others = (supervised.method, supervised.distill, supervised.distill_weight, supervised.bn_splits);
        assert_eq!(of_others, (MethodKind::Supervised, Distillation::Inplace, 1.0, 1));
    }
}
