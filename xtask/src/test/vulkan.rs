//! The Vulkan driver for the tests on WebGPU: Mesa's lavapipe, which computes on the CPU and so gives the same results
//! on every machine.

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

/// Installs a Vulkan driver if there is none. Returns a message that says which there is.
///
/// # Errors
/// If there is none and apt cannot install it.
pub fn install(stage: &str) -> Result<String> {
    if !cfg!(target_os = "linux") {
        return Ok("nothing to install: WebGPU uses the system's own graphics interface".into());
    }
    // If one of these is set, the loader finds only the drivers that it names.
    let named = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].into_iter().find_map(env::var_os);
    let find = || Vulkan::find(Path::new("/"), named.as_deref());
    let mut vulkan = find();
    if !vulkan.has_lavapipe() && apt::is_allowed() {
        // A GPU's driver will do, so this is an error only if there is none.
        match apt::install(stage, &PACKAGES) {
            Ok(()) => vulkan = find(),
            Err(error) => info(stage, &format!("{error:#}")),
        }
    }
    vulkan.check()
}

/// The parts of Vulkan that are installed.
#[derive(Debug, Default)]
struct Vulkan {
    has_loader: bool,
    /// Paths of the drivers' manifests.
    drivers: Vec<PathBuf>,
}

impl Vulkan {
    /// Searches the folders below `root` where Linux distributions put the loader and the drivers. If drivers are
    /// `named`, in a list of paths, only they count.
    fn find(root: &Path, named: Option<&OsStr>) -> Self {
        let mut drivers: Vec<PathBuf> = match named {
            Some(named) => env::split_paths(named).filter(|path| path.is_file()).collect(),
            None => MANIFESTS.iter().flat_map(|folder| entries(&root.join(folder))).collect(),
        };
        drivers.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        drivers.sort();
        // Libraries are in one of these, or in a folder in it that is named after the architecture.
        let libraries = ["usr/lib", "usr/lib64", "usr/local/lib"].map(|folder| root.join(folder));
        let nested = libraries.iter().flat_map(|folder| entries(folder));
        let has_loader = libraries.iter().cloned().chain(nested).any(|folder| folder.join("libvulkan.so.1").exists());
        Self { has_loader, drivers }
    }

    fn has_lavapipe(&self) -> bool {
        self.has_loader && self.drivers.iter().any(|driver| file_name(driver).starts_with("lvp_icd"))
    }

    /// Returns a message that names the driver that tests will use.
    ///
    /// # Errors
    /// If there is none.
    fn check(&self) -> Result<String> {
        if self.has_lavapipe() {
            return Ok("Mesa's lavapipe is installed".into());
        }
        let packages = PACKAGES.join(" and ");
        if self.has_loader && !self.drivers.is_empty() {
            let drivers: Vec<_> = self.drivers.iter().map(|driver| file_name(driver)).collect();
            return Ok(format!(
                "using the Vulkan driver that is installed ({}); for Mesa's lavapipe, install {packages}",
                drivers.join(", ")
            ));
        }
        bail!(
            "the tests on WebGPU need a Vulkan driver, and there is none: install Mesa's, on Debian and Ubuntu \
             with `sudo apt-get install --no-install-recommends {}`, elsewhere the packages of libvulkan.so.1 \
             and lavapipe",
            PACKAGES.join(" ")
        )
    }
}

/// Returns the paths in a folder; none if it cannot be read.
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

    /// Makes a machine with these files.
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
        assert!(vulkan.check().unwrap().contains("nvidia_icd.json"));
    }

    #[test]
    fn without_a_driver_the_packages_are_named() {
        for files in [&[][..], &[LOADER], &["etc/vulkan/icd.d/nvidia_icd.json"]] {
            let error = machine(files).check().unwrap_err().to_string();
            assert!(error.contains("mesa-vulkan-drivers libvulkan1"), "{error}");
        }
    }
}
