//! The paper's comparison with a supervised network (figures 3 to 5) and its ablation: variants of one network, each of
//! which differs from the others in one thing.

mod markdown;
mod measure;
pub mod results;

use std::fmt::{Display, Formatter};

use slimclr_core::{
    config::Config,
    interference::surgery::Surgery,
    loss::{distill::Distillation, reweight::Reweighting},
    method::MethodKind,
};

use super::{arm::Arm, plain, seeds::arm_name};

/// The fraction of the run that is trained at full width alone, where an arm starts slowly: half, as in the paper.
const SLOW_START: f64 = 0.5;

/// The supervised network's learning rate for a batch of 128 (He et al. 2016, section 4.2); it grows with the batch.
const SUPERVISED_RATE: f64 = 0.1 / 128.0;

/// Epochs in which an untrained network sees images: enough for the statistics of its norms.
const UNTRAINED_EPOCHS: f64 = 0.1;

/// Options that the variants set themselves.
pub const VARIANT_OPTIONS: [&str; 8] =
    ["method", "init", "slow_start", "distill", "reweighting", "surgery", "interference", "seed"];

/// Some of SlimCLR's techniques.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Techniques {
    /// Sub-networks are trained from halfway on.
    pub slow_start: bool,
    /// The full network teaches the sub-networks.
    pub distillation: bool,
    /// The full network's loss has a larger weight.
    pub reweighting: bool,
}

impl Techniques {
    const ALL: Self = Self { slow_start: true, distillation: true, reweighting: true };

    /// Returns all subsets: none, each alone, each pair, all.
    fn subsets() -> [Self; 8] {
        let of = |[slow_start, distillation, reweighting]: [bool; 3]| Self { slow_start, distillation, reweighting };
        [
            of([false, false, false]),
            of([true, false, false]),
            of([false, true, false]),
            of([false, false, true]),
            of([true, true, false]),
            of([true, false, true]),
            of([false, true, true]),
            of([true, true, true]),
        ]
    }

    /// Returns the names of the techniques.
    fn names(self) -> Vec<&'static str> {
        let all =
            [(self.slow_start, "slow start"), (self.distillation, "distillation"), (self.reweighting, "reweighting")];
        all.into_iter().filter_map(|(is_used, name)| is_used.then_some(name)).collect()
    }
}

/// A variant of the network, trained in one arm for each seed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Variant {
    /// A slimmable network with its initial weights.
    Untrained,
    /// A plain network with the channels of this width.
    Alone(f64),
    /// A slimmable network, trained on the sum of its widths' losses with these techniques; naive without any.
    Slimmable(Techniques),
    /// Naive, with PCGrad.
    Pcgrad,
    /// Naive, with CAGrad.
    Cagrad,
    /// A slimmable network trained on labels.
    Supervised,
}

impl Variant {
    /// The slimmable network without any technique, which the others are compared with.
    pub const NAIVE: Self = Self::Slimmable(Techniques { slow_start: false, distillation: false, reweighting: false });

    /// Returns all variants for a network of these widths, in the order of the table.
    pub fn all(widths: &[f64]) -> Vec<Self> {
        let mut all = vec![Self::Untrained];
        all.extend(widths.iter().map(|width| Self::Alone(*width)));
        all.extend(Techniques::subsets().map(Self::Slimmable));
        all.extend([Self::Pcgrad, Self::Cagrad, Self::Supervised]);
        all
    }

    /// Returns the name of the arm that trains it with a seed.
    pub fn arm_name(self, seed: u64) -> String {
        arm_name(self, seed)
    }

    /// Returns the arm that trains it with a seed, given the options that the arms share.
    pub fn arm(self, seed: u64, shared: &Config) -> Arm {
        Arm::new(self.arm_name(seed), self.config(&Config { seed, ..shared.clone() }))
    }

    /// Returns the title of its row in the tables.
    pub fn title(self) -> String {
        match self {
            Self::Untrained => "untrained".into(),
            Self::Alone(_) => "each width alone".into(),
            Self::NAIVE => "slimmable, naive".into(),
            Self::Slimmable(Techniques::ALL) => "SlimCLR: all three".into(),
            Self::Slimmable(techniques) => format!("naive + {}", techniques.names().join(" + ")),
            Self::Pcgrad => "naive + PCGrad".into(),
            Self::Cagrad => "naive + CAGrad".into(),
            Self::Supervised => "slimmable, supervised".into(),
        }
    }

