//! What is measured of each network.

use crate::experiment::{arm_result::ArmResult, tables::Unit};

/// A measure of a network.
pub struct Measure {
    /// Its name in the JSON.
    pub name: &'static str,
    /// The title of its table.
    pub title: &'static str,
    /// How it is written.
    pub unit: Unit,
    /// Its value for a width of an arm's network.
    pub of: fn(&ArmResult, f64) -> Option<f64>,
}

/// The paper's measure of accuracy.
pub const PROBE: Measure = Measure {
    name: "probe",
    title: "Linear probe (switchable), top-1 in %",
    unit: Unit::Percent,
    of: |arm, width| arm.evaluated_at(width)?.probe,
};

/// One linear probe for all widths, of which each uses a slice.
pub const SLIMMABLE_PROBE: Measure = Measure {
    name: "probe_slimmable",
    title: "Slimmable linear probe, top-1 in %",
    unit: Unit::Percent,
    of: |arm, width| arm.evaluated_at(width)?.probe_slimmable,
};

/// By how much the slimmable probe is better.
pub const SLIMMABLE_MINUS_SWITCHABLE: Measure = Measure {
    name: "slimmable_minus_switchable",
    title: "Slimmable minus switchable linear probe, in points",
    unit: Unit::Percent,
    of: |arm, width| Some((SLIMMABLE_PROBE.of)(arm, width)? - (PROBE.of)(arm, width)?),
};

/// Measures of accuracy, of which tables show the difference to naive, too.
pub const ACCURACIES: [Measure; 3] = [
    PROBE,
    Measure {
        name: "knn",
        title: "kNN, top-1 in %",
        unit: Unit::Percent,
        of: |arm, width| arm.evaluated_at(width)?.knn,
    },
    Measure {
        name: "ridge",
        title: "Ridge regression, top-1 in %",
        unit: Unit::Percent,
        of: |arm, width| arm.evaluated_at(width)?.ridge,
    },
];

/// Measures of what training itself has reached.
pub const TRAINING: [Measure; 3] = [
    Measure {
        name: "cross_entropy",
        title: "Cross-entropy in the last 100 steps, in nats",
        unit: Unit::Number(2),
        of: |arm, width| arm.loss_at(width)?.cross_entropy.map(f64::from),
    },
    Measure {
        name: "contrastive_top1",
        title: "Contrastive accuracy in the last 100 steps, in %",
        unit: Unit::Percent,
        of: |arm, width| arm.loss_at(width)?.top1.map(f64::from),
    },
    Measure {
        name: "rankme",
        title: "RankMe",
        unit: Unit::Number(1),
        of: |arm, width| arm.evaluated_at(width)?.rankme,
    },
];

/// Returns all measures.
pub fn all() -> impl Iterator<Item = Measure> {
    ACCURACIES.into_iter().chain([SLIMMABLE_PROBE, SLIMMABLE_MINUS_SWITCHABLE]).chain(TRAINING)
}
