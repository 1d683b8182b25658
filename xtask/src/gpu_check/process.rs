//! Running another program to its end, or to the end of its time.

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
    /// By a signal, such as that of a segmentation fault.
    Signal(i32),
    /// Ended by us, because it had done what it was wanted for.
    Done,
    /// Ended by us, after this time.
    Overtime(Duration),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::Done => write!(f, "had done its work"),
            Self::Overtime(limit) => write!(f, "had not ended within {}", HumanDuration(*limit)),
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

/// Runs `command`, with what it prints in the file `log`, until it `is_done`, for `limit` at most.
///
/// # Errors
/// If it does not start.
pub fn finish(command: &mut Command, log: &Path, limit: Duration, is_done: impl Fn() -> bool) -> Result<End> {
    let stdout = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let stderr = stdout.try_clone()?;
    // The last line of the log is shown as the reason for a failure: no colours, and no backtrace after it.
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
            return Ok(if is_over { End::Overtime(limit) } else { End::Done });
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The last line that says something of a program's output: its error message, if it failed, without the
/// word "error".
pub fn last_words(output: &str) -> Option<&str> {
    let says_something = |line: &&str| !line.is_empty() && !line.contains("RUST_BACKTRACE");
    let line = output.lines().map(str::trim).rfind(says_something)?;
    Some(["error: ", "Error: "].iter().find_map(|word| line.strip_prefix(word)).unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_of_a_panic_are_its_message() {
        let output = "\nthread 'main' panicked at src/main.rs:1:1:\nno such library\n\
                      note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n\n";
        assert_eq!(last_words(output), Some("no such library"));
        assert_eq!(last_words("step 1\nerror: no such device\n"), Some("no such device"));
        assert_eq!(last_words("\n \n"), None);
    }

    #[cfg(unix)]
    #[test]
    fn every_end_is_told_from_the_others() {
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
        assert_eq!(end("exec sleep 60", 50), End::Overtime(Duration::from_millis(50)));
    }
}
