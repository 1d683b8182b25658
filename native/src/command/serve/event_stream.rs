//! Streams a run's events to browsers as Server-Sent Events, while training writes them.

use std::{
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    path::PathBuf,
    time::Duration,
};

use axum::response::sse;
use futures::{Stream, TryStreamExt, stream};
use slimclr_core::event::Event;
use tokio::{task::spawn_blocking, time::sleep};

use super::confined::ConfinedFolder;

/// Time between two polls of the file: as often as a run reports its losses.
const PERIOD: Duration = Duration::from_millis(250);

/// A message to the browser.
enum Message {
    /// An event, as written in the file.
    Line { id: String, text: String },
    /// Discard all events so far, because the run has resumed from its checkpoint; all lines of the file follow.
    Restart,
}

impl From<Message> for sse::Event {
    fn from(message: Message) -> Self {
        match message {
            Message::Line { id, text } => Self::default().id(id).data(text),
            // Browsers ignore events without data.
            Message::Restart => Self::default().event("restart").data("restart"),
        }
    }
}

/// Streams the events in the file `name` of `folder` that follow the event with the id `last_id` (all if `None`), then
/// each new event. Never ends.
pub fn event_stream(
    folder: ConfinedFolder,
    name: PathBuf,
    last_id: Option<String>,
) -> impl Stream<Item = io::Result<sse::Event>> {
    let start = LogReader { folder, name, offset: 0, number: 0, last: Vec::new() };
    let polls = stream::try_unfold((start, last_id, Duration::ZERO), |(mut reader, last_id, pause)| async move {
        sleep(pause).await;
        let poll = move || {
            let messages = reader.poll()?;
            io::Result::Ok((reader, messages))
        };
        let (reader, messages) = spawn_blocking(poll).await.map_err(io::Error::other)??;
        let messages = match last_id {
            Some(last_id) => after(messages, &last_id),
            None => messages,
        };
        let messages = stream::iter(messages.into_iter().map(|message| io::Result::Ok(sse::Event::from(message))));
        io::Result::Ok(Some((messages, (reader, None, PERIOD))))
    });
    polls.try_flatten()
}

/// Returns the messages after the event with the id `last_id`, or a restart and all messages if the file has no such
/// event.
fn after(mut messages: Vec<Message>, last_id: &str) -> Vec<Message> {
    match messages.iter().position(|message| matches!(message, Message::Line { id, .. } if id == last_id)) {
        Some(at) => messages.split_off(at + 1),
        None => [Message::Restart].into_iter().chain(messages).collect(),
    }
}

/// Reads new lines of a growing file.
struct LogReader {
    folder: ConfinedFolder,
    name: PathBuf,
    /// Bytes read so far.
    offset: u64,
    /// Lines read so far.
    number: u64,
    /// The last line read.
    last: Vec<u8>,
}

impl LogReader {
    /// Reads the complete lines written since the last poll.
    fn poll(&mut self) -> io::Result<Vec<Message>> {
        let mut file = match self.folder.resolve(&self.name).and_then(File::open) {
            // Training has not started.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        let mut messages = Vec::new();
        if !self.is_unchanged(&mut file)? {
            (self.offset, self.number) = (0, 0);
            self.last.clear();
            messages.push(Message::Restart);
        }
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(self.offset))?;
        file.read_to_end(&mut text)?;
        // A line without a line feed is still being written.
        let complete = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        messages.extend(complete.filter_map(|line| self.parse(line)));
        Ok(messages)
    }

    /// Returns whether the lines read so far are unchanged, judged by the last one. A run that resumes from its
    /// checkpoint rewrites the file without the events of later steps; if there are none, the file stays the same.
    fn is_unchanged(&self, file: &mut File) -> io::Result<bool> {
        let mut found = vec![0; self.last.len()];
        file.seek(SeekFrom::Start(self.offset - self.last.len() as u64))?;
        match file.read_exact(&mut found) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            read => read.map(|()| found == self.last),
        }
    }

    /// Counts a line, and returns its message if it is an event.
    fn parse(&mut self, line: &[u8]) -> Option<Message> {
        self.offset += line.len() as u64;
        self.number += 1;
        self.last = line.to_vec();
        serde_json::from_slice::<Event>(line).ok()?;
        let text = str::from_utf8(line).ok()?.trim_end().to_owned();
        // The id includes a hash of the line, because a resumed run may write another line with the same number.
        let mut digest = DefaultHasher::new();
        line.hash(&mut digest);
        Some(Message::Line { id: format!("{}-{:016x}", self.number, digest.finish()), text })
    }
}
