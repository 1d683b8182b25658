//! `cargo xtask gpu-check`: does the GPU compute the same losses as the CPU, and how fast?
//!
//! It builds nothing: it needs this program and `slimclr` and, to compare speeds, a Python with PyTorch.

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

/// Compare every device's losses with the CPU's, and time training steps on each
///
/// Builds nothing. Runs `slimclr` for a few steps on the CPU and on each device, and prints two tables. The first has
/// the largest relative difference between a device's loss and the CPU's. The second has the images per second and, if
/// Python has PyTorch, the ratio to PyTorch's (on CUDA, for all GPU devices): for a CIFAR ResNet in f32 and, on GPUs,
/// for ResNet-50 at 224 pixels, batch 256, in bf16.
///
/// The exit code is 1 if a device disagrees with the CPU or fails. A device that the machine does not have is no
/// failure, nor is one that lacks bf16 or the memory for ResNet-50.
///
/// On a machine without cargo, copy the two programs there and run `./xtask gpu-check`. To check CUDA, build slimclr
/// with `--features cuda`.
#[derive(Args)]
pub struct GpuCheck {
    /// The slimclr program [default: the one in the folder of this program, or else in the target directory]
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Devices that must be present, separated by commas [default: those of cuda, vulkan, webgpu that are]
    #[arg(long, value_name = "DEVICE", value_delimiter = ',')]
    devices: Vec<String>,
    /// Keep the files of the runs in this folder, new or empty [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Longest time for one run, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    limit: u64,

    /// Steps to compare losses of
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..),
        help_heading = "Agreement"
    )]
    steps: u64,
    /// Largest relative difference of a loss at the first step, before differences accumulate
    #[arg(long, value_name = "FRACTION", default_value_t = 1e-3, help_heading = "Agreement")]
    first_tolerance: f64,
    /// Largest relative difference of a loss at the later steps
    #[arg(long, value_name = "FRACTION", default_value_t = 1e-2, help_heading = "Agreement")]
    tolerance: f64,

    /// Depth of the CIFAR ResNet
    #[arg(long, value_name = "N", default_value_t = 20, help_heading = "Timing")]
    depth: usize,
    /// Images per step of the CIFAR ResNet
    #[arg(
        long,
        value_name = "N",
        default_value_t = 512,
        value_parser = clap::value_parser!(u64).range(2..),
        help_heading = "Timing"
    )]
    batch: u64,
    /// Steps timed on a GPU, after those in which kernels are compiled and tuned; a fifth of this for ResNet-50
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..),
        help_heading = "Timing"
    )]
    gpu_steps: u64,
    /// Steps timed on the CPU
    #[arg(
        long,
        value_name = "N",
        default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..),
        help_heading = "Timing"
    )]
    cpu_steps: u64,
    /// The Python to time PyTorch with
    #[arg(long, value_name = "PATH", default_value = "python3", help_heading = "Timing")]
    python: PathBuf,
}

/// The reference device.
const CPU: &str = "cpu";
const GPUS: [&str; 3] = ["cuda", "vulkan", "webgpu"];
const WIDTHS: &str = "1.0,0.75,0.5,0.25";
/// Epochs of a run that is stopped before its end.
const FOREVER: &str = "1000000";

impl GpuCheck {
    /// Runs the check and prints its tables.
    ///
    /// # Errors
    /// If the CPU's run fails, or a device disagrees with it or fails.
    pub fn run(self) -> Result<()> {
        let (rows, speeds) = self.measure()?;
        println!("{}", table::render(&rows, &speeds));
        conclude(&rows)
    }

    fn measure(&self) -> Result<(Vec<Row>, Vec<Speeds>)> {
        let check = Check::new(self)?;
        let mut rows = check.compare()?;
        let speeds =
            Workload::all(self).iter().map(|workload| check.time(workload, &mut rows)).collect::<Result<_>>()?;
        Ok((rows, speeds))
    }

    /// Returns the devices to compare with the CPU.
    fn devices(&self) -> Vec<&str> {
        if self.devices.is_empty() {
            return GPUS.to_vec();
        }
        self.devices.iter().map(String::as_str).filter(|device| *device != CPU).collect()
    }
}

/// Prints the result.
///
/// # Errors
/// If a device disagrees or fails.
fn conclude(rows: &[Row]) -> Result<()> {
    let named = |verdict: fn(&Verdict) -> bool| -> Vec<&str> {
        rows.iter().filter(|row| verdict(&row.verdict)).map(|row| row.device.as_str()).collect()
    };
    let wrong = named(Verdict::is_wrong);
    ensure!(wrong.is_empty(), "these disagree with the CPU or fail: {}", wrong.join(", "));
    let right = named(|verdict| *verdict == Verdict::Agrees);
    if right.is_empty() {
        println!("There is no GPU device to compare with the CPU.");
    } else {
        println!("These agree with the CPU: {}.", right.join(", "));
    }
    Ok(())
}

