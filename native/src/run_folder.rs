//! The folder of a run: its options, its events, its latest checkpoint, its report.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use slimclr_core::{config::Config, event::Event};

const CONFIG: &str = "config.toml";
const EVENTS: &str = "events.jsonl";
const CHECKPOINT: &str = "checkpoint.safetensors";
const REPORT: &str = "report.html";

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
        if !path.join(CONFIG).is_file() {
            bail!("{} holds no run: there is no {CONFIG}", path.display());
        }
        Ok(Self { path: path.to_path_buf() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the report goes.
    pub fn report_path(&self) -> PathBuf {
        self.path.join(REPORT)
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

    /// Replaces the checkpoint; the old one stands until the new one is whole.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep_checkpoint(&self, bytes: &[u8]) -> Result<()> {
        write_atomically(&self.path.join(CHECKPOINT), bytes)
    }

    /// The bytes of the latest checkpoint.
    ///
    /// # Errors
    /// If there is none.
    pub fn checkpoint(&self) -> Result<Vec<u8>> {
        let path = self.path.join(CHECKPOINT);
        fs::read(&path).with_context(|| format!("cannot read the checkpoint {}", path.display()))
    }

    /// Names the checkpoint in an error that came of it.
    pub fn blame_checkpoint(&self) -> String {
        format!("{} cannot be used", self.path.join(CHECKPOINT).display())
    }

    /// Whether a checkpoint has been kept.
    pub fn has_checkpoint(&self) -> bool {
        self.path.join(CHECKPOINT).is_file()
    }

    /// Everything the run has reported, in order. A last line that was cut short is left out.
    ///
    /// # Errors
    /// If the file cannot be read, or a line is no event.
    pub fn events(&self) -> Result<Vec<Event>> {
        let path = self.path.join(EVENTS);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let lines: Vec<String> = BufReader::new(file)
            .lines()
            .collect::<std::io::Result<_>>()
            .with_context(|| format!("cannot read {}", path.display()))?;
        let mut events = Vec::with_capacity(lines.len());
        for (place, line) in lines.iter().enumerate() {
            match serde_json::from_str(line) {
                Ok(event) => events.push(event),
                Err(_) if place + 1 == lines.len() => break,
                Err(error) => bail!("{}, line {}: {error}", path.display(), place + 1),
            }
        }
        Ok(events)
    }

    /// Opens the log for further events, after dropping those of steps past `step`: an interrupted run goes
    /// on from its checkpoint, so it takes them again.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn log_from(&self, step: u64) -> Result<EventLog> {
        let path = self.path.join(EVENTS);
        let mut kept = Vec::new();
        for event in self.events()?.iter().filter(|event| event.step() <= step) {
            serde_json::to_writer(&mut kept, event)?;
            kept.push(b'\n');
        }
        write_atomically(&path, &kept)?;
        let file = OpenOptions::new().append(true).open(&path);
        Ok(EventLog { file: file.with_context(|| format!("cannot write {}", path.display()))?, path })
    }
}

/// The file of a run's events, one JSON object a line.
pub struct EventLog {
    file: File,
    path: PathBuf,
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

/// Writes a file under a temporary name beside it, syncs and renames it: whoever reads `path` finds the old
/// file or the new one, whole.
///
/// # Errors
/// If the disk is full or the folder cannot be written; the old file then stands.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
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
        drop(run.log_from(2).unwrap());
        assert_eq!(run.events().unwrap(), [Event::Checkpoint { step: 1 }, Event::Checkpoint { step: 2 }]);
        assert!(RunFolder::create(run.path(), &Config::mini()).unwrap_err().to_string().contains("--resume"));
    }
}
