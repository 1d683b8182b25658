//! The tables of the comparison.

use slimclr_report::duration;

use super::{
    START_EPOCHS,
    results::{Network, Results, SystemTime},
    teacher::{Teacher, Teaching},
};
use crate::{
    experiment::{
        arm_result,
        mean::Mean,
        seeds,
        tables::{self, Unit, percent},
    },
    terminal::{self, count},
};

/// What is in the place of a number that is not known yet.
const NONE: &str = "–";

impl Results {
    /// Formats the accuracy of each network for the terminal.
    pub fn table(&self) -> String {
        let row = |network: &Network| {
            let [top1, top5] = [network.top1, network.top5].map(|mean| self.cell(network, mean));
            vec![network.system.title().to_owned(), network.student.clone(), top1, top5, time(network.seconds)]
        };
        let rows: Vec<Vec<String>> = self.networks.iter().map(row).collect();
        let heads = ["method", "student", "top-1", "top-5", "training"];
        format!("Linear probe, in %, and time without the teacher's\n{}", terminal::aligned(&heads, &rows))
    }

    /// Formats all tables in Markdown.
    pub fn markdown(&self) -> String {
        format!(
            "# Pre-training with and without a teacher, on CIFAR-10\n\n\
             {}\n\
             Each row is a network. Top-1 and top-5 are those of a linear probe, in %, which is the same for all methods. \
             The students are plain networks; SlimCLR's are slices of one network, of the same sizes. Parameters and \
             multiply-accumulates are those of the backbone, without the head, which only pre-training uses. {} {} {}\n\n\
             ## Time of pre-training\n\n\
             {}\n\
             Time of the training steps, without evaluations and without BINGO's search for similar images. A system's \
             total is the time of its teacher and of its students, one after the other. {}SlimCLR trains its networks \
             together, in one run.\n\n\
             ![Accuracy against the time of pre-training](figures/accuracy-by-time.svg)\n\n\
             ## Other measures\n\n\
             {}\n\
             Top-1 in %, of kNN and of ridge regression, which has no learning rate.\n\n\
             ## Runs\n\n\
             {}\n\
             {}",
            self.accuracies(),
            self.about_teacher(),
            self.setting.about_error(),
            self.about_seeds(),
            self.times(),
            self.about_start(),
            self.other_measures(),
            self.setting.markdown(),
            arm_result::markdown(&self.arms),
        )
    }

    /// Formats the paper's table 1: accuracy and cost of each network.
    fn accuracies(&self) -> String {
        let row = |network: &Network| {
            let [top1, top5] = [network.top1, network.top5].map(|mean| self.cell(network, mean));
            vec![
                network.system.title().to_owned(),
                network.student.clone(),
                network.teacher.clone().unwrap_or_else(|| NONE.into()),
                top1,
                top5,
                network.epochs.to_string(),
                count(network.parameters),
                count(network.macs),
            ]
        };
        let rows: Vec<Vec<String>> = self.networks.iter().map(row).collect();
        let heads = ["method", "student", "teacher", "top-1", "top-5", "epochs", "parameters", "MACs"];
        tables::markdown(&heads, &rows)
    }

    /// Formats the paper's table 4: the time of each system, with its parts.
    fn times(&self) -> String {
        let widths = &self.setting.options.widths;
        let row = |it: &SystemTime| {
            let teacher = match (it.has_teacher, it.teacher_seconds) {
                (false, _) => NONE.into(),
                (true, Some(seconds)) => duration(seconds),
                (true, None) if self.teacher.is_of_arm => NONE.into(),
                (true, None) => "not known".into(),
            };
            let of_width = |width: &f64| {
                let network =
                    self.networks.iter().find(|network| network.system == it.system && network.width == *width);
                match network.and_then(|network| network.seconds) {
                    Some(_) if it.system.trains_all_widths() => "together".into(),
                    seconds => time(seconds),
                }
            };
            let without_teacher =
                if it.has_teacher && it.teacher_seconds.is_none() { ", and the teacher's" } else { "" };
            let total = it.total().map_or_else(|| NONE.into(), |total| duration(total) + without_teacher);
            let mut row = vec![it.system.title().to_owned(), teacher];
            row.extend(widths.iter().map(of_width));
            row.extend([it.networks.to_string(), total]);
            row
        };
        let mut heads = vec!["method".to_owned(), "teacher".to_owned()];
        heads.extend(widths.iter().map(|width| format!("width {width}")));
        heads.extend(["networks".to_owned(), "total".to_owned()]);
        tables::markdown(&heads, &self.times.iter().map(row).collect::<Vec<_>>())
    }

