//! Runs of other programs with a time limit.

use std::{
    fmt,
    fs::File,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::duration::HumanDuration;

/// How a program ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// With this exit code.
    Code(i32),
    /// By this signal, such as that of a segmentation fault.
    Signal(i32),
    /// Stopped because it was done.
    Done,
    /// Stopped after this time limit.
    TimedOut(Duration),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::Done => write!(f, "was stopped when it was done"),
            Self::TimedOut(limit) => write!(f, "had not ended within {}", HumanDuration(*limit)),
        }
    }
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> Self {
        #[cfg(unix)]
        if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
            return Self::Signal(signal);
        }
        Self::Code(status.code().unwrap_or(-1))
    }
}

/// Runs `command` until it ends or `is_done` returns true, for `limit` at most, and writes its output to the file
/// `log`.
///
/// # Errors
/// If it does not start.
pub fn finish(command: &mut Command, log: &Path, limit: Duration, is_done: impl Fn() -> bool) -> Result<End> {
    let stdout = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let stderr = stdout.try_clone()?;
    // No colours, and no backtrace at the end: the last line of the log is shown as the reason of a failure.
    command.env("NO_COLOR", "1").env("RUST_BACKTRACE", "0").env_remove("RUST_LIB_BACKTRACE");
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("{name} does not start"))?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.into());
        }
        let is_over = start.elapsed() >= limit;
        if is_over || is_done() {
            child.kill()?;
            child.wait()?;
            return Ok(if is_over { End::TimedOut(limit) } else { End::Done });
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the last line of a program's output that is a message, without the prefix "error: ".
pub fn last_message(output: &str) -> Option<&str> {
    let is_message = |line: &&str| !line.is_empty() && !line.contains("RUST_BACKTRACE");
    let line = output.lines().map(str::trim).rfind(is_message)?;
    Some(["error: ", "Error: "].iter().find_map(|prefix| line.strip_prefix(prefix)).unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_message_of_a_panic_is_its_reason() {
        let output = "\nthread 'main' panicked at src/main.rs:1:1:\nno such library\n\
                      note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n\n";
        assert_eq!(last_message(output), Some("no such library"));
        assert_eq!(last_message("step 1\nerror: no such device\n"), Some("no such device"));
        assert_eq!(last_message("\n \n"), None);
    }

    #[cfg(unix)]
    #[test]
    fn every_end_is_recognised() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let end = |script: &str, limit| {
            finish(Command::new("sh").args(["-c", script]), &log, Duration::from_millis(limit), || {
                script.contains("# done")
            })
            .unwrap()
        };
        assert_eq!(end("echo out; echo err >&2; exit 3", 60_000), End::Code(3));
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "out\nerr\n");
        assert_eq!(end("kill -9 $$", 60_000), End::Signal(9));
        assert_eq!(end("exec sleep 60 # done", 60_000), End::Done);
        assert_eq!(end("exec sleep 60", 50), End::TimedOut(Duration::from_millis(50)));
    }
}
