//! `cargo xtask bench`: speed and memory, compared with another program on the same machine.

mod job;
mod native;
mod page;
mod row;
mod worker;

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use clap::{ArgGroup, Args, ValueEnum};

use self::{
    job::Job,
    row::{Machine, Series, Set, Side},
    worker::Worker,
};
use crate::{duration::HumanDuration, log::info};

/// Compare speed and memory with another program
///
/// Builds slimclr, installs the other program, and measures both, interleaved, on the same shapes. With PyTorch:
/// training steps of the CIFAR ResNet-20 (batch 64, 32 pixels) and of ResNet-50 (batch 8, 224 pixels) at one width and
/// more, and of SEED, DisCo and SwAV with these students, evaluation at each width, augmentation on one core, kNN, peak memory. In a browser: the page's training step
/// and that of TensorFlow.js, both in Chromium, without a GPU and on WebGPU (with a software renderer, the same on
/// every machine).
///
/// Prints a table: medians, the median of the ratios of each round, the ratio's target, and the roofline, which is the
/// value if only the necessary operations or bytes took time, at the rates measured on this machine. A ratio above 1
/// means that slimclr is better; but `schedule-*`, `memory-*`, `recompute-*` and `interference` compare slimclr with
/// itself, and less is better.
#[derive(Args)]
#[command(group = ArgGroup::new("peer").required(true))]
pub struct Bench {
    /// The other program
    #[arg(long, value_enum, group = "peer")]
    against: Option<Peer>,
    /// Measure in a browser, against TensorFlow.js
    #[arg(long, group = "peer")]
    browser: bool,
    /// Write the rows to this file too, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rows to measure, separated by commas [default: all]
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    rows: Vec<String>,
    /// Measurements of the slowest rows; faster ones are measured more often
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
}

/// A program to compare with.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Peer {
    /// PyTorch, torchvision and Pillow, on the CPU
    Pytorch,
}

const STAGE: &str = "bench";

/// What to measure, and the programs that do it.
struct Comparison {
    /// The other program's name, the heading of its column.
    peer: &'static str,
    sets: Vec<Set>,
    programs: Programs,
    /// Whether the programs can measure the machine, for the roofline.
    has_roofline: bool,
    /// Remarks below the table.
    remarks: &'static str,
}

/// The two programs.
struct Programs {
    slimclr: Program,
    peer: Program,
}

/// How to start a program.
struct Program {
    path: OsString,
    argument: Option<PathBuf>,
    variables: Vec<(&'static str, PathBuf)>,
}

impl Bench {
    /// Measures and prints the table.
    ///
    /// # Errors
    /// If a program cannot be built or fails, or there is no such row.
    pub fn run(self) -> Result<()> {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir()?;
        let sets = |all| chosen(all, &self.rows);
        let json = self.json.as_deref().map(create).transpose()?;
        let comparison = match self.against {
            Some(Peer::Pytorch) => native::against_pytorch(folder.path(), sets)?,
            None => page::against_tensorflow(sets)?,
        };

        let start = Instant::now();
        let programs = &comparison.programs;
        let before = comparison.has_roofline.then(|| programs.machine()).transpose()?;
        let (mut all, mut ways) = (Vec::new(), Vec::new());
        for set in &comparison.sets {
            let measured = programs.measure(&set.name, &set.jobs(), self.rounds as usize * set.repeats)?;
            ways.extend(
                measured.iter().filter_map(|series| Some(format!("{}: {}", series.job.0, series.way.as_ref()?))),
            );
            all.push((set, measured));
        }
        // Again, because a shared host may have been busy the first time.
        let machine = match before {
            Some(before) => Some(before.max(programs.machine()?)),
            None => None,
        };
        let mut lines = Vec::new();
        for (set, measured) in &all {
            for row in &set.rows {
                match row.line(measured, machine) {
                    Some(line) => lines.push(line),
                    None => info(STAGE, &format!("{}: this system does not report a program's memory", row.name)),
                }
            }
        }
        info(STAGE, &format!("done in {}", HumanDuration(start.elapsed())));
        println!("{}", row::render(comparison.peer, &lines));
        if let Some(machine) = machine {
            println!("{machine}.");
        }
        let names: BTreeSet<&str> = all.iter().flat_map(|(_, measured)| measured).map(|it| it.by.as_str()).collect();
        println!(
            "{}, in f32 except where a row is of bf16. {}",
            Vec::from_iter(names).join(" and "),
            comparison.remarks
        );
        println!("The fastest variants of {}:", comparison.peer);
        ways.iter().for_each(|way| println!("- {way}"));
        if let Some(json) = json {
            serde_json::to_writer_pretty(json, &lines)?;
        }
        Ok(())
    }
}

impl Program {
    fn start(&self, job: &Job) -> Result<Worker> {
        let mut command = Command::new(&self.path);
        command.args(&self.argument).envs(self.variables.iter().map(|(name, value)| (name, value)));
        Worker::start(command, job.clone())
    }
}

impl Programs {
    fn start(&self, side: Side, job: &Job) -> Result<Worker> {
        match side {
            Side::Slimclr => self.slimclr.start(job),
            Side::Peer => self.peer.start(job),
        }
    }