    /// Formats the measures that the paper's tables do not have.
    fn other_measures(&self) -> String {
        let row = |network: &Network| {
            let [knn, ridge] = [network.knn, network.ridge].map(|mean| self.cell(network, mean));
            vec![network.system.title().to_owned(), network.student.clone(), knn, ridge]
        };
        let rows: Vec<Vec<String>> = self.networks.iter().map(row).collect();
        tables::markdown(&["method", "student", "kNN", "ridge regression"], &rows)
    }

    /// Formats a measure of a network.
    fn cell(&self, network: &Network, mean: Option<Mean>) -> String {
        match mean {
            Some(mean) => mean.text(Unit::Percent, self.seeds.len()),
            // Either the arm or the probe has failed.
            None if network.has_failed || network.knn.is_some() => "failed".into(),
            None => NONE.into(),
        }
    }

    /// Describes the teacher, in a sentence.
    fn about_teacher(&self) -> String {
        let Teacher { network, is_of_arm, top1, top5, .. } = &self.teacher;
        let accuracy =
            top1.zip(*top5).map(|(top1, top5)| format!(": top-1 {}, top-5 {}", percent(top1), percent(top5)));
        match is_of_arm {
            true => format!(
                "The teacher is a {network}, trained by MoCo v2 for {}{}.",
                epochs(self.setting.options.epochs),
                accuracy.unwrap_or_default()
            ),
            false => format!("The teacher is a {network}, trained before: {}.", self.setting.options.teacher),
        }
    }

    /// Says what ± means and what it leaves out.
    fn about_seeds(&self) -> String {
        let about = seeds::about(&self.seeds);
        match self.seeds.len() {
            1 => about,
            _ => format!("{about} The teacher was trained once, so its variance is not included."),
        }
    }

    /// Says what the time of a system includes that starts from another one's students.
    fn about_start(&self) -> String {
        let starts = |time: &&SystemTime| time.system.teaching() == Teaching::AtFirst;
        let system = self.times.iter().find(starts).map(|time| time.system.title());
        system.map_or_else(String::new, |system| {
            format!("The time of {system} includes the {} of SEED that it starts from. ", epochs(START_EPOCHS))
        })
    }
}

/// Formats a number of epochs with its noun.
pub(super) fn epochs(number: f64) -> String {
    format!("{number} epoch{}", if number == 1.0 { "" } else { "s" })
}

fn time(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| NONE.into(), duration)
}

#[cfg(test)]
mod tests {
    use slimclr_core::config::{Config, Recipe};

    use super::*;
    use crate::experiment::{
        arm_result::ArmResult,
        fixture::{FINISHED, probed, setting, started, step},
        methods::System,
    };

    /// Returns the result of an arm that is done, whose networks have this accuracy, less at smaller widths.
    fn done(arm: &str, widths: &[f64], accuracy: f64) -> ArmResult {
        let mut events = vec![started(widths), step(1), step(2), FINISHED];
        events.extend(widths.iter().map(|width| probed(*width, Some(accuracy * width.sqrt()))));
        ArmResult::new(arm, &events)
    }

    fn results(arms: Vec<ArmResult>, seeds: &[u64], given: Option<&Teacher>) -> Results {
        let options = Config { widths: vec![1.0, 0.25], epochs: 1.0, ..Config::mini() };
        Results::new(setting(options), seeds.to_vec(), given, arms).unwrap()
    }

    #[track_caller]
    fn has(tables: &str, line: &str) {
        assert!(tables.lines().any(|found| found == line), "'{line}' is not in:\n{tables}");
    }

