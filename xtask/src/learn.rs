//! `cargo xtask learn`: does the same recipe reach the same accuracy here and in plain PyTorch?

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::{
    duration::HumanDuration,
    log::{info, timed},
    process::{cargo, run, target_directory},
    python::PYTORCH,
    pytorch,
    table::markdown,
};

const STAGE: &str = "learn";

/// Compare the accuracy of the same recipe with plain PyTorch
///
/// Trains a CIFAR ResNet with MoCo v2 on CIFAR-10, at one width and at four (slow start, distillation, reweighting),
/// with several seeds, in this program and in PyTorch and torchvision: the same network, initialisation, images,
/// augmentation, queue, optimiser and schedule. Prints the mean kNN accuracy of each width before training and after
/// each epoch, with its standard error over the seeds. The exit code is 1 if a difference after training exceeds two
/// standard errors.
#[derive(Args)]
pub struct Learn {
    /// The program to compare with
    #[arg(long, value_enum)]
    against: Peer,
    /// Seeds, separated by commas; at least two
    #[arg(long, value_delimiter = ',', default_value = "0,1,2")]
    seeds: Vec<u64>,
    /// Training images, in CIFAR-10's batches of 10,000
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=5))]
    batches: u32,
    /// Epochs
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Depth of the ResNet
    #[arg(long, default_value_t = 8)]
    depth: usize,
}

/// A program to compare with.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Peer {
    /// PyTorch and torchvision, on the CPU
    Pytorch,
}

/// The options of a run, for both programs. Those that are not here are as in `slimclr pretrain --preset cifar10`.
#[derive(Debug, Clone, Serialize)]
struct Recipe {
    backbone: &'static str,
    depth: usize,
    widths: Vec<f64>,
    batch: usize,
    queue: usize,
    temperature: f64,
    learning_rate: f64,
    warmup: f64,
    slow_start: f64,
    epochs: u32,
    seed: u64,
    data: PathBuf,
}

/// The kNN accuracy of one width, as both programs print it.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
struct Accuracy {
    epoch: f64,
    width: f64,
    knn: f64,
}

/// Accuracies by network, width (in thousandths, widest first) and epoch: one for each seed.
type Accuracies = BTreeMap<(usize, std::cmp::Reverse<u64>, u64), Vec<f64>>;

impl Learn {
    /// Trains and prints the table.
    ///
    /// # Errors
    /// If a program cannot be built or fails, or the accuracies differ.
    pub fn run(self) -> Result<()> {
        let Peer::Pytorch = self.against;
        ensure!(self.seeds.len() > 1, "--seeds: a standard error needs at least two seeds");
        let start = Instant::now();
        let python = timed("python", "PyTorch, to compare with", || PYTORCH.install())?;
        let python = python.require().context("there is no PyTorch to compare with")?;
        run(cargo().args(["build", "--release"])).context("slimclr cannot be built: see cargo's messages above")?;
        let target = target_directory()?;
        let slimclr = target.join("release").join(format!("slimclr{}", std::env::consts::EXE_SUFFIX));
        let all = target.join("cifar10");
        run(Command::new(&slimclr).args(["data", "cifar10", "--out"]).arg(&all))?;
        let folder = tempfile::Builder::new().prefix("learn-").tempdir()?;
        let data = folder.path().join("data");
        fs::create_dir(&data)?;
        let train = (1..=self.batches).map(|number| format!("data_batch_{number}.bin"));
        for name in train.chain(["test_batch.bin".to_owned()]) {
            fs::copy(all.join(&name), data.join(&name))?;
        }
        let programs = pytorch::unpack(folder.path())?;

        let (mut slimclr_accuracies, mut pytorch_accuracies) = (Accuracies::new(), Accuracies::new());
        let networks = [vec![1.0], vec![1.0, 0.75, 0.5, 0.25]];
        for (network, widths) in networks.iter().enumerate() {
            for seed in &self.seeds {
                let recipe = self.recipe(widths, *seed, &data);
                info(STAGE, &format!("widths {widths:?}, seed {seed}"));
                let out = folder.path().join(format!("run-{network}-{seed}"));
                add(&mut slimclr_accuracies, network, train_slimclr(&slimclr, &recipe, &out)?);
                add(&mut pytorch_accuracies, network, train_pytorch(&python, &programs, &recipe)?);
            }
        }
        info(STAGE, &format!("done in {}", HumanDuration(start.elapsed())));
        let (table, differing) = compare(&networks, &slimclr_accuracies, &pytorch_accuracies);
        println!("{table}");
        ensure!(differing.is_empty(), "these differ by more than two standard errors: {}", differing.join("; "));
        println!("After training, all differences are within two standard errors over {} seeds.", self.seeds.len());
        Ok(())
    }

    fn recipe(&self, widths: &[f64], seed: u64, data: &Path) -> Recipe {
        Recipe {
            backbone: "cifar",
            depth: self.depth,
            widths: widths.to_vec(),
            batch: 128,
            queue: 4096,
            temperature: 0.1,
            learning_rate: 0.06,
            warmup: 0.05,
            slow_start: 1.0 / 3.0,
            epochs: self.epochs,
            seed,
            data: data.into(),
        }
    }
}

