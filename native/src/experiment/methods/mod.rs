//! The paper's comparison with systems that learn from a teacher (tables 1 and 4), at CIFAR-10's scale.

mod markdown;
pub mod results;
mod system;
pub mod teacher;

use std::path::Path;

use anyhow::Result;
use slimclr_core::{
    config::{Config, Recipe},
    optim::OptimizerKind,
};

pub use self::system::System;
use super::{Experiment, arm::Arm, path_in, plain, seeds::arm_name};

/// The name of the arm that trains the teacher.
const TEACHER: &str = "teacher";
/// Epochs of the SEED run that Shi et al. start from.
const START_EPOCHS: f64 = 2.0;

/// Options that the arms share. The others are set by each arm.
const SHARED_OPTIONS: [&str; 21] = [
    "queue",
    "teacher",
    "teacher_depth",
    "teacher_multiplier",
    "backbone",
    "depth",
    "multiplier",
    "widths",
    "dim",
    "epochs",
    "batch",
    "accumulate",
    "recompute",
    "precision",
    "image_size",
    "data",
    "knn",
    "knn_images",
    "evaluate_every",
    "device",
    "checkpoint_every",
];

/// Returns whether the arms set the option `key` themselves.
pub fn is_set_by_arms(key: &str) -> bool {
    !SHARED_OPTIONS.contains(&key)
}

/// The comparison: what its arms train. The teacher is the one that the option `teacher` names, or else that of an arm.
pub struct Comparison<'a> {
    /// The experiment's folder.
    out: &'a Path,
    /// Options that the arms share.
    shared: &'a Config,
}

impl<'a> Comparison<'a> {
    /// The comparison of an experiment.
    pub fn of(experiment: &'a Experiment) -> Self {
        Self { out: experiment.out(), shared: experiment.shared() }
    }

    /// Returns the arms of `systems` with plain students of these widths and with each of the `seeds`, and the arms that
    /// they need. An arm comes after those that it needs.
    ///
    /// # Errors
    /// If the path of the experiment's folder is not Unicode.
    pub fn arms(&self, systems: &[System], students: &[f64], seeds: &[u64]) -> Result<Vec<Arm>> {
        let mut arms = Vec::new();
        for (seed, system) in seeds.iter().flat_map(|seed| systems.iter().map(move |system| (*seed, *system))) {
            // All widths of a slimmable network have the same arm.
            let widths = if system.trains_all_widths() { &[1.0][..] } else { students };
            for width in widths {
                arms.extend(self.arms_of(system, *width, seed)?);
            }
        }
        if arms.iter().any(|arm| arm.needs.iter().any(|needed| needed == TEACHER)) {
            arms.insert(0, Arm::new(TEACHER, teacher_config(self.shared)));
        }
        Ok(arms)
    }

    /// Returns the arms that give a system's network of this width, without the teacher's.
    fn arms_of(&self, system: System, width: f64, seed: u64) -> Result<Vec<Arm>> {
        let mut arms: Vec<Arm> = Vec::new();
        for name in arm_names(system, width, seed) {
            arms.push(Arm::new(name, self.config(system, width, seed)));
        }
        if let [start, arm] = &mut arms[..] {
            start.config = Config { epochs: START_EPOCHS, ..self.config(System::Single(Recipe::Seed), width, seed) };
            arm.config.init = path_in(self.out, &start.name)?;
            arm.needs.push(start.name.clone());
        }
        for arm in arms.iter_mut().filter(|arm| arm.config.needs_teacher()) {
            arm.config.teacher = self.shared.teacher.clone();
            if arm.config.teacher.is_empty() {
                arm.config.teacher = path_in(self.out, TEACHER)?;
                arm.needs.push(TEACHER.into());
            }
        }
        Ok(arms)
    }

    /// Returns the options that the arms with this seed share.
    fn shared(&self, seed: u64) -> Config {
        Config { seed, teacher: String::new(), ..self.shared.clone() }
    }

