//! The results of the comparison so far.

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;
use serde::{Serialize, Serializer};

use super::{
    Variant,
    measure::{self, Measure},
};
use crate::experiment::{
    Experiment,
    arm_result::{ArmResult, State},
    mean::Mean,
    seeds,
    setting::Setting,
    tables,
};

/// What the arms share, and the networks that they have given.
#[derive(Serialize)]
pub struct Results {
    #[serde(flatten)]
    pub(super) setting: Setting,
    /// The seeds of the arms, ascending.
    pub(super) seeds: Vec<u64>,
    /// The networks of the variants that have started, in the order of the tables.
    pub(super) networks: Vec<Network>,
    /// The gradients of the slimmable variants, as far as an arm is done.
    pub(super) gradients: Vec<VariantGradients>,
    /// The arms that have started, by seed, then in the order of the tables.
    pub(super) arms: Vec<ArmResult>,
}

/// One network of a variant: means over the seeds of which the arm is done.
#[derive(Serialize)]
pub(super) struct Network {
    #[serde(serialize_with = "name")]
    pub variant: Variant,
    pub width: f64,
    /// Each measure by its name.
    pub measures: BTreeMap<&'static str, Mean>,
    /// The difference to the naive network of the same seed and width.
    pub minus_naive: BTreeMap<&'static str, Mean>,
    /// The seeds with which it learned nothing: kNN, or its own classifier, is not better than before training by two
    /// standard errors of the difference.
    pub learned_nothing_with: Vec<u64>,
    /// Whether one of its arms has failed.
    pub has_failed: bool,
}

/// What figures 3 to 5 show of a variant, as means over the seeds.
#[derive(Serialize)]
pub(super) struct VariantGradients {
    #[serde(serialize_with = "name")]
    pub variant: Variant,
    /// See [`Gradients`](crate::experiment::gradients::Gradients).
    pub narrowest_over_rest: Mean,
    pub cosine: Mean,
    pub conflict: Mean,
    pub first_direction: Option<Mean>,
    /// The winding of the path of the full network's weights, and of the narrowest's.
    pub winding: Option<[Mean; 2]>,
}

impl Results {
    /// Reads the results so far, including those of earlier commands; `seeds` are those of this one.
    ///
    /// # Errors
    /// If a run's events or landscape cannot be read.
    pub fn of(experiment: &Experiment, seeds: &[u64]) -> Result<Self> {
        let (setting, seeds) = (experiment.setting()?, seeds::so_far(experiment.out(), seeds));
        let variants = Variant::all(&setting.options.widths);
        let names = seeds.iter().flat_map(|seed| variants.iter().map(move |variant| variant.arm_name(*seed)));
        let arms: Vec<Option<ArmResult>> = names.map(|name| experiment.result(&name)).collect::<Result<_>>()?;
        Ok(Self::new(setting, seeds, arms.into_iter().flatten().collect()))
    }

    /// Collects the results of `arms`.
    pub(super) fn new(setting: Setting, seeds: Vec<u64>, arms: Vec<ArmResult>) -> Self {
        let widths = &setting.options.widths;
        let runs = Runs { arms: &arms, seeds: &seeds };
        let started = Variant::all(widths).into_iter().filter(|variant| runs.have_started(*variant));
        let of_variant = |variant: Variant| {
            widths.iter().filter_map(move |width| Some((variant, *width, variant.network_width(*width)?)))
        };
        let networks = started.clone().flat_map(of_variant).map(|network| runs.network(network)).collect();
        let gradients = started.filter_map(|variant| runs.gradients(variant)).collect();
        Self { networks, gradients, setting, seeds, arms }
    }

    /// Writes the tables and the JSON file into an experiment's folder.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        tables::write(folder, &self.markdown(), self)
    }
}

/// The runs of all variants.
struct Runs<'a> {
    arms: &'a [ArmResult],
    seeds: &'a [u64],
}

impl<'a> Runs<'a> {
    fn with_seed(&self, variant: Variant, seed: u64) -> Option<&'a ArmResult> {
        let name = variant.arm_name(seed);
        self.arms.iter().find(|arm| arm.arm == name)
    }

    fn have_started(&self, variant: Variant) -> bool {
        self.seeds.iter().any(|seed| self.with_seed(variant, *seed).is_some())
    }

    /// Returns the arms of a variant that are done, with their seeds.
    fn done(&self, variant: Variant) -> impl Iterator<Item = (u64, &'a ArmResult)> {
        let arms = self.seeds.iter().filter_map(move |seed| Some((*seed, self.with_seed(variant, *seed)?)));
        arms.filter(|(_, arm)| arm.state == State::Done)
    }

    /// Collects the results of a variant's network for the column `column`, which has the width `width` in it.
    fn network(&self, (variant, column, width): (Variant, f64, f64)) -> Network {
        let mean = |measure: &Measure| {
            let values: Vec<f64> = self.done(variant).filter_map(|(_, arm)| (measure.of)(arm, width)).collect();
            Mean::of(&values)
        };
        let minus_naive = |measure: &Measure| {
            let naive = |seed| {
                let (_, arm) = self.done(Variant::NAIVE).find(|(other, _)| *other == seed)?;
                (measure.of)(arm, column)
            };
            let differences =
                self.done(variant).filter_map(|(seed, arm)| Some((measure.of)(arm, width)? - naive(seed)?));
            Mean::of(&differences.collect::<Vec<_>>()).filter(|_| variant != Variant::NAIVE)
        };
        let learned_nothing = |(seed, arm): (u64, &ArmResult)| (arm.has_learned(width) == Some(false)).then_some(seed);
        let has_failed = |seed: &u64| {
            let arm = self.with_seed(variant, *seed);
            arm.is_some_and(|arm| matches!(arm.state, State::Failed { .. }))
        };
        Network {
            variant,
            width: column,
            measures: measure::all().filter_map(|it| Some((it.name, mean(&it)?))).collect(),
            minus_naive: measure::ACCURACIES.iter().filter_map(|it| Some((it.name, minus_naive(it)?))).collect(),
            learned_nothing_with: match variant {
                Variant::Untrained => Vec::new(),
                _ => self.done(variant).filter_map(learned_nothing).collect(),
            },
            has_failed: self.seeds.iter().any(has_failed),
        }
    }

    /// Collects the gradients of a variant; `None` if no arm is done that measured them.
    fn gradients(&self, variant: Variant) -> Option<VariantGradients> {
        let measured: Vec<_> = self.done(variant).filter_map(|(_, arm)| arm.gradients).collect();
        let mean = |values: Vec<f64>| Mean::of(&values);
        let winding = |is_full: bool| {
            let paths = self.done(variant).flat_map(|(_, arm)| &arm.paths);
            mean(paths.filter(|path| (path.width == 1.0) == is_full).map(|path| path.winding).collect())
        };
        Some(VariantGradients {
            variant,
            narrowest_over_rest: mean(measured.iter().map(|it| it.narrowest_over_rest).collect())?,
            cosine: mean(measured.iter().map(|it| it.cosine).collect())?,
            conflict: mean(measured.iter().map(|it| it.conflict).collect())?,
            first_direction: mean(measured.iter().filter_map(|it| it.first_direction).collect()),
            winding: winding(true).zip(winding(false)).map(|(full, narrowest)| [full, narrowest]),
        })
    }
}

fn name<S: Serializer>(variant: &Variant, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(variant)
}
