//! `cargo xtask gpu-check`: does the GPU compute what the CPU computes, and how fast?
//!
//! Nothing is built: the chore needs this program and a `slimclr` program, and, to compare speeds, a Python
//! with PyTorch.

mod agreement;
mod events;
mod process;
mod pytorch;
mod table;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use tempfile::TempDir;

use self::{
    agreement::{Comparison, Tolerance},
    events::{Log, Outcome},
    process::End,
    pytorch::{PyTorch, Rate},
    table::{Row, Verdict},
};
use crate::{
    duration::InWords,
    pytorch::{STEP, unpack},
};

/// Compare the losses on every device with the CPU's, and time the training step on each
///
/// Builds nothing. Runs the `slimclr` program for a few steps on the CPU and on each device and prints one
/// table: the largest relative difference of a loss to the CPU's, images per second, and how many times
/// PyTorch's rate that is where Python has PyTorch (its rate on CUDA for every GPU device). Ends with exit
/// code 1 if a device disagrees with the CPU or fails; a device that is not there is reported and no error.
///
/// On a machine without cargo, carry the two programs there and call `./xtask gpu-check`. To check CUDA,
/// build slimclr with `--features cuda`.
#[derive(Args)]
pub struct GpuCheck {
    /// The slimclr program [default: the one beside this program, else in the target directory]
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Devices that must be there, separated by commas [default: those of cuda, vulkan, webgpu that are]
    #[arg(long, value_name = "DEVICE", value_delimiter = ',')]
    devices: Vec<String>,
    /// Keep what the runs write in this folder, new or empty [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Longest that one run may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    limit: u64,

    /// Steps whose losses are compared
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Agreement")]
    steps: u64,
    /// Largest relative difference of a loss at the first step, which nothing has amplified yet
    #[arg(long, value_name = "FRACTION", default_value_t = 1e-3, help_heading = "Agreement")]
    first_tolerance: f64,
    /// Largest relative difference of a loss at the later steps
    #[arg(long, value_name = "FRACTION", default_value_t = 1e-2, help_heading = "Agreement")]
    tolerance: f64,

    /// Layers of the CIFAR ResNet that is timed
    #[arg(long, value_name = "N", default_value_t = 20, help_heading = "Timing")]
    depth: usize,
    /// Images per step
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u64).range(2..), help_heading = "Timing")]
    batch: u64,
    /// Steps timed on a GPU, after as many as compiling and tuning its kernels takes
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Timing")]
    gpu_steps: u64,
    /// Steps timed on the CPU
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Timing")]
    cpu_steps: u64,
    /// The Python whose PyTorch is timed
    #[arg(long, value_name = "PATH", default_value = "python3", help_heading = "Timing")]
    python: PathBuf,
}

/// The reference of every comparison.
const CPU: &str = "cpu";
const GPUS: [&str; 3] = ["cuda", "vulkan", "webgpu"];
const WIDTHS: &str = "1.0,0.75,0.5,0.25";
/// Keys in the queue of a timed run, as in the CIFAR-10 recipe.
const QUEUE: u64 = 4096;
/// Epochs of a run that is not meant to reach its end.
const FOR_EVER: &str = "1000000";

/// Which steps of a run are timed, for our program and for PyTorch alike.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Timing {
    /// Steps before the timed ones.
    warmup: u64,
    /// Timed steps.
    steps: u64,
    /// Steps between PyTorch's looks at the clock. Each makes the device finish, so a GPU, which runs behind
    /// the program, must not be asked at every step; our program looks about four times a second.
    stretch: u64,
}

impl Timing {
    fn gpu(steps: u64) -> Self {
        Self { warmup: 20, steps, stretch: steps.min(10) }
    }

    fn cpu(steps: u64) -> Self {
        Self { warmup: 2, steps, stretch: 1 }
    }
}

impl GpuCheck {
    /// Runs the check and prints its table.
    ///
    /// # Errors
    /// If the CPU's run fails, or a device that is there disagrees with it or fails.
    pub fn run(self) -> Result<()> {
        let bench = Bench::new(&self)?;
        let reference = match bench.losses(CPU)? {
            Outcome::Ran(log) => log,
            Outcome::Absent(why) | Outcome::Failed(why) => bail!("the CPU's run failed: {why}"),
        };
        agreement::check_reference(&reference.steps)?;

        let mut rows = vec![bench.cpu_row(&reference)?];
        for device in self.devices() {
            rows.push(bench.gpu_row(device, &reference)?);
        }
        let pytorch = bench.pytorch_beside(&rows)?;
        println!("{}", table::render(&rows, &pytorch));
        conclude(&rows)
    }

    /// The devices to compare with the CPU.
    fn devices(&self) -> Vec<&str> {
        if self.devices.is_empty() {
            return GPUS.to_vec();
        }
        self.devices.iter().map(String::as_str).filter(|device| *device != CPU).collect()
    }
}