    /// Returns the options with which a system trains its network of this width, without the path of a teacher.
    fn config(&self, system: System, width: f64, seed: u64) -> Config {
        match system {
            System::Single(recipe) => self.student(recipe, width, seed),
            System::SlimclrMocov2 => self.shared(seed),
            System::SlimclrMocov3 => {
                let (shared, recipe) = (self.shared(seed), Config::cifar10_mocov3());
                let learning_rate = recipe.learning_rate * shared.batch as f64 / recipe.batch as f64;
                Config { learning_rate, ..shared.with_mocov3() }
            }
        }
    }

    /// Returns the options of a plain student with a system's recipe, except what the arms share.
    ///
    /// With SGD, the ratio of the rate to MoCo v2's is that of the recipe, and MoCo v2's is that of the preset: a recipe's
    /// rates are for long training with large batches.
    fn student(&self, recipe: Recipe, width: f64, seed: u64) -> Config {
        let shared = self.shared(seed);
        let config = plain(&shared, width).with_recipe(recipe);
        let of_moco = plain(&shared, width).with_recipe(Recipe::Shi).learning_rate;
        let learning_rate = match config.optimizer {
            OptimizerKind::Sgd => config.learning_rate / of_moco * shared.learning_rate,
            _ => config.learning_rate,
        };
        // CompRess has four times as many as MoCo v2; SwAV has a number of batches.
        let queue = match recipe {
            Recipe::Compress => 4 * shared.queue,
            _ => config.queue,
        };
        Config { learning_rate, queue, ..config }
    }
}

/// Returns the options of the teacher, a plain network that is trained by MoCo v2, given those that the arms share.
fn teacher_config(shared: &Config) -> Config {
    Config { depth: shared.teacher_depth, multiplier: shared.teacher_multiplier, ..plain(shared, 1.0) }
}

