//! A run's folder: options, events, latest checkpoint with cached features, snapshots, report.

mod log;
mod new_run;
mod state;

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Error, Result, anyhow, bail};
use slimclr_core::{
    checkpoint::CheckpointError, config::Config, dataset::DatasetSummary, interference::landscape::Landscape,
    train::Artifact,
};
use slimclr_report::{Neighbours, Report};

use crate::{
    files::{cannot_create, create_folder, read_optional, sweep, write_atomically},
    kept_images::{KeptImages, Location},
    ranks,
    run_lock::RunLock,
    shell,
};

const CONFIG: &str = "config.toml";
/// File name of a run's events, in JSON Lines.
pub const EVENTS: &str = "events.jsonl";
/// File name of the latest checkpoint.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
const FEATURES: &str = "features.safetensors";
/// File name of a report.
pub const REPORT: &str = "report.html";
/// File name of the loss landscape.
pub const LANDSCAPE: &str = "landscape.json";
/// File name of the teacher's weights: a checkpoint, or a file of another program.
const TEACHER: &str = "teacher";
const TEACHER_FEATURES: &str = "teacher_features.safetensors";
const BAGS: &str = "bags.safetensors";
const TENSORBOARD: &str = "tensorboard";
const SNAPSHOTS: &str = "snapshots";
const GRADIENTS: &str = "gradients";
const SAFETENSORS: &str = ".safetensors";

/// Names a file saved after `step` steps, padded so that sorting by name sorts by step.
fn step_file_name(step: u64) -> String {
    format!("{step:08}{SAFETENSORS}")
}