fn train_slimclr(slimclr: &Path, recipe: &Recipe, out: &Path) -> Result<Vec<Accuracy>> {
    let flags = serde_json::to_value(recipe)?;
    let mut command = Command::new(slimclr);
    command.args(["pretrain", "--preset", "cifar10", "--device", "cpu", "--bn-splits", "1", "--evaluate-every", "1"]);
    for (key, value) in flags.as_object().context("a recipe is an object")? {
        let value = match value {
            serde_json::Value::String(text) => text.clone(),
            value => value.to_string().trim_matches(['[', ']']).to_owned(),
        };
        command.arg(format!("--{}={value}", key.replace('_', "-")));
    }
    run(command.arg("--out").arg(out).stdout(Stdio::null()))?;
    let events = fs::read_to_string(out.join("events.jsonl"))?;
    Ok(accuracies(&events))
}

fn train_pytorch(python: &Path, programs: &Path, recipe: &Recipe) -> Result<Vec<Accuracy>> {
    let mut command = Command::new(python);
    command.arg(programs.join(pytorch::LEARN)).arg(serde_json::to_string(recipe)?);
    let output = command.stderr(Stdio::inherit()).output().context("Python does not start")?;
    ensure!(output.status.success(), "PyTorch's program ended with {}: see its messages above", output.status);
    Ok(accuracies(&String::from_utf8_lossy(&output.stdout)))
}

/// Parses the lines that are accuracies, and ignores the others.
fn accuracies(lines: &str) -> Vec<Accuracy> {
    lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Adds the accuracies of one seed.
fn add(all: &mut Accuracies, network: usize, accuracies: Vec<Accuracy>) {
    for Accuracy { epoch, width, knn } in accuracies {
        let key = (network, std::cmp::Reverse((width * 1000.0).round() as u64), epoch.round() as u64);
        all.entry(key).or_default().push(100.0 * knn);
    }
}

/// Returns the mean and its standard error.
fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, (variance / count).sqrt())
}

/// Returns the table, and the rows after training whose difference exceeds two standard errors.
fn compare(networks: &[Vec<f64>], slimclr: &Accuracies, pytorch: &Accuracies) -> (String, Vec<String>) {
    let (mut rows, mut differing) = (Vec::new(), Vec::new());
    for (key, slimclr) in slimclr {
        let Some(pytorch) = pytorch.get(key) else { continue };
        let (network, std::cmp::Reverse(width), epoch) = key;
        let width = *width as f64 / 1000.0;
        let ((slimclr, slimclr_error), (pytorch, pytorch_error)) = (mean(slimclr), mean(pytorch));
        let (difference, error) = (slimclr - pytorch, slimclr_error.hypot(pytorch_error));
        let name = if networks[*network].len() == 1 { "plain" } else { "slimmable" };
        rows.push([
            name.to_owned(),
            width.to_string(),
            epoch.to_string(),
            format!("{slimclr:.1} ± {slimclr_error:.1}"),
            format!("{pytorch:.1} ± {pytorch_error:.1}"),
            format!("{difference:+.1} ± {error:.1}"),
        ]);
        if *epoch > 0 && difference.abs() > 2.0 * error {
            differing.push(format!("{name}, width {width}, epoch {epoch}: {difference:+.1} ± {error:.1}"));
        }
    }
    (markdown(["network", "width", "epoch", "slimclr, kNN in %", "PyTorch", "difference"], &rows), differing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_differences_beyond_two_standard_errors_after_training_count() {
        let accuracies = |untrained: [f64; 2], trained: [f64; 2]| {
            let mut all = Accuracies::new();
            for (epoch, values) in [(0.0, untrained), (1.0, trained)] {
                for knn in values {
                    add(&mut all, 0, vec![Accuracy { epoch, width: 0.5, knn }]);
                }
            }
            all
        };
        let slimclr = accuracies([0.3, 0.31], [0.40, 0.42]);
        let networks = [vec![1.0]];
        assert_eq!(compare(&networks, &slimclr, &accuracies([0.1, 0.11], [0.41, 0.43])).1, Vec::<String>::new());
        let (table, differing) = compare(&networks, &slimclr, &accuracies([0.3, 0.31], [0.50, 0.52]));
        assert_eq!(differing, ["plain, width 0.5, epoch 1: -10.0 ± 1.4"]);
        assert!(table.contains("41.0 ± 1.0"), "{table}");
    }

    #[test]
    fn other_lines_are_ignored() {
        let lines =
            "{\"event\":\"step\",\"epoch\":0.5}\n{\"event\":\"evaluated\",\"epoch\":1.0,\"width\":0.5,\"knn\":0.25}\n";
        assert_eq!(accuracies(lines), [Accuracy { epoch: 1.0, width: 0.5, knn: 0.25 }]);
    }
}
