//! A program that measures what it is asked.

use std::{
    fs,
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::job::Job;

/// A program that has one job, which it does whenever it is asked; ours or PyTorch's.
pub struct Worker {
    child: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    job: Job,
    /// What it is, in its words.
    pub is: String,
    /// Bytes in memory before it knew its job; where the system tells.
    held: Option<u64>,
}

/// How a program introduces itself.
#[derive(Deserialize)]
struct Introduction {
    is: String,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Answer {
    seconds: f64,
    items: f64,
    /// What an item cannot do without, where the program knows.
    #[serde(default)]
    pub needs: Needs,
    /// In which of several ways the job is done.
    #[serde(default)]
    way: Map<String, Value>,
}

/// The least that a machine has to do for an item.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
pub struct Needs {
    /// Floating-point operations of convolutions and matrix products.
    pub operations: f64,
    /// Bytes that go in and come out.
    pub bytes: f64,
}

impl Worker {
    /// Starts a program that will do `job`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(mut command: Command, job: Job) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{name} does not start"))?;
        let (questions, answers) = child.stdin.take().zip(child.stdout.take()).context("pipes were asked for")?;
        let answers = BufReader::new(answers).lines();
        let mut worker = Self { child, questions, answers, job, is: name, held: None };
        worker.is = worker.read::<Introduction>()?.is;
        worker.held = worker.memory("VmRSS");
        Ok(worker)
    }

    /// Measures once; the first time, the program prepares itself.
    ///
    /// # Errors
    /// If the program fails; it has said why.
    pub fn measure(&mut self) -> Result<Answer> {
        writeln!(self.questions, "{}", self.job.0).with_context(|| format!("{} has ended", self.is))?;
        self.read()
    }

    /// The most bytes that the job has had in memory, without what the program had before it; where the system tells.
    pub fn peak(&self) -> Option<u64> {
        Some(self.memory("VmHWM")?.saturating_sub(self.held?))
    }

    fn read<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = self.answers.next().ok_or_else(|| anyhow!("{} broke off: see its words above", self.is))??;
        serde_json::from_str(&line).with_context(|| format!("{} answered '{line}'", self.is))
    }

    /// A field of Linux's account of the program, in bytes.
    fn memory(&self, field: &str) -> Option<u64> {
        field_of(&fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?, field)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    /// Items per second.
    pub fn rate(&self) -> f64 {
        self.items / self.seconds
    }

    /// The way in words, if there were several.
    pub fn way(&self) -> Option<String> {
        let words = self.way.iter().map(|(name, value)| match value {
            Value::Bool(true) => name.clone(),
            Value::Bool(false) => format!("not {name}"),
            value => format!("{name} {value}"),
        });
        (!self.way.is_empty()).then(|| words.collect::<Vec<_>>().join(", "))
    }
}

/// A field of a `/proc/PID/status`, in bytes.
fn field_of(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_leave_out_what_it_does_not_know() {
        let answer: Answer = serde_json::from_str("{\"seconds\": 0.5, \"items\": 64}").unwrap();
        assert_eq!((answer.rate(), answer.needs, answer.way()), (128.0, Needs::default(), None));
        let line = "{\"seconds\": 2, \"items\": 1, \"way\": {\"chunk\": 64, \"joint\": false, \"last\": true}}";
        let answer: Answer = serde_json::from_str(line).unwrap();
        assert_eq!(answer.way().as_deref(), Some("chunk 64, not joint, last"));
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "VmPeak:\t  99 kB\nVmHWM:\t  153600 kB\nVmRSS:\t1024 kB\n";
        assert_eq!(field_of(status, "VmHWM"), Some(153_600 * 1024));
        assert_eq!(field_of(status, "Vm"), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_program_is_asked_by_lines() {
        let start = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Worker::start(command, Job::multiply())
        };
        let script = "echo '{\"is\": \"a shell\"}'; read job; echo \"$job\" | grep -q multiply && \
                      echo '{\"seconds\": 2, \"items\": 6}'";
        let mut worker = start(script).unwrap();
        assert_eq!(worker.is, "a shell");
        assert_eq!(worker.measure().unwrap().rate(), 3.0);
        // It has ended, and says so however it is asked.
        assert!(worker.measure().unwrap_err().to_string().contains("a shell"));
        let error = start("echo Traceback").err().unwrap();
        assert!(error.to_string().contains("answered 'Traceback'"), "{error}");
    }
}