/// A run's folder.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Creates the folder of a new run on the images that `dataset` identifies, saves its options there, and takes the
    /// run's lock.
    ///
    /// # Errors
    /// If it already holds a run, or cannot be written.
    pub fn create(path: &Path, config: &Config, dataset: &DatasetSummary) -> Result<(Self, RunLock)> {
        let folder = Self { path: path.to_path_buf() };
        folder.check_empty()?;
        if path.is_file() {
            bail!("{} is a file: choose another folder with --out", path.display());
        }
        create_folder(path)?;
        let lock = RunLock::take(path)?;
        // Another process may have been faster.
        folder.check_empty()?;
        folder.kept_images()?.keep(&Location::here(&config.data), dataset)?;
        folder.save_config(config)?;
        Ok((folder, lock))
    }

    /// Creates the folder of a new run, with the first number that is free: `runs/NAME-1`, for example.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create_numbered(name: &str, config: &Config, dataset: &DatasetSummary) -> Result<(Self, RunLock)> {
        loop {
            let path = next_free(&Path::new("runs").join(name), 1);
            create_folder(Path::new("runs"))?;
            match fs::create_dir(&path) {
                // Another process was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error).with_context(|| cannot_create(&path)),
                Ok(()) => return Self::create(&path, config, dataset),
            }
        }
    }

    /// Returns whether there is a file of a run in `path`.
    pub fn is_begun(path: &Path) -> bool {
        [CONFIG, EVENTS, CHECKPOINT].iter().any(|name| path.join(name).exists())
    }

    /// Checks that no file of a run is there.
    fn check_empty(&self) -> Result<()> {
        let path = self.path.display();
        if self.config_path().exists() {
            bail!(
                "{path} already holds a run: resume it with `slimclr pretrain --resume {}`, or choose another folder with \
                 --out",
                shell::path(&self.path)
            );
        }
        if Self::is_begun(&self.path) {
            bail!("{path} holds a run whose {CONFIG} is gone: put it back, or choose another folder");
        }
        Ok(())
    }

    /// Opens the folder of an existing run.
    ///
    /// # Errors
    /// If `path` is not a run's folder.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            bail!("there is no folder {}: name a run's folder, such as runs/demo-1", path.display());
        }
        let folder = Self { path: path.to_path_buf() };
        if !path.join(CONFIG).is_file() {
            folder.check_empty()?;
            bail!(
                "{} is not a run's folder: it has no {CONFIG}; name a run's folder, such as runs/demo-1",
                path.display()
            );
        }
        Ok(folder)
    }

    /// Takes the run's lock, and removes the temporary files that a killed process has left.
    ///
    /// # Errors
    /// If another process trains the run, or the folder cannot be written.
    pub fn lock(&self) -> Result<RunLock> {
        if !ranks::is_first() {
            return Ok(RunLock::of_other_rank());
        }
        let lock = RunLock::take(&self.path)?;
        sweep(&self.path);
        [SNAPSHOTS, GRADIENTS].iter().for_each(|name| sweep(&self.path.join(name)));
        Ok(lock)
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the run's name, which is that of its folder.
    pub fn name(&self) -> String {
        // A path such as `.` has no file name.
        let absolute = self.path.canonicalize();
        let name = absolute.as_deref().unwrap_or(&self.path).file_name().unwrap_or(self.path.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// Returns the path of a new run's folder beside this one: with the next number that is free.
    pub fn next_free(&self) -> PathBuf {
        let name = self.name();
        let (stem, number) = numbered(&name);
        // A path such as `.` does not show the folder that it is in.
        let path = if self.path.file_name().is_none() { self.path.canonicalize().ok() } else { None };
        next_free(&path.as_ref().unwrap_or(&self.path).with_file_name(stem), number.unwrap_or(1).saturating_add(1))
    }

    /// Reads what the folder keeps of the run's images.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn kept_images(&self) -> Result<KeptImages> {
        KeptImages::read(&self.path)
    }

    /// Returns the path of the run's options.
    pub fn config_path(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// Returns the report's path.
    pub fn report_path(&self) -> PathBuf {
        self.path.join(REPORT)
    }

    /// Returns the path of the latest checkpoint's cached features.
    pub fn features_path(&self) -> PathBuf {
        self.path.join(FEATURES)
    }

    /// Returns the loss landscape's path.
    pub fn landscape_path(&self) -> PathBuf {
        self.path.join(LANDSCAPE)
    }

    /// Reads the loss landscape, if one was computed.
    ///
    /// # Errors
    /// If it cannot be read or parsed.
    pub fn landscape(&self) -> Result<Option<Landscape>> {
        let path = self.landscape_path();
        let Some(text) = read_optional(&path)? else { return Ok(None) };
        let landscape = serde_json::from_slice(&text);
        landscape.map(Some).with_context(|| {
            format!(
                "{} is not a loss landscape: remove it, or compute it again with slimclr landscape {}",
                path.display(),
                shell::path(&self.path)
            )
        })
    }

    /// Reads the run's options.
    ///
    /// # Errors
    /// If they cannot be read or parsed.
    pub fn config(&self) -> Result<Config> {
        crate::options::read(&self.config_path())
    }

    /// Saves the run's options.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn save_config(&self, config: &Config) -> Result<()> {
        write_atomically(&self.config_path(), toml::to_string(config)?.as_bytes())
    }

    /// Saves a file of the run atomically.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, what: Artifact, bytes: &[u8]) -> Result<()> {
        let path = match what {
            Artifact::Checkpoint => self.checkpoint_path(),
            Artifact::Snapshot(step) => self.path.join(SNAPSHOTS).join(step_file_name(step)),
            Artifact::Gradients(step) => self.path.join(GRADIENTS).join(step_file_name(step)),
        };
        if let Some(folder) = path.parent() {
            create_folder(folder)?;
        }
        write_atomically(&path, bytes)
    }

    /// Lists the snapshots of the encoder's weights as pairs of step and path, in order of steps.
    ///
    /// # Errors
    /// If their folder cannot be read.
    pub fn snapshots(&self) -> Result<Vec<(u64, PathBuf)>> {
        self.step_files(SNAPSHOTS)
    }

    /// Reads the gradients saved after `step` steps, if there are any.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn gradients(&self, step: u64) -> Result<Option<Vec<u8>>> {
        read_optional(&self.path.join(GRADIENTS).join(step_file_name(step)))
    }

    /// Returns the path of the latest snapshot, if there is one and the folder can be read.
    fn latest_snapshot(&self) -> Option<PathBuf> {
        self.snapshots().ok()?.pop().map(|(_, path)| path)
    }

    /// Lists the files of a sub-folder that are named by step, in order; an absent folder has none.
    fn step_files(&self, folder: &str) -> Result<Vec<(u64, PathBuf)>> {
        let folder = self.path.join(folder);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read the folder {}", folder.display())),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.with_context(|| format!("cannot read the folder {}", folder.display()))?.path();
            let step = path.file_name().and_then(|name| name.to_str()?.strip_suffix(SAFETENSORS)?.parse().ok());
            files.extend(step.map(|step| (step, path)));
        }
        files.sort();
        Ok(files)
    }

    /// Returns the latest checkpoint's path.
    pub fn checkpoint_path(&self) -> PathBuf {
        self.path.join(CHECKPOINT)
    }

    /// Returns the path of the teacher's weights.
    pub fn teacher_path(&self) -> PathBuf {
        self.path.join(TEACHER)
    }

    /// Returns the path of the teacher's features of the training images.
    pub fn teacher_features_path(&self) -> PathBuf {
        self.path.join(TEACHER_FEATURES)
    }

    /// Returns the path of the bags of similar images.
    pub fn bags_path(&self) -> PathBuf {
        self.path.join(BAGS)
    }

    /// Returns the folder of TensorBoard's files, unless the user names another.
    pub fn tensorboard_path(&self) -> PathBuf {
        self.path.join(TENSORBOARD)
    }

    /// Keeps the teacher's weights, which are in `file`. They take no more space if that is the checkpoint of a run, on the
    /// same disk.
    ///
    /// # Errors
    /// If they cannot be read or written.
    pub fn save_teacher(&self, file: &Path, is_checkpoint: bool) -> Result<()> {
        // A run replaces its checkpoint as a whole and never changes it, so a link keeps these weights.
        if is_checkpoint && fs::hard_link(file, self.teacher_path()).is_ok() {
            return Ok(());
        }
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        write_atomically(&self.teacher_path(), &bytes)
    }

    /// Reads the bytes of the latest checkpoint.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn checkpoint(&self) -> Result<Vec<u8>> {
        let path = shell::path(&self.path);
        self.latest_checkpoint()?.with_context(|| {
            format!("{} has no checkpoint yet: train it with `slimclr pretrain --resume {path}`", self.path.display())
        })
    }

    /// Reads the bytes of the latest checkpoint, unless none has been saved yet.
    ///
    /// # Errors
    /// If the log says that one was saved but it is missing, or if it cannot be read.
    pub fn latest_checkpoint(&self) -> Result<Option<Vec<u8>>> {
        let path = self.checkpoint_path();
        let bytes = read_optional(&path)?;
        if let (None, Some(step)) = (&bytes, self.logged_checkpoint()?) {
            bail!(
                "{} is gone: {EVENTS} says that it was saved after step {step}. Put it back, or train a new run: {}",
                path.display(),
                self.new_run_command(self.latest_snapshot().as_deref(), Vec::new())?
            );
        }
        Ok(bytes)
    }

    /// Checks that the log knows of no checkpoint later than `step`, that of the latest checkpoint.
    ///
    /// # Errors
    /// If it does.
    pub fn check_latest(&self, step: u64) -> Result<()> {
        match self.logged_checkpoint()? {
            Some(logged) if logged > step => bail!(
                "{} is from step {step}, but {EVENTS} says that one was saved after step {logged}: put that one back, \
                 or move {EVENTS} elsewhere to continue from step {step} without the later steps",
                self.checkpoint_path().display()
            ),
            _ => Ok(()),
        }
    }

    /// Returns the error that the latest checkpoint cannot be used, with what to do if it is damaged.
    pub fn unusable_checkpoint(&self, error: &CheckpointError) -> Error {
        let cause = format!("{} cannot be used: {error}", self.checkpoint_path().display());
        if matches!(error, CheckpointError::Newer(_) | CheckpointError::Device(_)) {
            return Error::msg(cause);
        }
        let snapshot = self.latest_snapshot();
        let instead = match &snapshot {
            Some(snapshot) => format!("use the latest snapshot, {}", snapshot.display()),
            None => "put an earlier one back".into(),
        };
        match self.new_run_command(snapshot.as_deref(), Vec::new()) {
            Ok(command) => anyhow!("{cause}. Otherwise {instead}, or train a new run: {command}"),
            Err(_) => anyhow!("{cause}. Otherwise {instead}"),
        }
    }

    /// Collects what a report shows: the folder's events and landscape, and `neighbours`.
    ///
    /// # Errors
    /// If the events or the landscape cannot be read.
    pub fn report(&self, neighbours: Vec<Neighbours>) -> Result<Report> {
        Ok(Report { name: self.name(), events: self.events()?, landscape: self.landscape()?, neighbours })
    }
}