/// The programs and folders of a check.
struct Check<'a> {
    options: &'a GpuCheck,
    program: PathBuf,
    folder: PathBuf,
    /// The folder of PyTorch's programs.
    programs: PathBuf,
    /// Removes the folder at the end if it is temporary.
    _temporary: Option<TempDir>,
}

impl<'a> Check<'a> {
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

    /// Compares every device's losses with the CPU's.
    ///
    /// # Errors
    /// If the CPU's run fails.
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

    /// Runs the first steps of the smallest preset.
    fn losses(&self, device: &str) -> Result<Outcome> {
        self.pretrain("losses", device, self.options.steps, &["--image-size".into(), "32".into()])
    }

    fn gpu_row(&self, device: &str, reference: &Log) -> Result<Row> {
        let row = |verdict| Row { device: device.into(), adapter: None, largest: None, verdict };
        let log = match self.losses(device)? {
            Outcome::Ran(log) => log,
            Outcome::Absent(why) if self.options.devices.is_empty() => return Ok(row(Verdict::Absent(why))),
            Outcome::Absent(why) => return Ok(row(Verdict::Failed(format!("not present: {why}")))),
            Outcome::Failed(why) => return Ok(row(Verdict::Failed(why))),
        };
        let row = |verdict| Row { adapter: Some(log.adapter.clone()), ..row(verdict) };
        let tolerance = Tolerance { first: self.options.first_tolerance, later: self.options.tolerance };
        Ok(match Comparison::new(&reference.steps, &log.steps, tolerance) {
            Ok(Comparison { largest, first_above }) => {
                Row { largest: Some(largest), ..row(first_above.map_or(Verdict::Agrees, Verdict::Disagrees)) }
            }
            Err(error) => row(Verdict::Failed(error.to_string())),
        })
    }

    /// Times a workload on the devices that agree. A device that fails at a workload for all devices is marked as
    /// failed.
    fn time(&self, workload: &Workload, rows: &mut [Row]) -> Result<Speeds> {
        let mut slimclr = Vec::new();
        for row in rows.iter_mut().filter(|row| row.is_worth_timing()) {
            let Some(timing) = workload.timing(&row.device) else { continue };
            match self.rate(&row.device, workload, timing)? {
                Err(why) if workload.is_for_all() => row.verdict = Verdict::Failed(why),
                rate => slimclr.push((row.device.clone(), rate)),
            }
        }
        // PyTorch is timed only on devices that slimclr was timed on.
        let is_timed = |on_cpu| slimclr.iter().any(|(device, rate)| (device == CPU) == on_cpu && rate.is_ok());
        let pytorch = |on_cpu, device| match workload.timing(device).filter(|_| is_timed(on_cpu)) {
            Some(timing) => self.pytorch(device, workload, timing),
            None => Ok(Rate::NotMeasured),
        };
        let pytorch = PyTorch { cpu: pytorch(true, CPU)?, cuda: pytorch(false, "cuda")? };
        Ok(Speeds { workload: workload.to_string(), slimclr, pytorch })
    }

    /// Times slimclr. Returns its images per second, or why there are none.
    fn rate(&self, device: &str, workload: &Workload, timing: Timing) -> Result<Result<f64, String>> {
        Ok(match self.pretrain(&workload.slug(), device, timing.warmup + timing.steps, &workload.slimclr_flags())? {
            Outcome::Ran(log) => events::median_rate(&log.steps, timing.warmup)
                .ok_or_else(|| "the timed run logged no step after the warm-up".into()),
            Outcome::Absent(why) | Outcome::Failed(why) => Err(format!("the timed run failed: {why}")),
        })
    }

    fn pytorch(&self, device: &str, workload: &Workload, timing: Timing) -> Result<Rate> {
        let mut command = Command::new(&self.options.python);
        command.arg(self.programs.join(STEP)).args(["--device", device, "--widths", WIDTHS]);
        command.args(workload.pytorch_flags()).args(timing.pytorch_flags());
        let slug = workload.slug();
        let (end, output) = self.finish(
            &format!("pytorch-{device}-{slug}"),
            &format!("PyTorch on {device}: {slug}"),
            &mut command,
            || false,
        )?;
        Ok(Rate::read(end, &output))
    }

