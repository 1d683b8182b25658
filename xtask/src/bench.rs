//! `cargo xtask bench`: how fast is this, beside what others do on the same machine?

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

/// Measure speed and memory beside another program
///
/// Builds this project's side, sets up the other's, and measures both by turns on the same shapes. Beside PyTorch: training
/// steps of the CIFAR ResNet-20 (batch 64, 32 pixels) and of ResNet-50 (batch 8, 224 pixels) at one width and more,
/// evaluation at each width, augmentation on one core, kNN, peak memory. In a browser: the page's training step beside
/// TensorFlow.js', both in Chromium, without a GPU and on WebGPU (by a software renderer, the same everywhere). Prints a
/// table: medians, the median of the ratios round by round, what is asked for, and the floor, which is the figure if nothing
/// took time but the operations or bytes that cannot be done without, at the rates measured here. A ratio above 1 is in
/// our favour, but for `schedule-*`, `memory-*` and `interference`, which compare this project with itself: there, less is
/// better.
#[derive(Args)]
#[command(group = ArgGroup::new("beside").required(true))]
pub struct Bench {
    /// The other program
    #[arg(long, value_enum, group = "beside")]
    against: Option<Peer>,
    /// Measure in a browser, beside TensorFlow.js
    #[arg(long, group = "beside")]
    browser: bool,
    /// Write the rows to this file too, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rows to measure, separated by commas [default: all]
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    rows: Vec<String>,
    /// Measurements of what takes longest; of what takes less time there are more
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
}

/// What to measure beside.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Peer {
    /// PyTorch, torchvision and Pillow, on the CPU
    Pytorch,
}

const STAGE: &str = "bench";

/// What to measure, and by whom.
struct Contest {
    /// The other program's name, over its column.
    peer: &'static str,
    sets: Vec<Set>,
    sides: Sides,
    /// Whether the programs measure the machine too, for the floor.
    has_floor: bool,
    /// About the figures, below the table.
    remarks: &'static str,
}

/// The two programs.
struct Sides {
    ours: Program,
    theirs: Program,
}

/// How a program is started.
struct Program {
    path: OsString,
    argument: Option<PathBuf>,
    variables: Vec<(&'static str, PathBuf)>,
}

impl Bench {
    /// Measures and prints the table.
    ///
    /// # Errors
    /// If a side cannot be built or breaks off, or a row is not known.
    pub fn run(self) -> Result<()> {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir()?;
        let sets = |all| chosen(all, &self.rows);
        let json = self.json.as_deref().map(create).transpose()?;
        let contest = match self.against {
            Some(Peer::Pytorch) => native::beside_pytorch(folder.path(), sets)?,
            None => page::beside_tensorflow(sets)?,
        };

        let start = Instant::now();
        let sides = &contest.sides;
        let before = contest.has_floor.then(|| sides.machine()).transpose()?;
        let (mut all, mut ways) = (Vec::new(), Vec::new());
        for set in &contest.sets {
            let measured = sides.measure(&set.name, &set.jobs(), self.rounds as usize * set.repeats)?;
            ways.extend(
                measured.iter().filter_map(|series| Some(format!("{}: {}", series.job.0, series.way.as_ref()?))),
            );
            all.push((set, measured));
        }
        // Again, since a host that is shared may have been busy the first time.
        let machine = match before {
            Some(before) => Some(before.or(sides.machine()?)),
            None => None,
        };
        let mut lines = Vec::new();
        for (set, measured) in &all {
            for row in &set.rows {
                match row.line(measured, machine) {
                    Some(line) => lines.push(line),
                    None => info(STAGE, &format!("{}: this system does not tell the memory of a program", row.name)),
                }
            }
        }
        info(STAGE, &format!("done in {}", HumanDuration(start.elapsed())));
        println!("{}", row::render(contest.peer, &lines));
        if let Some(machine) = machine {
            println!("{machine}.");
        }
        let programs: BTreeSet<&str> = all.iter().flat_map(|(_, measured)| measured).map(|it| it.by.as_str()).collect();
        println!("{}, in f32. {}", Vec::from_iter(programs).join(" and "), contest.remarks);
        println!("The fastest ways of {}:", contest.peer);
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

impl Sides {
    fn start(&self, side: Side, job: &Job) -> Result<Worker> {
        match side {
            Side::Ours => self.ours.start(job),
            Side::Theirs => self.theirs.start(job),
        }
    }

    /// What the machine does in a second: the best that either program gets out of it.
    fn machine(&self) -> Result<Machine> {
        let jobs = [(Side::Ours, Job::multiply()), (Side::Theirs, Job::multiply()), (Side::Theirs, Job::copy())];
        let measured = self.measure("machine", &jobs, 5)?;
        let best = |job: &Job| {
            let rates = measured.iter().filter(|series| series.job == *job).flat_map(|series| &series.rates);
            rates.copied().fold(0.0, f64::max)
        };
        let [operations, bytes] = [best(&Job::multiply()), best(&Job::copy())];
        Ok(Machine { operations, bytes })
    }

    /// Starts a program for each job and asks them by turns.
    fn measure(&self, name: &str, jobs: &[(Side, Job)], rounds: usize) -> Result<Vec<Series>> {
        let start = Instant::now();
        eprint!("[{STAGE}] {name}: getting ready");
        let mut workers = Vec::new();
        for (side, job) in jobs {
            let mut worker = self.start(*side, job)?;
            // The first time is not counted: the other programs were not there yet.
            let first = worker.measure()?;
            let way = first.way();
            let (by, needs) = (worker.is.clone(), first.needs);
            let series = Series { side: *side, by, job: job.clone(), rates: Vec::new(), needs, way, peak: None };
            workers.push((worker, series));
        }
        eprint!(", round");
        for round in 1..=rounds {
            eprint!(" {round}");
            for (worker, series) in &mut workers {
                series.rates.push(worker.measure()?.rate());
            }
            // Whoever was first is last in the next one: a machine that grows slower favours nobody.
            workers.reverse();
        }
        eprintln!(" of {rounds}, {}", HumanDuration(start.elapsed()));
        let finished = |(worker, series): (Worker, Series)| Series { peak: worker.peak(), ..series };
        Ok(workers.into_iter().map(finished).collect())
    }
}

/// The sets with the rows that are asked for.
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
        row::sets("photo.jpg", "small.png")
    }

    #[test]
    fn only_known_rows_can_be_asked_for() {
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
