//! The program on several processes, which `mpirun` starts: they do what one does, end together, and resume on another
//! number of processes. Needs the feature `mpi`, and MPI.

#[allow(dead_code, reason = "the tests of one process use the rest")]
#[path = "../cli/program.rs"]
mod program;

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use program::{TINY, events, losses, pretrain, program, slimclr, succeeds, text};
use serde_json::Value;

/// Time limit of a run.
const LIMIT: Duration = Duration::from_secs(240);
/// Time limit of the end of all processes after that of one, on a machine under load.
const SOON: Duration = Duration::from_secs(8);

/// Options of a run of twenty steps.
const RUN: [&str; 8] = ["--epochs", "0.0525", "--evaluate-every", "0", "--knn-images", "30", "--interference", "false"];

/// Returns the launcher of `count` processes, without limits of the machine's cores.
fn mpirun(count: usize) -> Command {
    let mut launcher = Command::new("mpirun");
    launcher.args(["-n", &count.to_string()]);
    let version = Command::new("mpirun").arg("--version").output().expect("mpirun is installed");
    if String::from_utf8_lossy(&version.stdout).contains("Open MPI") {
        launcher.args(["--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]);
        launcher.args(["--mca", "btl", "self,vader", "--mca", "pml", "ob1", "--mca", "oob_tcp_if_include", "lo"]);
        launcher.envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")]);
    }
    launcher.env("RAYON_NUM_THREADS", "1").env("SLIMCLR_CACHE", env!("CARGO_TARGET_TMPDIR"));
    launcher
}

/// Several processes of the program with these arguments, in training.
struct Job {
    launcher: Child,
    started: Instant,
}

impl Job {
    fn start(count: usize, arguments: &[&str]) -> Self {
        let mut launcher = mpirun(count);
        launcher.arg(program().get_program()).args(arguments);
        Self::of(launcher)
    }

    fn of(mut launcher: Command) -> Self {
        let launcher = launcher.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { launcher: launcher.spawn().unwrap(), started: Instant::now() }
    }

    /// Waits until `run` has taken this many steps.
    fn wait_for_step(&mut self, run: &Path, step: u64) {
        let has_taken = |event: &Value| event["event"] == "step" && event["step"].as_u64() >= Some(step);
        while !run.join("events.jsonl").is_file() || !whole_events(run).iter().any(has_taken) {
            assert!(self.launcher.try_wait().unwrap().is_none(), "the run ended before step {step}");
            assert!(self.started.elapsed() < LIMIT, "step {step} was not taken");
            sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal to the process with this number among those of the launcher.
    fn signal(&self, name: &str, number: usize) {
        let children = Command::new("pgrep").args(["-P", &self.launcher.id().to_string(), "slimclr"]).output().unwrap();
        let children = String::from_utf8(children.stdout).unwrap();
        let child = children.lines().nth(number).expect("the launcher has started it");
        assert!(Command::new("kill").args([&format!("-{name}"), child]).status().unwrap().success());
    }

    /// Waits for the end of all, and returns what they wrote.
    fn end(mut self) -> Output {
        let (mut out, mut err) = (self.launcher.stdout.take().unwrap(), self.launcher.stderr.take().unwrap());
        let read = |stream: &mut dyn Read| {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).map(|_| bytes).unwrap()
        };
        thread::scope(|scope| {
            let [stdout, stderr] = [scope.spawn(move || read(&mut out)), scope.spawn(move || read(&mut err))];
            let status = loop {
                if let Some(status) = self.launcher.try_wait().unwrap() {
                    break status;
                }
                if self.started.elapsed() > LIMIT {
                    self.launcher.kill().unwrap();
                    panic!("the processes have not ended");
                }
                sleep(Duration::from_millis(10));
            };
            Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
        })
    }
}

/// Runs several processes to their end.
fn together(count: usize, arguments: &[&str]) -> Output {
    Job::start(count, &[&["pretrain"], TINY, arguments].concat()).end()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).replace('\0', "")
}

/// Reads the events whose line is complete.
fn whole_events(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("events.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[track_caller]
fn assert_close(a: &[Value], b: &[Value], allowed: f64) {
    assert_eq!(a.len(), b.len());
    for (step, (a, b)) in a.iter().zip(b).enumerate() {
        for (a, b) in a.as_array().unwrap().iter().zip(b.as_array().unwrap()) {
            let [a, b] = [a, b].map(|loss| loss.as_f64().unwrap());
            assert!((a - b).abs() < allowed * b.abs().max(1.0), "step {}: {a}, not {b}", step + 1);
        }
    }
}

#[test]
fn processes_equal_micro_batches_and_repeat_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (count, parts) in [(2, "2"), (4, "4")] {
        let [alone, first, second] = ["alone", "first", "second"].map(|name| path(&format!("{name}-{count}")));
        succeeds(&pretrain(&[&RUN[..], &["--accumulate", parts, "--out", &text(&alone)]].concat()));
        for out in [&first, &second] {
            let output = together(count, &[&RUN[..], &["--out", &text(out)]].concat());
            assert!(output.status.success(), "{}", stderr(&output));
            assert_eq!(stderr(&output).matches("widths 1, 0.75, 0.5, 0.25").count(), 1, "one process reports");
        }
        assert_close(&losses(&first), &losses(&alone), 1e-3);
        assert_eq!(losses(&first), losses(&second));
        let checkpoint = |run: &Path| fs::read(run.join("checkpoint.safetensors")).unwrap();
        assert!(checkpoint(&first) == checkpoint(&second), "the checkpoints differ");
        assert_eq!(events(&first)[0]["ranks"], count);
        let communication = |event: &Value| event["communication"].as_f64().is_some_and(|part| part < 1.0);
        assert!(events(&first).iter().filter(|event| event["event"] == "step").all(communication));
        assert!(first.join("report.html").is_file() && events(&alone)[0].get("ranks").is_none());
    }
}

/// With synchronised batch norm, the number of processes changes nothing but rounding.
#[test]
fn a_run_resumes_on_another_number_of_processes() {
    let folder = tempfile::tempdir().unwrap();
    let [uninterrupted, resumed] = ["uninterrupted", "resumed"].map(|name| folder.path().join(name));
    let options = [&RUN[..], &["--sync-bn", "--out"]].concat();
    succeeds(&pretrain(&[&options[..], &[&text(&uninterrupted)]].concat()));

    let out = text(&resumed);
    let resume = ["pretrain", "--resume", &out];
    let start = [&["pretrain"], TINY, &options, &[&out]].concat();
    let mut job = Job::start(2, &start);
    job.wait_for_step(&resumed, 5);
    // Any process may get the signal, which all obey.
    job.signal("TERM", 1);
    let output = job.end();
    assert!(stderr(&output).contains("stopped; resume with: slimclr pretrain --resume"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert_eq!(whole_events(&resumed).iter().filter(|event| event["event"] == "checkpoint").count(), 1);

    let output = slimclr(&resume);
    succeeds(&output);
    let said = stderr(&output);
    assert!(said.contains("the run was trained by 2 processes, and continues on one process"), "{said}");
    assert_close(&losses(&resumed), &losses(&uninterrupted), 1e-2);
}

/// The last checkpoint stands, and the run resumes from it.
#[test]
fn a_killed_process_ends_all() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let out = text(&run);
    let options = ["--epochs", "1", "--evaluate-every", "0", "--knn-images", "30", "--checkpoint-every", "0.01"];
    let mut job = Job::start(2, &[&["pretrain"], TINY, &options, &["--out", &out]].concat());
    for (step, process) in [(9, 0), (20, 1)] {
        job.wait_for_step(&run, step);
        let start = Instant::now();
        job.signal("KILL", process);
        let output = job.end();
        assert!(!output.status.success());
        assert!(start.elapsed() < SOON, "they ended after {:?}", start.elapsed());
        job = Job::start(2, &["pretrain", "--resume", &out]);
    }
    job.wait_for_step(&run, 30);
    job.signal("TERM", 0);
    assert_eq!(job.end().status.code(), Some(130));
}

#[test]
fn what_cannot_be_trained_together_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("run"));
    let refuses = |output: &Output, sentence: &str| {
        let message = stderr(output);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(sentence), "'{sentence}' is not in: {message}");
        assert_eq!(message.lines().filter(|line| line.starts_with("error")).count(), 1, "{message}");
    };
    let uneven = together(3, &[&RUN[..], &["--out", &out]].concat());
    refuses(&uneven, "a micro-batch of 8 images does not divide among 3 processes");

    let mut launcher = mpirun(1);
    let with_seed = |seed| [&["pretrain"], TINY, &RUN[..], &["--out", &out, "--seed", seed]].concat();
    launcher.arg(program().get_program()).args(with_seed("1")).args([":", "-n", "1"]);
    launcher.arg(program().get_program()).args(with_seed("2"));
    let start = Instant::now();
    refuses(&Job::of(launcher).end(), "this process has another set of options than process 0");
    assert!(start.elapsed() < SOON, "it took {:?}", start.elapsed());

    let alone = program().args(["pretrain", "--out", &out]).env("WORLD_SIZE", "2").output().unwrap();
    refuses(&alone, "the launcher has started 2 processes, but each is alone");
    let other = program().args(["report", &out]).env("WORLD_SIZE", "2").output().unwrap();
    refuses(&other, "only pretrain and finetune use several: start report without the launcher");
}