    /// Runs the first `steps` of `slimclr pretrain` on `device`, with all widths from the first step on.
    ///
    /// The run would last forever, and is stopped when it has logged its steps: at its end it would evaluate and write
    /// a report.
    fn pretrain(&self, purpose: &str, device: &str, steps: u64, arguments: &[String]) -> Result<Outcome> {
        let name = format!("{device}-{purpose}").replace(':', "-");
        let out = self.folder.join(&name);
        let mut command = Command::new(&self.program);
        command.args(["pretrain", "--preset", "mini", "--multiplier", "1", "--device", device, "--out"]).arg(&out);
        command.args(["--widths", WIDTHS, "--slow-start", "0", "--warmup", "0", "--epochs", FOREVER]);
        command.args(["--evaluate-every", FOREVER, "--checkpoint-every", FOREVER]);
        command.args(["--bn-splits", "1", "--interference", "false"]).args(arguments);
        let lines = || fs::read_to_string(out.join("events.jsonl")).unwrap_or_default();
        let is_done = || Log::read(&lines()).is_ok_and(|log| log.is_some_and(|log| log.has_steps(steps)));
        let (end, output) = self.finish(&name, &format!("{device}: {purpose}"), &mut command, is_done)?;
        Ok(Outcome::new(end, &output, &lines(), steps))
    }

    /// Runs a command until it ends or is done, and logs how long it takes. Returns how it ended and what it printed.
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
        let output = fs::read(&log).unwrap_or_default();
        Ok((end?, String::from_utf8_lossy(&output).into_owned()))
    }
}

/// Returns the path of the `slimclr` program: the one that the user named, or else the one in the folder of this
/// program, where it is after a build or a copy of both, or else the one in the target directory.
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
    // Absolute, because a bare name would be searched in PATH.
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

    /// Parses the options of a command line.
    pub fn options(arguments: &[&str]) -> GpuCheck {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            check: GpuCheck,
        }
        Line::parse_from(iter::once(&"gpu-check").chain(arguments)).check
    }

    #[test]
    fn the_result_follows_the_verdicts() {
        let row = |verdict| Row { device: "cuda".into(), adapter: None, largest: None, verdict };
        assert!(conclude(&[row(Verdict::Reference), row(Verdict::Absent("no driver".into()))]).is_ok());
        assert!(conclude(&[row(Verdict::Reference), row(Verdict::Agrees)]).is_ok());
        let error = conclude(&[row(Verdict::Reference), row(Verdict::Failed("signal".into()))]).unwrap_err();
        assert!(error.to_string().contains("cuda"));
    }

    /// A slimclr that refuses bf16 on WebGPU, is killed by the CIFAR ResNet on Vulkan, and has a software renderer as
    /// cuda:1.
    #[cfg(unix)]
    const SLIMCLR: &str = r#"#!/bin/sh
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
    /// A PyTorch that has too little memory for bf16.
    #[cfg(unix)]
    const PYTORCH: &str = r#"#!/bin/sh
case "$*" in *--bf16*) echo no memory; exit 1 ;; esac
echo '{"images_per_second":40.0,"device":"GPU","backward":"joint","channels_last":true,"version":"2","threads":2,' \
    '"tf32":false}'
"#;

    #[cfg(unix)]
    #[test]
    fn a_device_fails_only_at_workloads_for_all_devices() {
        let folder = tempfile::tempdir().unwrap();
        // Copied by another program: if this one wrote the file, a child of another thread could hold it open, and then
        // it would not start.
        let script = |name: &str, text: &str| {
            let (source, path) = (folder.path().join("source"), folder.path().join(name));
            fs::write(&source, text).unwrap();
            assert!(Command::new("install").args(["-m", "755"]).args([&source, &path]).status().unwrap().success());
            path.to_str().unwrap().to_owned()
        };
        let (slimclr, python) = (script("slimclr", SLIMCLR), script("python", PYTORCH));
        let check = |devices: &str| {
            let line = [
                "--program",
                &slimclr,
                "--python",
                &python,
                "--devices",
                devices,
                "--gpu-steps",
                "1",
                "--cpu-steps",
                "1",
            ];
            options(&line).measure().unwrap()
        };

        let (rows, speeds) = check("cuda,cuda:1,webgpu");
        conclude(&rows).unwrap();
        let devices = |speeds: &Speeds| speeds.slimclr.iter().map(|(device, _)| device.clone()).collect::<Vec<_>>();
        // Software renderers are not timed, nor is the CPU for the second workload.
        assert_eq!(devices(&speeds[0]), ["cpu", "cuda", "webgpu"]);
        assert_eq!(devices(&speeds[1]), ["cuda", "webgpu"]);
        assert_eq!(speeds[0].pytorch.cuda.images_per_second(), Some(40.0));
        assert_eq!(speeds[1].pytorch, PyTorch { cpu: Rate::NotMeasured, cuda: Rate::Failed("no memory".into()) });
        assert_eq!(speeds[1].slimclr[0].1, Ok(80.0));
        assert!(speeds[1].slimclr[1].1.as_ref().unwrap_err().contains("webgpu has no bf16"));

        let (rows, speeds) = check("vulkan");
        assert!(conclude(&rows).is_err());
        assert_eq!(devices(&speeds[0]), ["cpu"]);
        assert_eq!(devices(&speeds[1]), [""; 0]);
    }
}
