//! Event files: records of a length, a message and checksums of both (TFRecord).

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use crc32c::crc32c;
use prost::Message;

use super::proto::{Event, Summary, Value, What};
use crate::files::{create_folder, write_atomically};

/// The start of the name of an event file; seconds since 1970 follow.
const PREFIX: &str = "events.out.tfevents.";
/// The end of the names of this program's event files.
const SUFFIX: &str = ".slimclr";
/// The version that the first record states.
const VERSION: &str = "brain.Event:2";

/// An event file that grows.
pub struct EventFile {
    file: File,
    path: PathBuf,
    /// Whether it has no records yet.
    is_new: bool,
}

impl EventFile {
    /// Opens the event file of `folder`, to be continued after `step` steps. What earlier files hold of later steps is
    /// dropped. The rest moves to a file with a later name, since TensorBoard does not read a file again that it has read.
    ///
    /// # Errors
    /// If the folder cannot be read or written.
    pub fn open(folder: &Path, step: u64) -> Result<Self> {
        create_folder(folder)?;
        let earlier = event_files(folder)?;
        let version = Event { wall_time: now(), step: 0, what: Some(What::FileVersion(VERSION.into())) };
        let mut contents = record(&version);
        let beginning = contents.len();
        for path in &earlier {
            let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            for (event, bytes) in Records(&bytes) {
                if matches!(event.what, Some(What::Summary(_))) && event.step <= step as i64 {
                    contents.extend(bytes);
                }
            }
        }
        let path = unused_path(folder);
        write_atomically(&path, &contents)?;
        for path in earlier {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        let file = OpenOptions::new().append(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file, path, is_new: contents.len() == beginning })
    }

    /// Returns whether it had no records when it was opened.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Appends what is known after `step` steps, if there is anything.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append(&mut self, step: u64, value: Vec<Value>) -> Result<()> {
        if value.is_empty() {
            return Ok(());
        }
        let event = Event { wall_time: now(), step: step as i64, what: Some(What::Summary(Summary { value })) };
        self.file.write_all(&record(&event)).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// Lists the event files of this program in `folder`, in the order in which they were begun.
fn event_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = || format!("cannot read the folder {}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let is_ours = |name: &str| name.starts_with(PREFIX) && name.ends_with(SUFFIX);
        if entry.file_name().to_str().is_some_and(is_ours) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Returns a name of an event file that sorts after those in `folder`.
fn unused_path(folder: &Path) -> PathBuf {
    let paths = (now() as u64..).map(|seconds| folder.join(format!("{PREFIX}{seconds:010}{SUFFIX}")));
    paths.into_iter().find(|path| !path.exists()).expect("there is always a later second")
}

/// Returns the seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Returns a record: the message's length and its checksum, the message and its checksum.
fn record(event: &Event) -> Vec<u8> {
    let message = event.encode_to_vec();
    let length = (message.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), &message, &masked_crc(&message)].concat()
}

/// Returns TFRecord's checksum: CRC-32C, changed so that checksums of checksums work.
fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// The records at the beginning of these bytes, up to a damaged one or half a one, which a killed process leaves.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    /// A message, and the bytes of its record.
    type Item = (Event, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::try_from(u64::from_le_bytes(*self.0.first_chunk()?)).ok()?;
        let message = self.0.get(12..)?.get(..length)?;
        let checksum = self.0.get(12 + length..)?.first_chunk()?;
        if *checksum != masked_crc(message) {
            return None;
        }
        let (record, rest) = self.0.split_at(16 + length);
        self.0 = rest;
        Some((Event::decode(message).ok()?, record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(folder: &Path) -> Vec<i64> {
        let [file] = &event_files(folder).unwrap()[..] else { panic!("there is not one file") };
        let bytes = fs::read(file).unwrap();
        let mut events = Records(&bytes).map(|(event, _)| event);
        assert_eq!(events.next().unwrap().what, Some(What::FileVersion(VERSION.into())));
        events.map(|event| event.step).collect()
    }

    #[test]
    fn a_checksum_is_that_of_tensorflow() {
        // Of the length 24 of a version record, as TensorFlow writes it.
        assert_eq!(masked_crc(&24_u64.to_le_bytes()), [0xa3, 0x7f, 0x4b, 0x22]);
    }

    #[test]
    fn a_continued_file_has_each_step_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::open(folder.path(), 0).unwrap();
        assert!(file.is_new());
        for step in 1..=4 {
            file.append(step, vec![Value::scalar("loss", 1.0 / step as f64)]).unwrap();
        }
        file.append(5, Vec::new()).unwrap();
        file.file.write_all(&record(&Event::default())[..9]).unwrap();
        fs::write(folder.path().join("events.out.tfevents.7.other"), "another program's").unwrap();

        let mut file = EventFile::open(folder.path(), 2).unwrap();
        assert!(!file.is_new());
        file.append(3, vec![Value::scalar("loss", 0.0)]).unwrap();
        assert_eq!(steps(folder.path()), [1, 2, 3]);
        assert!(folder.path().join("events.out.tfevents.7.other").exists());
    }
}
