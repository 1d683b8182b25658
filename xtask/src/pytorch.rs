//! The Python programs that measure PyTorch. They travel inside this one, which may run where the sources are not.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Times training steps: `cargo xtask gpu-check`.
pub const STEP: &str = "step.py";
/// Does what it is asked by lines: `cargo xtask bench`.
pub const JOBS: &str = "jobs.py";
/// Trains on CIFAR-10: `cargo xtask learn`.
pub const LEARN: &str = "learn.py";
/// Makes images to be augmented.
pub const IMAGES: &str = "images.py";

/// The programs, and the network that they share.
const FILES: [(&str, &str); 5] = [
    ("slimmable.py", include_str!("pytorch/slimmable.py")),
    (STEP, include_str!("pytorch/step.py")),
    (JOBS, include_str!("pytorch/jobs.py")),
    (LEARN, include_str!("pytorch/learn.py")),
    (IMAGES, include_str!("pytorch/images.py")),
];

/// Writes the programs to a new folder of `folder`, and returns it.
///
/// # Errors
/// If nothing can be written there.
pub fn unpack(folder: &Path) -> Result<PathBuf> {
    let folder = folder.join("pytorch");
    let write = || {
        fs::create_dir(&folder)?;
        FILES.iter().try_for_each(|(name, program)| fs::write(folder.join(name), program))
    };
    write().with_context(|| format!("cannot write {}", folder.display()))?;
    Ok(folder)
}
