//! A run's folder: options, events, latest checkpoint with cached features, snapshots, report.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use slimclr_core::{config::Config, event::Event, interference::landscape::Landscape, train::Artifact};
use slimclr_report::{Neighbours, Report};

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
    /// Creates the folder of a new run and saves its options there.
    ///
    /// # Errors
    /// If it already holds a run, or cannot be written.
    pub fn create(path: &Path, config: &Config) -> Result<Self> {
        let folder = Self { path: path.to_path_buf() };
        if folder.path.join(CONFIG).exists() {
            bail!(
                "{0} already holds a run: resume it with --resume {0}, or choose another folder with --out",
                path.display()
            );
        }
        create_folder(path)?;
        folder.save_config(config)?;
        Ok(folder)
    }

    /// Creates the folder of a new run: `runs/NAME-1`, or with the first number that is free.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create_numbered(name: &str, config: &Config) -> Result<Self> {
        let free = (1..)
            .map(|number| PathBuf::from(format!("runs/{name}-{number}")))
            .find(|path| !path.exists())
            .expect("there is always a next number");
        Self::create(&free, config)
    }

    /// Opens the folder of an existing run.
    ///
    /// # Errors
    /// If `path` is not a run's folder.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            bail!("there is no folder {}: name a run's folder, such as runs/demo-1", path.display());
        }
        if !path.join(CONFIG).is_file() {
            bail!(
                "{} is not a run's folder: it has no {CONFIG}; name a run's folder, such as runs/demo-1",
                path.display()
            );
        }
        Ok(Self { path: path.to_path_buf() })
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
                self.path.display()
            )
        })
    }

    /// Reads the run's options.
    ///
    /// # Errors
    /// If they cannot be read or parsed.
    pub fn config(&self) -> Result<Config> {
        crate::options::read(&self.path.join(CONFIG))
    }

    /// Saves the run's options.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn save_config(&self, config: &Config) -> Result<()> {
        write_atomically(&self.path.join(CONFIG), toml::to_string(config)?.as_bytes())
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

    /// Lists the files of a sub-folder that are named by step, in order; an absent folder has none.
    fn step_files(&self, folder: &str) -> Result<Vec<(u64, PathBuf)>> {
        let folder = self.path.join(folder);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
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

    /// Reads the bytes of the latest checkpoint.
    ///
    /// # Errors
    /// If there is none.
    pub fn checkpoint(&self) -> Result<Vec<u8>> {
        let path = self.checkpoint_path();
        fs::read(&path).with_context(|| format!("cannot read the checkpoint {}", path.display()))
    }

    /// Returns the context of errors about a checkpoint that cannot be used.
    pub fn checkpoint_context(&self) -> String {
        format!("{} cannot be used", self.checkpoint_path().display())
    }

    /// Returns whether there is a checkpoint.
    pub fn has_checkpoint(&self) -> bool {
        self.checkpoint_path().is_file()
    }

    /// Reads the run's events in order, skipping truncated and damaged lines.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn events(&self) -> Result<Vec<Event>> {
        Ok(self.lines()?.into_iter().map(|(event, _)| event).collect())
    }

    /// Collects what a report shows: the folder's events and landscape, and `neighbours`.
    ///
    /// # Errors
    /// If the events or the landscape cannot be read.
    pub fn report(&self, neighbours: Vec<Neighbours>) -> Result<Report> {
        Ok(Report { name: self.name(), events: self.events()?, landscape: self.landscape()?, neighbours })
    }

    /// Reads the events, each with the bytes of its line.
    fn lines(&self) -> Result<Vec<(Event, Vec<u8>)>> {
        let text = read_optional(&self.path.join(EVENTS))?.unwrap_or_default();
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        Ok(lines.filter_map(|line| Some((serde_json::from_slice(line).ok()?, line.to_vec()))).collect())
    }

    /// Opens the log to append events after `step`. Events of later steps are dropped, because a run that resumes from
    /// its checkpoint repeats those steps.
    ///
    /// # Errors
    /// If another process is training this run, or the file cannot be written.
    pub fn log_from(&self, step: u64) -> Result<EventLog> {
        let config = File::open(self.path.join(CONFIG)).context("cannot open the run's options")?;
        if let Err(TryLockError::WouldBlock) = config.try_lock() {
            bail!("{} is being trained by another process: wait for it, or choose another folder", self.path.display());
        }
        let kept = self.lines()?.into_iter().filter(|(event, _)| event.step() <= step).map(|(_, line)| line);
        write_atomically(&self.path.join(EVENTS), &kept.collect::<Vec<_>>().concat())?;
        Ok(EventLog { file: self.open_log()?, path: self.path.join(EVENTS), _lock: config })
    }

    /// Appends events to the log, even while the run is training.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append(&self, events: &[Event]) -> Result<()> {
        // A killed process may have left a truncated line.
        let is_truncated =
            fs::read(self.path.join(EVENTS)).is_ok_and(|text| !text.is_empty() && !text.ends_with(b"\n"));
        let mut lines = if is_truncated { b"\n".to_vec() } else { Vec::new() };
        for event in events {
            serde_json::to_writer(&mut lines, event)?;
            lines.push(b'\n');
        }
        self.open_log()?.write_all(&lines).with_context(|| format!("cannot write the log of {}", self.path.display()))
    }

    fn open_log(&self) -> Result<File> {
        let path = self.path.join(EVENTS);
        let file = OpenOptions::new().append(true).create(true).open(&path);
        file.with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The open event log of a run in training.
pub struct EventLog {
    file: File,
    path: PathBuf,
    /// Excludes other processes until the log is dropped or the process ends.
    _lock: File,
}

impl EventLog {
    /// Appends an event.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append(&mut self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.file.write_all(&line).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// Creates a folder and its parents.
///
/// # Errors
/// If it cannot be created.
pub fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create the folder {}", path.display()))
}

/// Reads a file, or returns `None` if it does not exist.
fn read_optional(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes a file under a temporary name in the same folder, syncs it and renames it, so that readers of `path` see
/// either the old file or the complete new one.
///
/// # Errors
/// If the disk is full or the folder cannot be written; the old file then remains.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        // Temporary files are private by default; these get the permissions of any new file.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        std::io::Result::Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resuming_drops_later_events_and_truncated_lines() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::create(&folder.path().join("run"), &Config::mini()).unwrap();
        assert_eq!(run.config().unwrap(), Config::mini());
        let mut log = run.log_from(0).unwrap();
        for step in [1, 2, 3] {
            log.append(&Event::Checkpoint { step }).unwrap();
        }
        log.file.write_all(b"{\"event\":\"che").unwrap();
        assert_eq!(run.events().unwrap().len(), 3);
        assert!(run.log_from(2).err().unwrap().to_string().contains("another process"));
        drop(log);
        drop(run.log_from(2).unwrap());
        assert_eq!(run.events().unwrap(), [Event::Checkpoint { step: 1 }, Event::Checkpoint { step: 2 }]);
        fs::write(run.path.join(EVENTS), b"{\"event\":\"che").unwrap();
        run.append(&[Event::Checkpoint { step: 4 }]).unwrap();
        assert_eq!(run.events().unwrap(), [Event::Checkpoint { step: 4 }]);
        assert!(RunFolder::create(run.path(), &Config::mini()).unwrap_err().to_string().contains("--resume"));
    }
}