/// Splits a name such as `mini-12` into its stem and its number; another name is a stem without a number.
pub fn numbered(name: &str) -> (&str, Option<u32>) {
    match name.rsplit_once('-').map(|(stem, number)| (stem, number.parse())) {
        Some((stem, Ok(number))) => (stem, Some(number)),
        _ => (name, None),
    }
}

/// Returns the first of `STEM-NUMBER`, `STEM-NUMBER+1`, … that does not exist.
fn next_free(stem: &Path, number: u32) -> PathBuf {
    let name = stem.file_name().unwrap_or_default().to_string_lossy();
    let paths = (number..).map(|number| stem.with_file_name(format!("{name}-{number}")));
    paths.into_iter().find(|path| !path.exists()).expect("there is always a next number")
}

#[cfg(test)]
mod tests {
    use slimclr_core::{augment::Normalisation, event::Event};

    use super::*;

    fn create(path: &Path) -> Result<(RunFolder, RunLock)> {
        RunFolder::create(
            path,
            &Config::mini(),
            &DatasetSummary::without_digests(Normalisation::CIFAR10, Vec::new(), [9, 1]),
        )
    }

    fn run() -> (tempfile::TempDir, RunFolder, RunLock) {
        let folder = tempfile::tempdir().unwrap();
        let (run, lock) = create(&folder.path().join("run-1")).unwrap();
        (folder, run, lock)
    }

