//! The Vulkan driver under the tests on WebGPU: Mesa's lavapipe, which computes on the CPU and so is the
//! same on every machine.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::{apt, log::info};

const PACKAGES: [&str; 2] = ["mesa-vulkan-drivers", "libvulkan1"];

/// Folders in which the Vulkan loader looks for driver manifests.
const MANIFESTS: [&str; 3] = ["usr/share/vulkan/icd.d", "usr/local/share/vulkan/icd.d", "etc/vulkan/icd.d"];

/// Makes sure that there is a Vulkan driver, and says which.
///
/// # Errors
/// If there is none and none can be installed from here.
pub fn install() -> Result<String> {
    if !cfg!(target_os = "linux") {
        return Ok("nothing to install: WebGPU runs on the system's own graphics interface here".into());
    }
    // With these set, the loader knows the drivers that they name and no others.
    let named = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].into_iter().find_map(env::var_os);
    let find = || Vulkan::find(Path::new("/"), named.as_deref());
    let mut vulkan = find();
    if !vulkan.has_lavapipe() && apt::is_allowed() {
        // A real driver serves the tests as well, so only its lack makes this an error.
        match apt::install("system packages", &PACKAGES) {
            Ok(()) => vulkan = find(),
            Err(error) => info("system packages", &format!("{error:#}")),
        }
    }
    vulkan.verdict()
}

/// What a machine has of Vulkan.
#[derive(Debug, Default)]
struct Vulkan {
    has_loader: bool,
    /// Paths of the drivers' manifests.
    drivers: Vec<PathBuf>,
}

impl Vulkan {
    /// Looks where Linux distributions put the loader and the drivers, below `root`; for drivers only among
    /// those `named`, if any are.
    fn find(root: &Path, named: Option<&OsStr>) -> Self {
        let mut drivers: Vec<PathBuf> = match named {
            Some(named) => env::split_paths(named).filter(|path| path.is_file()).collect(),
            None => MANIFESTS.iter().flat_map(|folder| entries(&root.join(folder))).collect(),
        };
        drivers.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        drivers.sort();
        // Libraries lie in one of these, or a level deeper in a folder named after the architecture.
        let libraries = ["usr/lib", "usr/lib64", "usr/local/lib"].map(|folder| root.join(folder));
        let deeper = libraries.iter().flat_map(|folder| entries(folder));
        let has_loader = libraries.iter().cloned().chain(deeper).any(|folder| folder.join("libvulkan.so.1").exists());
        Self { has_loader, drivers }
    }

    fn has_lavapipe(&self) -> bool {
        self.has_loader && self.drivers.iter().any(|driver| file_name(driver).starts_with("lvp_icd"))
    }

    /// What the tests will run on.
    fn verdict(&self) -> Result<String> {
        if self.has_lavapipe() {
            return Ok("Mesa's lavapipe is installed".into());
        }
        let packages = PACKAGES.join(" and ");
        if self.has_loader && !self.drivers.is_empty() {
            let drivers: Vec<_> = self.drivers.iter().map(|driver| file_name(driver)).collect();
            return Ok(format!(
                "going on with the Vulkan driver that is there ({}); for Mesa's lavapipe, install {packages}",
                drivers.join(", ")
            ));
        }
        bail!(
            "the tests on WebGPU need a Vulkan driver, and there is none: install Mesa's, on Debian and Ubuntu \
             with `sudo apt-get install --no-install-recommends {}`, elsewhere whatever brings libvulkan.so.1 \
             and lavapipe",
            PACKAGES.join(" ")
        )
    }
}

/// What lies in a folder; nothing if it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries.flatten().map(|entry| entry.path()).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with these files.
    fn machine(files: &[&str]) -> Vulkan {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        Vulkan::find(root.path(), None)
    }

    const LOADER: &str = "usr/lib/x86_64-linux-gnu/libvulkan.so.1";

    #[test]
    fn lavapipe_needs_driver_and_loader() {
        // Both names are in use: Debian 12 adds the architecture, later ones do not.
        for manifest in ["usr/share/vulkan/icd.d/lvp_icd.x86_64.json", "usr/share/vulkan/icd.d/lvp_icd.json"] {
            assert!(machine(&[LOADER, manifest]).has_lavapipe());
            assert!(!machine(&[manifest]).has_lavapipe());
        }
    }

    #[test]
    fn another_driver_will_do() {
        let vulkan = machine(&[LOADER, "etc/vulkan/icd.d/nvidia_icd.json"]);
        assert!(vulkan.verdict().unwrap().contains("nvidia_icd.json"));
    }

    #[test]
    fn without_a_driver_the_packages_are_named() {
        for files in [&[][..], &[LOADER], &["etc/vulkan/icd.d/nvidia_icd.json"]] {
            let error = machine(files).verdict().unwrap_err().to_string();
            assert!(error.contains("mesa-vulkan-drivers libvulkan1"), "{error}");
        }
    }
}
