//! Packages of Debian, and of what is made from it.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};

use crate::log::info;

/// Whether this is Debian, or made from it, and apt may be used without asking.
pub fn is_allowed() -> bool {
    let is_debian = fs::read_to_string("/etc/os-release").is_ok_and(|release| is_debian(&release));
    let user = Command::new("id").arg("-u").output();
    is_debian && user.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Installs packages.
///
/// # Errors
/// If apt does not; it has said why.
pub fn install(stage: &str, packages: &[&str]) -> Result<()> {
    let apt = |arguments: &[&str]| -> Result<()> {
        info(stage, &format!("apt-get {}", arguments.join(" ")));
        let status = Command::new("apt-get")
            .args(["--quiet", "--yes"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status()
            .context("apt-get does not start")?;
        ensure!(status.success(), "`apt-get {}` failed", arguments.join(" "));
        Ok(())
    };
    apt(&["update"])?;
    apt(&[&["install", "--no-install-recommends"], packages].concat())
}

/// Reads `ID` and `ID_LIKE` of an `/etc/os-release`.
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
    fn debian_is_known_by_itself_and_by_its_heirs() {
        assert!(is_debian("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n"));
        assert!(is_debian("ID=pop\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!is_debian("ID=fedora\nVARIANT=\"not debian\"\n"));
    }
}
