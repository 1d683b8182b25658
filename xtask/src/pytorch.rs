//! The Python programs that measure PyTorch. They are embedded in this one, which may run without the sources.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Times training steps: `cargo xtask gpu-check`.
pub const STEP: &str = "step.py";
/// Runs jobs that it reads from standard input: `cargo xtask bench`.
pub const JOBS: &str = "jobs.py";
/// Trains on CIFAR-10: `cargo xtask learn`.
pub const LEARN: &str = "learn.py";
/// Makes the images that augmentation is measured on.
pub const IMAGES: &str = "images.py";

/// The programs, and the modules that they share.
const FILES: [(&str, &str); 6] = [
    ("slimmable.py", include_str!("pytorch/slimmable.py")),
    ("two_stage.py", include_str!("pytorch/two_stage.py")),
    (STEP, include_str!("pytorch/step.py")),
    (JOBS, include_str!("pytorch/jobs.py")),
    (LEARN, include_str!("pytorch/learn.py")),
    (IMAGES, include_str!("pytorch/images.py")),
];

/// Writes the programs to a new folder in `folder`. Returns its path.
///
/// # Errors
/// If it cannot be written.
pub fn unpack(folder: &Path) -> Result<PathBuf> {
    let folder = folder.join("pytorch");
    let write = || {
        fs::create_dir(&folder)?;
        FILES.iter().try_for_each(|(name, program)| fs::write(folder.join(name), program))
    };
    write().with_context(|| format!("cannot write {}", folder.display()))?;
    Ok(folder)
}