    /// Measures the machine's rates: the best that either program reaches.
    fn machine(&self) -> Result<Machine> {
        let jobs = [(Side::Slimclr, Job::multiply()), (Side::Peer, Job::multiply()), (Side::Peer, Job::copy())];
        let measured = self.measure("machine", &jobs, 5)?;
        let best = |job: &Job| {
            let rates = measured.iter().filter(|series| series.job == *job).flat_map(|series| &series.rates);
            rates.copied().fold(0.0, f64::max)
        };
        let [operations, bytes] = [best(&Job::multiply()), best(&Job::copy())];
        Ok(Machine { operations, bytes })
    }

    /// Starts a program for each job, and measures them interleaved.
    fn measure(&self, name: &str, jobs: &[(Side, Job)], rounds: usize) -> Result<Vec<Series>> {
        let start = Instant::now();
        eprint!("[{STAGE}] {name}: starting");
        let mut workers = Vec::new();
        for (side, job) in jobs {
            let mut worker = self.start(*side, job)?;
            // The first measurement does not count: not all programs were running yet.
            let first = worker.measure()?;
            let way = first.way();
            let (by, needs) = (worker.name.clone(), first.needs);
            let series = Series { side: *side, by, job: job.clone(), rates: Vec::new(), needs, way, peak: None };
            workers.push((worker, series));
        }
        eprint!(", round");
        for round in 1..=rounds {
            eprint!(" {round}");
            for (worker, series) in &mut workers {
                series.rates.push(worker.measure()?.rate());
            }
            // In the opposite order next time, so that a machine that slows down favours no program.
            workers.reverse();
        }
        eprintln!(" of {rounds}, {}", HumanDuration(start.elapsed()));
        let finished = |(worker, series): (Worker, Series)| Series { peak: worker.peak(), ..series };
        Ok(workers.into_iter().map(finished).collect())
    }
}

/// Returns the sets with the rows that the user asked for.
///
/// # Errors
/// If there is no such row.
fn chosen(mut sets: Vec<Set>, asked: &[String]) -> Result<Vec<Set>> {
    if asked.is_empty() {
        return Ok(sets);
    }
    let known: Vec<String> = sets.iter().flat_map(|set| &set.rows).map(|row| row.name.clone()).collect();
    for name in asked {
        ensure!(known.contains(name), "there is no row '{name}': choose from {}", known.join(", "));
    }
    for set in &mut sets {
        set.rows.retain(|row| asked.contains(&row.name));
    }
    sets.retain(|set| !set.rows.is_empty());
    Ok(sets)
}

fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Set> {
        row::sets(&row::ImageFiles { camera: "camera.jpg", photograph: "photo.jpg", small: "small.png" })
    }

    #[test]
    fn only_existing_rows_can_be_chosen() {
        let names = |asked: &[&str]| {
            let asked: Vec<String> = asked.iter().copied().map(String::from).collect();
            let sets = chosen(all(), &asked)?;
            Ok(sets.iter().flat_map(|set| &set.rows).map(|row| row.name.clone()).collect::<Vec<_>>())
        };
        let found: Result<_> = names(&["schedule-4", "step-resnet20-1"]);
        assert_eq!(found.unwrap(), ["step-resnet20-1", "schedule-4"]);
        assert!(names(&[]).unwrap().len() > 20);
        let error = names(&["step-resnet20-1", "step-resnet20"]).unwrap_err().to_string();
        assert!(error.contains("no row 'step-resnet20':") && error.contains("step-resnet20-4"), "{error}");
    }
}
