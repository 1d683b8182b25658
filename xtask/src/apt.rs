//! Packages of Debian and its derivatives.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{duration::HumanDuration, log::info};

/// How long to wait while another program uses apt.
const LOCK_TIMEOUT: Duration = Duration::from_secs(300);
const LOCK_RETRY: Duration = Duration::from_secs(5);

/// Returns whether this is Debian or a derivative, and the user is root, so that apt may be used without asking.
pub fn is_allowed() -> bool {
    let is_debian = fs::read_to_string("/etc/os-release").is_ok_and(|release| is_debian(&release));
    let user = Command::new("id").arg("-u").output();
    is_debian && user.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Installs packages.
///
/// # Errors
/// If apt-get fails; it has printed why.
pub fn install(stage: &str, packages: &[&str]) -> Result<()> {
    let apt_get = |arguments: &[&str]| {
        info(stage, &format!("apt-get {}", arguments.join(" ")));
        let mut command = Command::new("apt-get");
        command.args(["--quiet", "--yes"]).args(arguments);
        command.envs([("DEBIAN_FRONTEND", "noninteractive"), ("LC_ALL", "C")]);
        run_unlocked(&mut command, stage, LOCK_RETRY)
            .with_context(|| format!("`apt-get {}` failed", arguments.join(" ")))
    };
    apt_get(&["update"])?;
    apt_get(&[&["install", "--no-install-recommends"], packages].concat())
}

/// Runs apt-get, again and again while another program holds one of apt's locks: its own option `DPkg::Lock::Timeout`
/// does not cover the lock of the package lists.
fn run_unlocked(command: &mut Command, stage: &str, retry: Duration) -> Result<()> {
    let start = Instant::now();
    let mut is_waiting = false;
    loop {
        let output = command.stdout(Stdio::inherit()).output().context("apt-get does not start")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        let lock = errors.lines().find(|line| line.contains("Could not get lock"));
        if let Some(lock) = lock.filter(|_| !output.status.success() && start.elapsed() < LOCK_TIMEOUT) {
            if !is_waiting {
                info(stage, &format!("{lock}; waiting up to {}", HumanDuration(LOCK_TIMEOUT)));
                is_waiting = true;
            }
            thread::sleep(retry);
            continue;
        }
        eprint!("{errors}");
        ensure!(output.status.success(), "apt-get ended with {}", output.status);
        return Ok(());
    }
}

/// Returns whether `ID` or `ID_LIKE` of an `/etc/os-release` names Debian.
fn is_debian(release: &str) -> bool {
    release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .any(|names| names.trim_matches(['"', '\'']).split_whitespace().any(|name| name == "debian"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_and_its_derivatives_are_recognised() {
        assert!(is_debian("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n"));
        assert!(is_debian("ID=pop\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!is_debian("ID=fedora\nVARIANT=\"not debian\"\n"));
    }

    #[cfg(unix)]
    #[test]
    fn only_a_lock_makes_it_try_again() {
        let folder = tempfile::tempdir().unwrap();
        let tries = folder.path().join("tries");
        let run = |error: &str| {
            let script = format!(
                "echo >>{tries}; [ $(wc -l <{tries}) = 3 ] && exit; echo '{error}' >&2; exit 100",
                tries = tries.display()
            );
            run_unlocked(Command::new("sh").args(["-c", &script]), "test", Duration::ZERO)
        };
        run("E: Could not get lock /var/lib/apt/lists/lock. It is held by process 2942 (apt-get)").unwrap();
        assert_eq!(fs::read_to_string(&tries).unwrap().lines().count(), 3);
        assert!(run("E: Unable to locate package").is_err());
        assert_eq!(fs::read_to_string(&tries).unwrap().lines().count(), 4);
    }
}
