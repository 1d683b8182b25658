//! Learning-rate schedules of the two-stage methods.

use serde::Deserialize;
use serde_json::Value;
use slimclr_core::schedule::{Decay, LrSchedule};

use crate::{
    compare::Differences,
    runners::{SCHEDULE, field},
};

/// The rates of one recipe.
#[derive(Deserialize)]
#[serde(tag = "recipe", rename_all = "snake_case")]
enum Recipe {
    Seed {
        base_lr: f64,
        batch: f64,
        warmup: u64,
        epochs: u64,
        points: Points,
    },
    EpochCosine {
        base_lr: f64,
        epochs: u64,
        points: Points,
    },
    Compress {
        base_lr: f64,
        milestones: Vec<f64>,
        factor: f64,
        points: Points,
    },
    Simdis {
        lr: f64,
        warmup: u64,
        epochs: u64,
        iterations_per_epoch: u64,
        points: Points,
    },
    Swav {
        base_lr: f64,
        final_lr: f64,
        start_warmup: f64,
        warmup: u64,
        epochs: u64,
        iterations_per_epoch: u64,
        points: Points,
    },
}

/// Epochs or iterations, and their learning rates.
type Points = Vec<(u64, f64)>;

/// Steps of an epoch, where rates are given by epoch: any number will do.
const STEPS: u64 = 7;

/// The learning rate in SimDis' first step.
const SIMDIS_START: f64 = 1e-6;

pub fn two_stage_schedule(case: &Value) -> Differences {
    let mut differences = Differences::default();
    let plain = LrSchedule {
        decay: Decay::Cosine,
        peak: 0.0,
        warmup_start: 0.0,
        final_rate: 0.0,
        total_steps: 0,
        warmup_steps: 0,
        steps_per_epoch: 1,
        milestones: Vec::new(),
        milestone_factor: 1.0,
    };
    for recipe in field::<Vec<Recipe>>(case, "rows") {
        // The rate is that of all of the point's steps.
        let mut compare = |name: &str, schedule: LrSchedule, points: Points, steps: fn(u64) -> std::ops::Range<u64>| {
            for (point, expected) in points {
                for step in steps(point) {
                    let found = schedule.rate(step);
                    differences.number(&format!("{name} at {point}"), found, expected, SCHEDULE);
                }
            }
        };
        let of_epoch = |epoch: u64| epoch * STEPS..(epoch + 1) * STEPS;
        let itself = |iteration: u64| iteration..iteration + 1;
        match recipe {
            Recipe::Seed { base_lr, batch, warmup, epochs, points } => {
                let schedule = LrSchedule {
                    decay: Decay::EpochCosine,
                    peak: base_lr * batch / 256.0,
                    warmup_start: base_lr,
                    total_steps: epochs * STEPS,
                    warmup_steps: warmup * STEPS,
                    steps_per_epoch: STEPS,
                    ..plain.clone()
                };
                compare("seed", schedule, points, of_epoch);
            }
            Recipe::EpochCosine { base_lr, epochs, points } => {
                let schedule = LrSchedule {
                    decay: Decay::EpochCosine,
                    peak: base_lr,
                    total_steps: epochs * STEPS,
                    steps_per_epoch: STEPS,
                    ..plain.clone()
                };
                compare("epoch_cosine", schedule, points, of_epoch);
            }
            Recipe::Compress { base_lr, milestones, factor, points } => {
                let schedule = LrSchedule {
                    decay: Decay::Step,
                    peak: base_lr,
                    steps_per_epoch: STEPS,
                    milestones,
                    milestone_factor: factor,
                    ..plain.clone()
                };
                compare("compress", schedule, points, |epoch| (epoch - 1) * STEPS..epoch * STEPS);
            }
            Recipe::Simdis { lr, warmup, epochs, iterations_per_epoch, points } => {
                let schedule = LrSchedule {
                    peak: lr,
                    warmup_start: SIMDIS_START,
                    total_steps: epochs * iterations_per_epoch,
                    warmup_steps: warmup * iterations_per_epoch,
                    steps_per_epoch: iterations_per_epoch,
                    ..plain.clone()
                };
                compare("simdis", schedule, points, itself);
            }
            Recipe::Swav { base_lr, final_lr, start_warmup, warmup, epochs, iterations_per_epoch, points } => {
                let schedule = LrSchedule {
                    decay: Decay::Swav,
                    peak: base_lr,
                    warmup_start: start_warmup,
                    final_rate: final_lr,
                    total_steps: epochs * iterations_per_epoch,
                    warmup_steps: warmup * iterations_per_epoch,
                    steps_per_epoch: iterations_per_epoch,
                    ..plain.clone()
                };
                compare("swav", schedule, points, itself);
            }
        }
    }
    differences
}
