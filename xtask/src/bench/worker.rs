//! A process that measures one job.

use std::{
    fs,
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::job::Job;

/// A process that measures its job each time that it reads the job from standard input.
pub struct Worker {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    job: Job,
    /// The program's name and version.
    pub name: String,
    /// Bytes in memory before it read its job, if the system reports them.
    memory_before: Option<u64>,
}

/// The first line that a program prints.
#[derive(Deserialize)]
struct Introduction {
    is: String,
}

/// A measurement, as a program prints it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Measurement {
    seconds: f64,
    items: f64,
    /// The least work for an item, if the program knows it.
    #[serde(default)]
    pub needs: Needs,
    /// The variant of the job that the program chose.
    #[serde(default)]
    way: Map<String, Value>,
}

/// The least work for an item.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
pub struct Needs {
    /// Floating-point operations of convolutions and matrix products.
    pub operations: f64,
    /// Bytes of inputs and outputs.
    pub bytes: f64,
}

impl Worker {
    /// Starts a program for `job`.
    ///
    /// # Errors
    /// If it does not start or prints no name.
    pub fn start(mut command: Command, job: Job) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{name} does not start"))?;
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).context("the pipes are missing")?;
        let stdout = BufReader::new(stdout).lines();
        let mut worker = Self { child, stdin, stdout, job, name, memory_before: None };
        worker.name = worker.read::<Introduction>()?.is;
        worker.memory_before = worker.memory("VmRSS");
        Ok(worker)
    }

    /// Measures once. The first time includes preparations, which are not measured.
    ///
    /// # Errors
    /// If the program fails; it has printed why.
    pub fn measure(&mut self) -> Result<Measurement> {
        writeln!(self.stdin, "{}", self.job.0).with_context(|| format!("{} has ended", self.name))?;
        self.read()
    }

    /// Returns the job's peak memory in bytes, without the memory of the program before it, if the system reports it.
    pub fn peak(&self) -> Option<u64> {
        Some(self.memory("VmHWM")?.saturating_sub(self.memory_before?))
    }

    fn read<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = self.stdout.next().ok_or_else(|| anyhow!("{} ended early: see its messages above", self.name))??;
        serde_json::from_str(&line).with_context(|| format!("{} printed '{line}'", self.name))
    }

    /// Returns a field of the process's status on Linux, in bytes.
    fn memory(&self, field: &str) -> Option<u64> {
        field_of(&fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?, field)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Measurement {
    /// Returns the items per second.
    pub fn rate(&self) -> f64 {
        self.items / self.seconds
    }

    /// Returns the variant as text, if there were several.
    pub fn way(&self) -> Option<String> {
        let parts = self.way.iter().map(|(name, value)| match value {
            Value::Bool(true) => name.clone(),
            Value::Bool(false) => format!("not {name}"),
            value => format!("{name} {value}"),
        });
        (!self.way.is_empty()).then(|| parts.collect::<Vec<_>>().join(", "))
    }
}

/// Returns a field of a `/proc/PID/status`, in bytes.
fn field_of(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_may_leave_out_needs_and_way() {
        let measurement: Measurement = serde_json::from_str("{\"seconds\": 0.5, \"items\": 64}").unwrap();
        assert_eq!((measurement.rate(), measurement.needs, measurement.way()), (128.0, Needs::default(), None));
        let line = "{\"seconds\": 2, \"items\": 1, \"way\": {\"chunk\": 64, \"joint\": false, \"last\": true}}";
        let measurement: Measurement = serde_json::from_str(line).unwrap();
        assert_eq!(measurement.way().as_deref(), Some("chunk 64, not joint, last"));
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "VmPeak:\t  99 kB\nVmHWM:\t  153600 kB\nVmRSS:\t1024 kB\n";
        assert_eq!(field_of(status, "VmHWM"), Some(153_600 * 1024));
        assert_eq!(field_of(status, "Vm"), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_program_reads_its_job_from_standard_input() {
        let start = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Worker::start(command, Job::multiply())
        };
        let script = "echo '{\"is\": \"a shell\"}'; read job; echo \"$job\" | grep -q multiply && \
                      echo '{\"seconds\": 2, \"items\": 6}'";
        let mut worker = start(script).unwrap();
        assert_eq!(worker.name, "a shell");
        assert_eq!(worker.measure().unwrap().rate(), 3.0);
        // The program has ended.
        assert!(worker.measure().unwrap_err().to_string().contains("a shell"));
        let error = start("echo Traceback").err().unwrap();
        assert!(error.to_string().contains("printed 'Traceback'"), "{error}");
    }
}