/// The last sentence, and with it the exit code.
fn conclude(rows: &[Row]) -> Result<()> {
    let named = |verdict: fn(&Verdict) -> bool| -> Vec<&str> {
        rows.iter().filter(|row| verdict(&row.verdict)).map(|row| row.device.as_str()).collect()
    };
    let wrong = named(Verdict::is_wrong);
    ensure!(wrong.is_empty(), "not as on the CPU: {}", wrong.join(", "));
    let right = named(|verdict| *verdict == Verdict::Agrees);
    if right.is_empty() {
        println!("No GPU device is there: nothing was compared.");
    } else {
        println!("As on the CPU: {}.", right.join(", "));
    }
    Ok(())
}

/// Where the runs take place.
struct Bench<'a> {
    options: &'a GpuCheck,
    program: PathBuf,
    folder: PathBuf,
    /// PyTorch's programs.
    programs: PathBuf,
    /// Removes the folder at the end, if it is a temporary one.
    _temporary: Option<TempDir>,
}

impl<'a> Bench<'a> {
    fn new(options: &'a GpuCheck) -> Result<Self> {
        let program = program(options.program.as_deref())?;
        ensure!(
            QUEUE.is_multiple_of(options.batch),
            "--batch {} does not divide the queue of {QUEUE} keys: use a power of 2",
            options.batch
        );
        let (folder, temporary) = match &options.out {
            Some(folder) => {
                let shown = folder.display();
                fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {shown}"))?;
                let is_empty = fs::read_dir(folder)?.next().is_none();
                ensure!(is_empty, "--out {shown} is not empty: name a new folder");
                (folder.clone(), None)
            }
            None => {
                let temporary = tempfile::Builder::new().prefix("gpu-check-").tempdir()?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        Ok(Self { options, program, programs: unpack(&folder)?, folder, _temporary: temporary })
    }

    /// The losses of the first steps of the smallest preset.
    fn losses(&self, device: &str) -> Result<Outcome> {
        self.pretrain("losses", device, self.options.steps, &[])
    }

    /// Images per second on a network large enough to fill a GPU; or why there is no such figure.
    fn rate(&self, device: &str, timing: Timing) -> Result<Result<f64, String>> {
        let options = flat([
            ("--depth", self.options.depth.to_string()),
            ("--batch", self.options.batch.to_string()),
            ("--queue", QUEUE.to_string()),
        ]);
        Ok(match self.pretrain("timing", device, timing.warmup + timing.steps, &options)? {
            Outcome::Ran(log) => events::median_rate(&log.steps, timing.warmup)
                .ok_or_else(|| "the timed run logged no step after its warm-up".into()),
            Outcome::Absent(why) | Outcome::Failed(why) => Err(format!("the timed run failed: {why}")),
        })
    }

    fn cpu_row(&self, reference: &Log) -> Result<Row> {
        let rate = self.rate(CPU, Timing::cpu(self.options.cpu_steps))?;
        Ok(Row {
            device: CPU.into(),
            adapter: Some(reference.adapter.clone()),
            largest: None,
            images_per_second: rate.as_ref().ok().copied(),
            verdict: match rate {
                Ok(_) => Verdict::Reference,
                Err(why) => Verdict::Failed(why),
            },
        })
    }

    fn gpu_row(&self, device: &str, reference: &Log) -> Result<Row> {
        let row =
            |verdict| Row { device: device.into(), adapter: None, largest: None, images_per_second: None, verdict };
        let log = match self.losses(device)? {
            Outcome::Ran(log) => log,
            Outcome::Absent(why) if self.options.devices.is_empty() => return Ok(row(Verdict::Absent(why))),
            Outcome::Absent(why) => return Ok(row(Verdict::Failed(format!("not there: {why}")))),
            Outcome::Failed(why) => return Ok(row(Verdict::Failed(why))),
        };
        let row = |verdict| Row { adapter: Some(log.adapter.clone()), ..row(verdict) };
        let tolerance = Tolerance { first: self.options.first_tolerance, later: self.options.tolerance };
        let comparison = match Comparison::new(&reference.steps, &log.steps, tolerance) {
            Ok(comparison) => comparison,
            Err(error) => return Ok(row(Verdict::Failed(error.to_string()))),
        };
        let row = |verdict| Row { largest: Some(comparison.largest.clone()), ..row(verdict) };
        if let Some(difference) = comparison.first_beyond {
            return Ok(row(Verdict::Disagrees(difference)));
        }
        // Software that plays a GPU is good for comparing, but would take an hour to time.
        if log.is_software() {
            return Ok(row(Verdict::Agrees));
        }
        Ok(match self.rate(device, Timing::gpu(self.options.gpu_steps))? {
            Ok(rate) => Row { images_per_second: Some(rate), ..row(Verdict::Agrees) },
            Err(why) => row(Verdict::Failed(why)),
        })
    }

    /// PyTorch's rates, for the devices of which we have our own.
    fn pytorch_beside(&self, rows: &[Row]) -> Result<PyTorch> {
        let options = self.options;
        let is_timed = |row: &Row| row.images_per_second.is_some();
        let (mut cpu, mut cuda) = (Rate::NotAsked, Rate::NotAsked);
        if rows.iter().any(|row| row.device == CPU && is_timed(row)) {
            cpu = self.pytorch(CPU, Timing::cpu(options.cpu_steps))?;
        }
        if rows.iter().any(|row| row.device != CPU && is_timed(row)) {
            cuda = self.pytorch("cuda", Timing::gpu(options.gpu_steps))?;
        }
        Ok(PyTorch { cpu, cuda })
    }

    fn pytorch(&self, device: &str, timing: Timing) -> Result<Rate> {
        let mut command = Command::new(&self.options.python);
        command.arg(self.programs.join(STEP)).args(["--device", device, "--widths", WIDTHS]).args(flat([
            ("--depth", self.options.depth.to_string()),
            ("--batch", self.options.batch.to_string()),
            ("--queue", QUEUE.to_string()),
            ("--warmup", timing.warmup.to_string()),
            ("--steps", timing.steps.to_string()),
            ("--stretch", timing.stretch.to_string()),
        ]));
        let name = format!("pytorch-{device}");
        let (end, words) = self.finish(&name, &format!("PyTorch on {device}: timing"), &mut command, || false)?;
        Ok(Rate::read(end, &words))
    }

    /// The first `steps` of a run of `slimclr pretrain` on `device`, all widths from the first step on.
    ///
    /// The run is made to last for ever and ended when it has logged its steps: one that ends by itself
    /// soon would evaluate and report at its end.
    fn pretrain(&self, purpose: &str, device: &str, steps: u64, arguments: &[String]) -> Result<Outcome> {
        let name = format!("{device}-{purpose}").replace(':', "-");
        let out = self.folder.join(&name);
        let mut command = Command::new(&self.program);
        command.args(["pretrain", "--preset", "mini", "--device", device, "--out"]).arg(&out);
        command.args(["--widths", WIDTHS, "--slow-start", "0", "--warmup", "0", "--epochs", FOR_EVER]);
        command.args(["--evaluate-every", FOR_EVER, "--checkpoint-every", FOR_EVER]);
        command.args(["--image-size", "32", "--bn-splits", "1", "--interference", "false"]).args(arguments);
        let lines = || fs::read_to_string(out.join("events.jsonl")).unwrap_or_default();
        let is_done = || Log::read(&lines()).is_ok_and(|log| log.is_some_and(|log| log.has_steps(steps)));
        let (end, words) = self.finish(&name, &format!("{device}: {purpose}"), &mut command, is_done)?;
        Ok(Outcome::new(end, &words, &lines(), steps))
    }

    /// Runs a command until it ends or is done, saying so, and returns how it ended and what it printed.
    fn finish(
        &self,
        name: &str,
        what: &str,
        command: &mut Command,
        is_done: impl Fn() -> bool,
    ) -> Result<(End, String)> {
        eprint!("{what} … ");
        let start = Instant::now();
        let log = self.folder.join(format!("{name}.log"));
        let end = process::finish(command, &log, Duration::from_secs(self.options.limit), is_done);
        eprintln!("{}", InWords(start.elapsed()));
        let words = fs::read(&log).unwrap_or_default();
        Ok((end?, String::from_utf8_lossy(&words).into_owned()))
    }
}

/// The `slimclr` program: the one asked for, else the one that lies beside this program, as it does after a
/// build and where both were carried, else the one in the target directory.
fn program(asked: Option<&Path>) -> Result<PathBuf> {
    let file = format!("slimclr{}", env::consts::EXE_SUFFIX);
    let candidates: Vec<PathBuf> = match asked {
        Some(path) => vec![path.to_owned()],
        None => {
            let own = env::current_exe().ok().and_then(|own| Some(own.parent()?.to_owned()));
            let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
            own.into_iter().chain([target.join("release")]).map(|folder| folder.join(&file)).collect()
        }
    };
    // Absolute, because a bare name would be looked for in the folders of PATH.
    if let Some(program) = candidates.iter().find_map(|path| path.canonicalize().ok()) {
        return Ok(program);
    }
    let tried: Vec<_> = candidates.iter().map(|path| path.display().to_string()).collect();
    bail!(
        "there is no slimclr program at {}: build one (`cargo build --release --package slimclr`, with \
         `--features cuda` to check CUDA) or name one with --program",
        tried.join(" or ")
    )
}

fn flat<const N: usize>(options: [(&str, String); N]) -> Vec<String> {
    options.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sentence_follows_the_verdicts() {
        let row =
            |verdict| Row { device: "cuda".into(), adapter: None, largest: None, images_per_second: None, verdict };
        assert!(conclude(&[row(Verdict::Reference), row(Verdict::Absent("no driver".into()))]).is_ok());
        assert!(conclude(&[row(Verdict::Reference), row(Verdict::Agrees)]).is_ok());
        let error = conclude(&[row(Verdict::Reference), row(Verdict::Failed("signal".into()))]).unwrap_err();
        assert!(error.to_string().contains("cuda"));
    }
}