/// Names the arms that give a system's network of this width, in the order in which they run.
fn arm_names(system: System, width: f64, seed: u64) -> Vec<String> {
    match system {
        System::Single(recipe) => {
            let start = (recipe == Recipe::Shi).then(|| arm_name(format!("shi-start-{width:?}"), seed));
            start.into_iter().chain([arm_name(format!("{system}-{width:?}"), seed)]).collect()
        }
        System::SlimclrMocov2 | System::SlimclrMocov3 => vec![arm_name(system, seed)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::methods::teacher::Teaching;

    fn arms(shared: &Config, systems: &[System], students: &[f64], seeds: &[u64]) -> Vec<Arm> {
        Comparison { out: Path::new("out"), shared }.arms(systems, students, seeds).unwrap()
    }

    fn single(recipe: Recipe) -> System {
        System::Single(recipe)
    }

    #[test]
    fn all_arms_are_valid_and_have_what_they_share() {
        let tiny = Config { batch: 8, queue: 16, epochs: 1.0, ..Config::mini() };
        for shared in [Config::mini(), Config::cifar10(), tiny] {
            let arms = arms(&shared, &System::all(), &shared.widths, &[0, 3]);
            let mut names: Vec<&str> = arms.iter().map(|arm| arm.name.as_str()).collect();
            // The teacher; ten students and starts of four sizes, and two slimmable networks, with two seeds.
            assert_eq!(names.len(), 1 + 2 * (4 * 10 + 2));
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), arms.len());
            for Arm { name, config, .. } in &arms {
                config.check().unwrap_or_else(|error| panic!("{name}: {error}"));
                let of = |config: &Config| (config.batch, config.image_size, config.data.clone());
                assert_eq!(of(config), of(&shared), "{name}");
                let epochs = if name.starts_with("shi-start") { START_EPOCHS } else { shared.epochs };
                assert_eq!(config.epochs, epochs, "{name}");
                assert_eq!(config.seed, if name.ends_with("-seed3") { 3 } else { 0 }, "{name}");
            }
        }
    }

    #[test]
    fn an_arm_comes_after_those_that_it_needs() {
        let systems = [single(Recipe::Seed), single(Recipe::Shi), System::SlimclrMocov2];
        let shared = Config::mini();
        let arms = arms(&shared, &systems, &[0.5], &[0, 1]);
        let names: Vec<&str> = arms.iter().map(|arm| arm.name.as_str()).collect();
        assert_eq!(
            names.join(" "),
            "teacher seed-0.5-seed0 shi-start-0.5-seed0 shi-0.5-seed0 slimclr-mocov2-seed0 seed-0.5-seed1 \
             shi-start-0.5-seed1 shi-0.5-seed1 slimclr-mocov2-seed1"
        );
        let [teacher, seed, start, shi, slimclr, ..] = &arms[..] else { panic!("there are nine arms") };
        assert_eq!((&seed.needs[..], seed.config.teacher.as_str()), (&["teacher".to_owned()][..], "out/teacher"));
        assert_eq!((&start.needs, &start.config.teacher), (&seed.needs, &seed.config.teacher));
        assert_eq!((shi.needs.join(" ").as_str(), shi.config.teacher.as_str()), ("shi-start-0.5-seed0", ""));
        assert_eq!(shi.config.init, "out/shi-start-0.5-seed0");
        assert!(teacher.needs.is_empty() && slimclr.needs.is_empty());
        assert_eq!(slimclr.config, shared);
        assert_eq!((seed.config.multiplier, &seed.config.widths[..]), (0.5 * shared.multiplier, &[1.0][..]));
        let of_teacher = (teacher.config.depth, teacher.config.multiplier, &teacher.config.widths[..]);
        assert_eq!(of_teacher, (shared.teacher_depth, shared.teacher_multiplier, &[1.0][..]));
    }

    #[test]
    fn a_given_teacher_is_not_trained() {
        let shared = Config { teacher: "runs/teacher".into(), ..Config::mini() };
        let systems = [single(Recipe::Kd), single(Recipe::Swav)];
        let arms = arms(&shared, &systems, &[1.0], &[0]);
        let of = |arm: &Arm| (arm.name.clone(), arm.config.teacher.clone(), arm.needs.len());
        assert_eq!(of(&arms[0]), ("kd-1.0-seed0".into(), "runs/teacher".into(), 0));
        assert_eq!(of(&arms[1]), ("swav-1.0-seed0".into(), String::new(), 0));
        assert_eq!(arms.len(), 2);
    }

    #[test]
    fn systems_use_a_teacher_as_their_options_say() {
        let shared = Config::mini();
        for system in System::all() {
            let arms = arms(&shared, &[system], &[1.0], &[0]);
            let expected = match &arms[..] {
                [_teacher, start, _] if start.config.needs_teacher() => Teaching::AtFirst,
                [_teacher, arm] if arm.config.needs_teacher() => Teaching::Frozen,
                [arm] if arm.config.online_teacher => Teaching::Online,
                _ => Teaching::None,
            };
            assert_eq!(system.teaching(), expected, "{system}");
        }
    }

    #[test]
    fn rates_are_those_of_recipes_in_proportion_to_the_presets() {
        let shared = Config::mini();
        let rate = |system| arms(&shared, &[system], &[1.0], &[0]).pop().unwrap().config.learning_rate;
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        for recipe in [Recipe::Seed, Recipe::Disco, Recipe::Bingo, Recipe::Kd, Recipe::Shi] {
            assert!(close(rate(single(recipe)), 0.06), "{recipe:?}");
        }
        assert!(close(rate(single(Recipe::Compress)), 0.02));
        assert!(close(rate(single(Recipe::Swav)), 0.6 * 64.0 / 256.0));
        assert!(close(rate(System::SlimclrMocov3), 0.6 * 64.0 / 512.0));
    }
}