    #[test]
    fn what_is_gone_is_named() {
        let (folder, run, _lock) = run();
        assert_eq!(run.config().unwrap(), Config::mini());
        assert!(create(run.path()).unwrap_err().to_string().contains("--resume"));
        assert!(run.lock().unwrap_err().to_string().contains("another process"));
        assert!(run.latest_checkpoint().unwrap().is_none());
        assert!(run.checkpoint().unwrap_err().to_string().contains("has no checkpoint yet"));
        run.append(&[Event::Checkpoint { step: 4 }, Event::Stopped { step: 6 }]).unwrap();
        let gone = run.latest_checkpoint().unwrap_err().to_string();
        assert!(gone.contains("is gone") && gone.contains("after step 4") && gone.contains("run-2"), "{gone}");
        run.check_latest(4).unwrap();
        assert!(run.check_latest(3).unwrap_err().to_string().contains("is from step 3"));
        fs::remove_file(run.config_path()).unwrap();
        for error in [create(run.path()).unwrap_err(), RunFolder::open(run.path()).unwrap_err()] {
            assert!(error.to_string().contains("whose config.toml is gone"), "{error}");
        }
        assert!(RunFolder::open(folder.path()).unwrap_err().to_string().contains("is not a run's folder"));
    }

    #[test]
    fn a_new_run_gets_the_next_free_number() {
        let (folder, run, _lock) = run();
        assert_eq!(run.next_free(), folder.path().join("run-2"));
        fs::create_dir(folder.path().join("run-2")).unwrap();
        assert_eq!(run.next_free(), folder.path().join("run-3"));
        let (other, _lock) = create(&folder.path().join("other")).unwrap();
        assert_eq!(other.next_free(), folder.path().join("other-2"));
    }
}
