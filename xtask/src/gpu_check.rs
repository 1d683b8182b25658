//! `cargo xtask gpu-check`: does the GPU compute what the CPU computes, and how fast?
//!
//! Nothing is built: the chore needs this program and a `slimclr` program, and, to compare speeds, a Python
//! with PyTorch.

mod agreement;
mod events;
mod process;
mod pytorch;
mod table;
mod workload;

use std::{
    env, fs, iter,
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
    table::{Row, Speeds, Verdict},
    workload::{CIFAR_QUEUE, Timing, Workload},
};
use crate::{
    duration::HumanDuration,
    pytorch::{STEP, unpack},
};

/// Compare the losses on every device with the CPU's, and time training steps on each
///
/// Builds nothing. Runs the `slimclr` program for a few steps on the CPU and on each device and prints two tables.
/// The first has the largest relative difference of a loss to the CPU's; the second images per second, and how many
/// times PyTorch's rate that is where Python has PyTorch (its rate on CUDA for every GPU device): of a CIFAR ResNet
/// in 32 bits, and on GPUs also of ResNet-50 at 224 pixels, batch 256, in bf16.
///
/// Ends with exit code 1 if a device disagrees with the CPU or fails; a device that is not there is reported and no
/// error, nor is one that lacks what ResNet-50 takes, bf16 or memory.
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

    /// Layers of the CIFAR ResNet
    #[arg(long, value_name = "N", default_value_t = 20, help_heading = "Timing")]
    depth: usize,
    /// Images per step of the CIFAR ResNet
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u64).range(2..), help_heading = "Timing")]
    batch: u64,
    /// Steps timed on a GPU, after as many as compiling and tuning its kernels takes; a fifth of them of ResNet-50,
    /// whose step is long
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
/// Epochs of a run that is not meant to reach its end.
const FOR_EVER: &str = "1000000";

impl GpuCheck {
    /// Runs the check and prints its tables.
    ///
    /// # Errors
    /// If the CPU's run fails, or a device that is there disagrees with it or fails.
    pub fn run(self) -> Result<()> {
        let (rows, speeds) = self.measure()?;
        println!("{}", table::render(&rows, &speeds));
        conclude(&rows)
    }

    fn measure(&self) -> Result<(Vec<Row>, Vec<Speeds>)> {
        let bench = Bench::new(self)?;
        let mut rows = bench.compare()?;
        let speeds =
            Workload::all(self).iter().map(|workload| bench.time(workload, &mut rows)).collect::<Result<_>>()?;
        Ok((rows, speeds))
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
            CIFAR_QUEUE.is_multiple_of(options.batch),
            "--batch {} does not divide the queue of {CIFAR_QUEUE} keys: use a power of 2",
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

    /// Every device's losses beside the CPU's.
    fn compare(&self) -> Result<Vec<Row>> {
        let reference = match self.losses(CPU)? {
            Outcome::Ran(log) => log,
            Outcome::Absent(why) | Outcome::Failed(why) => bail!("the CPU's run failed: {why}"),
        };
        agreement::check_reference(&reference.steps)?;
        let adapter = Some(reference.adapter.clone());
        let cpu = Row { device: CPU.into(), adapter, largest: None, verdict: Verdict::Reference };
        let gpus = self.options.devices().into_iter().map(|device| self.gpu_row(device, &reference));
        iter::once(Ok(cpu)).chain(gpus).collect()
    }

    /// The losses of the first steps of the smallest preset.
    fn losses(&self, device: &str) -> Result<Outcome> {
        self.pretrain("losses", device, self.options.steps, &["--image-size".into(), "32".into()])
    }

    fn gpu_row(&self, device: &str, reference: &Log) -> Result<Row> {
        let row = |verdict| Row { device: device.into(), adapter: None, largest: None, verdict };
        let log = match self.losses(device)? {
            Outcome::Ran(log) => log,
            Outcome::Absent(why) if self.options.devices.is_empty() => return Ok(row(Verdict::Absent(why))),
            Outcome::Absent(why) => return Ok(row(Verdict::Failed(format!("not there: {why}")))),
            Outcome::Failed(why) => return Ok(row(Verdict::Failed(why))),
        };
        let row = |verdict| Row { adapter: Some(log.adapter.clone()), ..row(verdict) };
        let tolerance = Tolerance { first: self.options.first_tolerance, later: self.options.tolerance };
        Ok(match Comparison::new(&reference.steps, &log.steps, tolerance) {
            Ok(Comparison { largest, first_beyond }) => {
                Row { largest: Some(largest), ..row(first_beyond.map_or(Verdict::Agrees, Verdict::Disagrees)) }
            }
            Err(error) => row(Verdict::Failed(error.to_string())),
        })
    }

    /// The speeds of a workload on the devices that are right. One that fails at what every device can is not.
    fn time(&self, workload: &Workload, rows: &mut [Row]) -> Result<Speeds> {
        let mut ours = Vec::new();
        for row in rows.iter_mut().filter(|row| row.is_worth_timing()) {
            let Some(timing) = workload.timing(&row.device) else { continue };
            match self.rate(&row.device, workload, timing)? {
                Err(why) if workload.is_for_all() => row.verdict = Verdict::Failed(why),
                rate => ours.push((row.device.clone(), rate)),
            }
        }
        // PyTorch's rates are for the devices of which we have our own.
        let is_timed = |on_cpu| ours.iter().any(|(device, rate)| (device == CPU) == on_cpu && rate.is_ok());
        let pytorch = |on_cpu, device| match workload.timing(device).filter(|_| is_timed(on_cpu)) {
            Some(timing) => self.pytorch(device, workload, timing),
            None => Ok(Rate::NotAsked),
        };
        let pytorch = PyTorch { cpu: pytorch(true, CPU)?, cuda: pytorch(false, "cuda")? };
        Ok(Speeds { workload: workload.to_string(), ours, pytorch })
    }

    /// Images per second of our program; or why there is no such figure.
    fn rate(&self, device: &str, workload: &Workload, timing: Timing) -> Result<Result<f64, String>> {
        Ok(match self.pretrain(&workload.slug(), device, timing.warmup + timing.steps, &workload.ours())? {
            Outcome::Ran(log) => events::median_rate(&log.steps, timing.warmup)
                .ok_or_else(|| "the timed run logged no step after its warm-up".into()),
            Outcome::Absent(why) | Outcome::Failed(why) => Err(format!("the timed run failed: {why}")),
        })
    }

    fn pytorch(&self, device: &str, workload: &Workload, timing: Timing) -> Result<Rate> {
        let mut command = Command::new(&self.options.python);
        command.arg(self.programs.join(STEP)).args(["--device", device, "--widths", WIDTHS]);
        command.args(workload.pytorchs()).args(timing.pytorchs());
        let slug = workload.slug();
        let (end, words) = self.finish(
            &format!("pytorch-{device}-{slug}"),
            &format!("PyTorch on {device}: {slug}"),
            &mut command,
            || false,
        )?;
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
        command.args(["pretrain", "--preset", "mini", "--multiplier", "1", "--device", device, "--out"]).arg(&out);
        command.args(["--widths", WIDTHS, "--slow-start", "0", "--warmup", "0", "--epochs", FOR_EVER]);
        command.args(["--evaluate-every", FOR_EVER, "--checkpoint-every", FOR_EVER]);
        command.args(["--bn-splits", "1", "--interference", "false"]).args(arguments);
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
        eprintln!("{}", HumanDuration(start.elapsed()));
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// The options that a command line comes to.
    pub fn options(arguments: &[&str]) -> GpuCheck {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            check: GpuCheck,
        }
        Line::parse_from(iter::once(&"gpu-check").chain(arguments)).check
    }

    #[test]
    fn the_last_sentence_follows_the_verdicts() {
        let row = |verdict| Row { device: "cuda".into(), adapter: None, largest: None, verdict };
        assert!(conclude(&[row(Verdict::Reference), row(Verdict::Absent("no driver".into()))]).is_ok());
        assert!(conclude(&[row(Verdict::Reference), row(Verdict::Agrees)]).is_ok());
        let error = conclude(&[row(Verdict::Reference), row(Verdict::Failed("signal".into()))]).unwrap_err();
        assert!(error.to_string().contains("cuda"));
    }

    /// Ours refuses bf16 on WebGPU, dies of the CIFAR ResNet on Vulkan and finds software as cuda:1; PyTorch takes
    /// no bf16.
    #[cfg(unix)]
    const OURS: &str = r#"#!/bin/sh
case "$*" in
    *webgpu*bf16*) echo "error: webgpu has no bf16" >&2; exit 2 ;;
    *vulkan*f32*) kill -9 $$ ;;
    *cuda:1*) adapter=llvmpipe ;;
