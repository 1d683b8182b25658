//! Signals: what they stop, how soon, and what is left.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use slimclr_core::checkpoint::Checkpoint;

use crate::program::{TINY, events, image_folder, losses, pretrain, slimclr, succeeds, text};

/// Time limit of what a machine under load should do at once.
const SOON: Duration = Duration::from_secs(8);
/// Time limit of waiting for a line.
const LIMIT: Duration = Duration::from_secs(120);

/// A running program, whose standard error is read.
struct Running {
    child: Child,
    stderr: Receiver<String>,
    seen: String,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (send, stderr) = channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { child, stderr, seen: String::new() }
    }

    fn slimclr(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slimclr"));
        command.args(arguments);
        Self::start(command)
    }

    /// Waits until a line contains `part`.
    #[track_caller]
    fn wait_for(&mut self, part: &str) {
        let start = Instant::now();
        while !self.seen.lines().last().is_some_and(|line| line.contains(part)) {
            let left = LIMIT.saturating_sub(start.elapsed());
            let line = self.stderr.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("no line with '{part}': {}", self.seen));
            self.seen += &format!("{line}\n");
        }
    }

    /// Sends a signal; returns whether the program was still there.
    fn signal(&self, name: &str) -> bool {
        let mut kill = Command::new("kill");
        kill.args([&format!("-{name}"), &self.child.id().to_string()]).stderr(Stdio::null());
        kill.status().unwrap().success()
    }

    /// Waits for the end; returns the exit code, the seconds until then, and standard error.
    fn end(mut self) -> (Option<i32>, Duration, String) {
        let start = Instant::now();
        let status = self.child.wait().unwrap();
        let time = start.elapsed();
        self.seen.extend(self.stderr.iter().map(|line| line + "\n"));
        (status.code(), time, self.seen)
    }
}

/// Returns the events of a kind, without the times in them.
fn of_kind(run: &Path, kind: &str) -> Vec<Value> {
    events(run).into_iter().filter(|event| event["event"] == kind).collect()
}

#[test]
fn a_run_that_is_stopped_in_its_evaluations_is_resumed_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    image_folder(&images, &["a", "b"], 40, 16);
    // An evaluation takes half a second: it is after step 0, 3 and 6, and 8 at the end.
    let images = text(&images);
    let options = ["--data", &images, "--image-size", "96", "--epochs", "0.88", "--evaluate-every", "0.34"];
    let [uninterrupted, stopped] = ["uninterrupted", "stopped"].map(|name| folder.path().join(name));
    succeeds(&pretrain(&[&options[..], &["--out", &text(&uninterrupted)]].concat()));

    let out = text(&stopped);
    let start = [&["pretrain"], TINY, &options, &["--out", &out]].concat();
    let resume = ["pretrain", "--resume", &out];
    let evaluation = |step: u64| of_kind(&stopped, "evaluated").iter().any(|event| event["step"] == step);
    for (arguments, network, signal, step) in [
        (&start[..], "evaluating the initial network: ", "INT", 0),
        (&resume, "evaluating the network: ", "TERM", 3),
        // The evaluation that was stopped is made first.
        (&resume, "evaluating the network: ", "HUP", 3),
    ] {
        let mut running = Running::slimclr(arguments);
        running.wait_for(network);
        assert!(running.signal(signal));
        // A terminal that closes hangs up twice.
        running.signal(signal);
        let (code, time, stderr) = running.end();
        assert_eq!(code, Some(130), "{stderr}");
        assert!(time < SOON, "it stopped after {time:?}: {stderr}");
        assert!(stderr.contains("stopped; resume with: slimclr pretrain --resume"), "{stderr}");
        assert!(!evaluation(step), "half an evaluation was recorded");
        let checkpoint = fs::read(stopped.join("checkpoint.safetensors")).unwrap();
        assert_eq!(Checkpoint::read(&checkpoint).unwrap().step(), step);
    }
    succeeds(&slimclr(&resume));

    let checkpoint = |run: &Path| fs::read(run.join("checkpoint.safetensors")).unwrap();
    assert!(checkpoint(&uninterrupted) == checkpoint(&stopped), "the checkpoints differ");
    assert_eq!(losses(&uninterrupted), losses(&stopped));
    for kind in ["evaluated", "interference"] {
        assert_eq!(of_kind(&uninterrupted, kind), of_kind(&stopped, kind));
    }
    assert_eq!(of_kind(&stopped, "evaluated").len(), 4 * 4);
}

#[test]
fn other_commands_stop_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("run"));
    succeeds(&pretrain(&[
        "--epochs",
        "0.01",
        "--image-size",
        "64",
        "--evaluate-every",
        "0",
        "--knn-images",
        "9",
        "--out",
        &out,
    ]));
    for (arguments, line, signal) in [
        (&["evaluate", &out][..], "computing features: 4,550 images", "INT"),
        (&["landscape", &out, "--cells", "201"], "computing the landscape", "TERM"),
    ] {
        let mut running = Running::slimclr(arguments);
        running.wait_for(line);
        assert!(running.signal(signal));
        let (code, time, stderr) = running.end();
        assert_eq!(code, Some(130), "{stderr}");
        assert!(time < SOON, "it stopped after {time:?}: {stderr}");
    }
}

#[cfg(unix)]
#[test]
fn a_run_under_nohup_outlives_its_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_slimclr"), "pretrain"]);
    shell.args(TINY).args(["--epochs", "0.1", "--out", &text(&out)]);
    let mut running = Running::start(shell);
    running.wait_for("step 1 ");
    assert!(running.signal("HUP"));
    let (code, _, stderr) = running.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(of_kind(&out, "finished").len(), 1);
}