    /// Returns the width of its network for a column of the tables, if it has one.
    pub fn network_width(self, width: f64) -> Option<f64> {
        match self {
            Self::Alone(of) => (of == width).then_some(1.0),
            _ => Some(width),
        }
    }

    /// Returns whether the paper's figures 3 to 5 show it.
    pub fn is_in_figures(self) -> bool {
        matches!(self, Self::NAIVE | Self::Slimmable(Techniques::ALL) | Self::Supervised)
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
            Self::Untrained => {
                let epochs = UNTRAINED_EPOCHS.min(base.epochs);
                Config { epochs, learning_rate: 0.0, interference: false, ..naive }
            }
            // Its widths do not interfere.
            Self::Alone(width) => Config { interference: false, ..plain(&naive, width) },
            Self::Slimmable(Techniques { slow_start, distillation, reweighting }) => Config {
                slow_start: if slow_start { SLOW_START } else { 0.0 },
                distill: if distillation { Distillation::Seed } else { Distillation::None },
                reweighting: if reweighting { Reweighting::FullTakesAll } else { Reweighting::Equal },
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
    /// Writes its name on the command line, which begins the names of its arms.
    fn fmt(&self, formatter: &mut Formatter) -> std::fmt::Result {
        let name = match *self {
            Self::Untrained => "untrained",
            Self::Alone(width) => return write!(formatter, "alone-{width:?}"),
            Self::NAIVE => "naive",
            Self::Slimmable(Techniques::ALL) => "slimclr",
            Self::Slimmable(techniques) => {
                let names: Vec<String> = techniques.names().iter().map(|name| name.replace(' ', "-")).collect();
                return formatter.write_str(&names.join("+"));
            }
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
            "untrained alone-1.0 alone-0.75 alone-0.5 alone-0.25 naive slow-start distillation reweighting \
             slow-start+distillation slow-start+reweighting distillation+reweighting slimclr pcgrad cagrad supervised"
        );
        let naive = Variant::NAIVE.config(&base);
        let of_naive = (naive.method, naive.slow_start, naive.distill, naive.reweighting, naive.surgery);
        assert_eq!(of_naive, (MethodKind::Mocov2, 0.0, Distillation::None, Reweighting::Equal, Surgery::None));
        assert!(naive.interference && naive.init.is_empty());
        let plain = Config { widths: vec![1.0], interference: false, ..naive.clone() };
        let expected = [
            ("untrained", Config { learning_rate: 0.0, epochs: 0.1, interference: false, ..naive.clone() }),
            ("alone-0.25", Config { multiplier: 0.5, ..plain }),
            ("slow-start", Config { slow_start: 0.5, ..naive.clone() }),
            ("distillation", Config { distill: Distillation::Seed, ..naive.clone() }),
            ("reweighting", Config { reweighting: Reweighting::FullTakesAll, ..naive.clone() }),
            ("slow-start+reweighting", Config { distill: Distillation::None, interference: true, ..base.clone() }),
            ("pcgrad", Config { surgery: Surgery::Pcgrad, ..naive.clone() }),
            ("cagrad", Config { surgery: Surgery::Cagrad, ..naive.clone() }),
            // The preset is SlimCLR's configuration.
            ("slimclr", Config { interference: true, ..base.clone() }),
        ];
        let all = Variant::all(&base.widths);
        for (name, expected) in expected {
            let variant = all.iter().find(|variant| variant.to_string() == name).unwrap();
            assert_eq!(variant.config(&base), expected, "{name}");
        }
        for variant in all {
            let Arm { name, config, .. } = variant.arm(3, &base);
            config.check().unwrap();
            assert_eq!((name, config.seed), (format!("{variant}-seed3"), 3));
            let shared = |it: &Config| (it.batch, it.depth, it.data.clone(), it.weight_decay);
            assert_eq!(shared(&config), shared(&base), "{variant}");
            assert!(config.epochs == base.epochs || variant == Variant::Untrained, "{variant}");
        }
    }

    #[test]
    fn the_title_names_the_techniques() {
        let titles: Vec<String> = Techniques::subsets().map(|it| Variant::Slimmable(it).title()).to_vec();
        assert_eq!(
            titles.join(", "),
            "slimmable, naive, naive + slow start, naive + distillation, naive + reweighting, \
             naive + slow start + distillation, naive + slow start + reweighting, naive + distillation + reweighting, \
             SlimCLR: all three"
        );
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