esac
while [ "$1" != --out ]; do shift; done
mkdir "$2"
{
    echo '{"event":"started","device":"'${adapter-GPU}'"}'
    for step in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21; do
        echo '{"event":"step","step":'$step',"loss":3.0,"losses":[2.0,1.0],"images_per_second":80.0}'
    done
} >"$2/events.jsonl"
"#;
    #[cfg(unix)]
    const PYTORCH: &str = r#"#!/bin/sh
case "$*" in *--bf16*) echo no memory; exit 1 ;; esac
echo '{"images_per_second":40.0,"device":"GPU","backward":"joint","channels_last":true,"version":"2","threads":2,"tf32":false}'
"#;

    #[cfg(unix)]
    #[test]
    fn only_a_timing_that_every_device_can_give_makes_one_wrong() {
        let folder = tempfile::tempdir().unwrap();
        // Installed by another program: what this one has open for writing, a thread's child may hold open too, and
        // then it does not start.
        let script = |name: &str, text: &str| {
            let (source, path) = (folder.path().join("source"), folder.path().join(name));
            fs::write(&source, text).unwrap();
            assert!(Command::new("install").args(["-m", "755"]).args([&source, &path]).status().unwrap().success());
            path.to_str().unwrap().to_owned()
        };
        let (ours, python) = (script("slimclr", OURS), script("python", PYTORCH));
        let check = |devices: &str| {
            let line =
                ["--program", &ours, "--python", &python, "--devices", devices, "--gpu-steps", "1", "--cpu-steps", "1"];
            options(&line).measure().unwrap()
        };

        let (rows, speeds) = check("cuda,cuda:1,webgpu");
        conclude(&rows).unwrap();
        let devices = |speeds: &Speeds| speeds.ours.iter().map(|(device, _)| device.clone()).collect::<Vec<_>>();
        // Not on software, and the second not on the CPU.
        assert_eq!(devices(&speeds[0]), ["cpu", "cuda", "webgpu"]);
        assert_eq!(devices(&speeds[1]), ["cuda", "webgpu"]);
        assert_eq!(speeds[0].pytorch.cuda.images_per_second(), Some(40.0));
        assert_eq!(speeds[1].pytorch, PyTorch { cpu: Rate::NotAsked, cuda: Rate::None("no memory".into()) });
        assert_eq!(speeds[1].ours[0].1, Ok(80.0));
        assert!(speeds[1].ours[1].1.as_ref().unwrap_err().contains("webgpu has no bf16"));

        let (rows, speeds) = check("vulkan");
        assert!(conclude(&rows).is_err());
        assert_eq!(devices(&speeds[0]), ["cpu"]);
        assert_eq!(devices(&speeds[1]), [""; 0]);
    }
}