    #[test]
    fn the_tables_have_accuracy_cost_and_time_of_each_network() {
        let arms = vec![
            done("teacher", &[1.0], 0.9),
            done("seed-1.0-seed0", &[1.0], 0.8),
            done("seed-0.25-seed0", &[1.0], 0.6),
            done("shi-start-0.25-seed0", &[1.0], 0.5),
            done("shi-0.25-seed0", &[1.0], 0.7),
            ArmResult::new("swav-1.0-seed0", &[started(&[1.0]), step(1)]),
            ArmResult::new("kd-1.0-seed0", &[started(&[1.0])]).failed("the loss is NaN"),
            done("slimclr-mocov2-seed0", &[1.0, 0.25], 0.8),
        ];
        let results = results(arms, &[0], None);
        let tables = results.markdown();
        let [full, quarter] = ["| CIFAR ResNet-8 x3 |", "| CIFAR ResNet-8 x0.75 |"];
        has(&tables, &format!("| SEED {full} CIFAR ResNet-8 x6 | 80.0 | 90.0 | 1 | 690 k | 27.5 M |"));
        has(&tables, &format!("| SlimCLR-MoCo v2 {full} – | 80.0 | 90.0 | 1 | 690 k | 27.5 M |"));
        has(&tables, &format!("| SlimCLR-MoCo v2 {quarter} – | 40.0 | 90.0 | 1 | 43.7 k | 1.78 M |"));
        has(&tables, &format!("| SwAV {full} – | – | – | 1 | 690 k | 27.5 M |"));
        has(&tables, &format!("| KD {full} CIFAR ResNet-8 x6 | failed | failed | 1 | 690 k | 27.5 M |"));
        has(&tables, "| method | teacher | width 1 | width 0.25 | networks | total |");
        has(&tables, "| SEED | 4.0 s | 4.0 s | 4.0 s | 2 | 12 s |");
        has(&tables, "| Shi et al. | 4.0 s | – | 8.0 s | 1 | 12 s |");
        has(&tables, "| SwAV | – | – | – | 0 | – |");
        has(&tables, "| SlimCLR-MoCo v2 | – | together | together | 2 | 4.0 s |");
        has(&tables, &format!("| SEED {quarter} 50.0 | 25.0 |"));
        for part in [
            "The teacher is a CIFAR ResNet-8 x6, trained by MoCo v2 for 1 epoch: top-1 90.0, top-5 90.0.",
            "The time of Shi et al. includes the 2 epochs of SEED that it starts from.",
            "trained once, with seed 0; the variance between seeds is not included.",
        ] {
            assert!(tables.contains(part), "{tables}");
        }
        let figure = results.figure();
        let svg = figure.svg.unwrap();
        assert!(svg.contains("Shi et al., width 0.25: 70.0 % after 12 s"), "{svg}");
        assert!(svg.contains("SEED, width 1.0: 80.0 % after 8.0 s") && svg.contains(">all 2: 12 s<"), "{svg}");
        assert!(svg.contains("SlimCLR-MoCo v2, width 0.25: 40.0 % after 4.0 s"), "{svg}");
    }

    #[test]
    fn seeds_are_averaged_and_a_teacher_of_unknown_time_is_said() {
        let arms = vec![
            done("seed-1.0-seed0", &[1.0], 0.6),
            done("seed-0.25-seed0", &[1.0], 0.5),
            done("seed-1.0-seed1", &[1.0], 0.8),
        ];
        let network = "ResNet-50".into();
        let teacher = Teacher { network, is_of_arm: false, seconds: None, top1: None, top5: None };
        let results = results(arms, &[0, 1], Some(&teacher));
        let tables = results.markdown();
        has(&tables, "| SEED | CIFAR ResNet-8 x3 | ResNet-50 | 70.0 ± 10.0 | 90.0 ± 0.0 | 1 | 690 k | 27.5 M |");
        has(
            &tables,
            "| SEED | CIFAR ResNet-8 x0.75 | ResNet-50 | 50.0 (1 of 2 seeds) | 90.0 (1 of 2 seeds) | 1 | 43.7 k | 1.78 M |",
        );
        has(&tables, "| SEED | not known | 4.0 s | 4.0 s | 2 | 8.0 s, and the teacher's |");
        assert!(tables.contains("± is the standard error over the seeds 0, 1."), "{tables}");
        assert!(results.figure().svg.unwrap().contains("SEED without its teacher’s time"));
        let json = serde_json::to_value(&results).unwrap();
        let network = &json["networks"][0];
        assert_eq!((&network["system"], &network["top1"]["runs"]), (&"SEED".into(), &2.into()));
        assert_eq!(results.times[0].system, System::Single(Recipe::Seed));
    }
}
