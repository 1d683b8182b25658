//! The folder of a run: its options, its events, its latest checkpoint with its features, its report.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use slimclr_core::{config::Config, event::Event, interference::landscape::Landscape, train::Artifact};
use slimclr_report::{Neighbours, Report};

const CONFIG: &str = "config.toml";
/// The name of what a run has reported, one JSON object a line.
pub const EVENTS: &str = "events.jsonl";
/// The name of the latest checkpoint.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
const FEATURES: &str = "features.safetensors";
/// The name of a report, wherever it goes.
pub const REPORT: &str = "report.html";
/// The name of the loss landscape.
pub const LANDSCAPE: &str = "landscape.json";
const SNAPSHOTS: &str = "snapshots";
const GRADIENTS: &str = "gradients";
const SAFETENSORS: &str = ".safetensors";

/// The name of a file kept after so many steps; sorted by name, files are sorted by step.
fn numbered(step: u64) -> String {
    format!("{step:08}{SAFETENSORS}")
}

/// A run's folder.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes the folder of a new run and saves its options there.
    ///
    /// # Errors
    /// If it already holds a run, or cannot be written.
    pub fn create(path: &Path, config: &Config) -> Result<Self> {
        let folder = Self { path: path.to_path_buf() };
        if folder.path.join(CONFIG).exists() {
            bail!(
                "{0} already holds a run: go on with it by --resume {0}, or choose another folder with --out",
                path.display()
            );
        }
        fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        folder.save_config(config)?;
        Ok(folder)
    }

    /// Makes the folder of a new run: `runs/NAME-1`, or the first such number that is free.
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

    /// The folder of an existing run.
    ///
    /// # Errors
    /// If it holds no run.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            bail!("there is no folder {}: name one that training has made", path.display());
        }
        if !path.join(CONFIG).is_file() {
            bail!("{} holds no run: there is no {CONFIG}; name a folder that training has made", path.display());
        }
        Ok(Self { path: path.to_path_buf() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is called.
    pub fn name(&self) -> String {
        // A path like `.` has no name of its own.
        let absolute = self.path.canonicalize();
        let name = absolute.as_deref().unwrap_or(&self.path).file_name().unwrap_or(self.path.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// Where the report goes.
    pub fn report_path(&self) -> PathBuf {
        self.path.join(REPORT)
    }

    /// Where the latest checkpoint's features go.
    pub fn features_path(&self) -> PathBuf {
        self.path.join(FEATURES)
    }

    /// Where the loss landscape is.
    pub fn landscape_path(&self) -> PathBuf {
        self.path.join(LANDSCAPE)
    }

    /// The loss landscape, if one was computed.
    ///
    /// # Errors
    /// If it cannot be read or understood.
    pub fn landscape(&self) -> Result<Option<Landscape>> {
        let path = self.landscape_path();
        let Some(text) = read_if_there(&path)? else { return Ok(None) };
        let landscape = serde_json::from_slice(&text);
        landscape.map(Some).with_context(|| {
            format!("{} is no loss landscape: remove it, or compute it again by slimclr landscape", path.display())
        })
    }

    /// The run's options.
    ///
    /// # Errors
    /// If they cannot be read or understood.
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

    /// Keeps a file of the run; one that is replaced stands until the new one is whole.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self, what: Artifact, bytes: &[u8]) -> Result<()> {
        let path = match what {
            Artifact::Checkpoint => self.checkpoint_path(),
            Artifact::Snapshot(step) => self.path.join(SNAPSHOTS).join(numbered(step)),
            Artifact::Gradients(step) => self.path.join(GRADIENTS).join(numbered(step)),
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        write_atomically(&path, bytes)
    }

    /// The files of the encoder along the run, with the steps after which they were kept, in order.
    ///
    /// # Errors
    /// If their folder cannot be read.
    pub fn snapshots(&self) -> Result<Vec<(u64, PathBuf)>> {
        self.numbered(SNAPSHOTS)
    }

    /// The file of gradients kept after so many steps, if there is one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn gradients(&self, step: u64) -> Result<Option<Vec<u8>>> {
        read_if_there(&self.path.join(GRADIENTS).join(numbered(step)))
    }

    /// The files of a sub-folder that are named by steps, in their order; none if there is no such folder.
    fn numbered(&self, folder: &str) -> Result<Vec<(u64, PathBuf)>> {
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

    /// Where the latest checkpoint is.
    pub fn checkpoint_path(&self) -> PathBuf {
        self.path.join(CHECKPOINT)
    }

    /// The bytes of the latest checkpoint.
    ///
    /// # Errors
    /// If there is none.
    pub fn checkpoint(&self) -> Result<Vec<u8>> {
        let path = self.checkpoint_path();
        fs::read(&path).with_context(|| format!("cannot read the checkpoint {}", path.display()))
    }

    /// Names the checkpoint in an error that came of it.
    pub fn blame_checkpoint(&self) -> String {
        format!("{} cannot be used", self.checkpoint_path().display())
    }

    /// Whether a checkpoint has been kept.
    pub fn has_checkpoint(&self) -> bool {
        self.checkpoint_path().is_file()
    }

    /// Everything the run has reported, in order. Lines that were cut short or damaged are left out.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn events(&self) -> Result<Vec<Event>> {
        Ok(self.lines()?.into_iter().map(|(event, _)| event).collect())
    }

    /// What a report is made from: all that the folder holds of the run, with `neighbours`, which it does not hold.
    ///
    /// # Errors
    /// If its events or its landscape cannot be read.
    pub fn report(&self, neighbours: Vec<Neighbours>) -> Result<Report> {
        Ok(Report { name: self.name(), events: self.events()?, landscape: self.landscape()?, neighbours })
    }

    /// The events, each with its line as it stands in the file.
    fn lines(&self) -> Result<Vec<(Event, Vec<u8>)>> {
        let text = read_if_there(&self.path.join(EVENTS))?.unwrap_or_default();
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        Ok(lines.filter_map(|line| Some((serde_json::from_slice(line).ok()?, line.to_vec()))).collect())
    }

    /// Opens the log for further events, after dropping those of steps past `step`: an interrupted run goes
    /// on from its checkpoint, so it takes them again.
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

    /// Adds events to the log, also while the run goes on.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append(&self, events: &[Event]) -> Result<()> {
        // A process that was killed may have left half a line.
        let torn = fs::read(self.path.join(EVENTS)).is_ok_and(|text| !text.is_empty() && !text.ends_with(b"\n"));
        let mut lines = if torn { b"\n".to_vec() } else { Vec::new() };
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

/// The file of a run's events, one JSON object a line.
pub struct EventLog {
    file: File,
    path: PathBuf,
    /// Released when the log is closed, or the process ends.
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

/// A file's bytes, if there is such a file.
fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes a file under a temporary name beside it, syncs and renames it: whoever reads `path` finds the old
/// file or the new one, whole.
///
/// # Errors
/// If the disk is full or the folder cannot be written; the old file then stands.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        // As any other file would be: whoever may read the folder may read it.
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
    fn events_past_the_checkpoint_and_torn_lines_are_dropped() {
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
