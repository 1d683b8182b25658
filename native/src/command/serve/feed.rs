//! A run's events as training writes them, as Server-Sent Events.

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

use super::confined::Confined;

/// Between two looks at the file: as often as a run reports its losses.
const PERIOD: Duration = Duration::from_millis(250);

/// What a browser is told.
enum News {
    /// An event, as it stands in the file.
    Line { id: String, text: String },
    /// What was told before does not hold any more: the run has gone on from its checkpoint, and all lines follow anew.
    Restart,
}

impl From<News> for sse::Event {
    fn from(news: News) -> Self {
        match news {
            News::Line { id, text } => Self::default().id(id).data(text),
            // Browsers drop an event without data.
            News::Restart => Self::default().event("restart").data("restart"),
        }
    }
}

/// All events that the file `name` in `folder` has, but those up to the one with the id `seen`; then each that is
/// appended, without end.
pub fn feed(folder: Confined, name: PathBuf, seen: Option<String>) -> impl Stream<Item = io::Result<sse::Event>> {
    let start = Follower { folder, name, offset: 0, number: 0, last: Vec::new() };
    let looks = stream::try_unfold((start, seen, Duration::ZERO), |(mut follower, seen, pause)| async move {
        sleep(pause).await;
        let look = move || {
            let news = follower.look()?;
            io::Result::Ok((follower, news))
        };
        let (follower, news) = spawn_blocking(look).await.map_err(io::Error::other)??;
        let news = match seen {
            Some(seen) => unseen(news, &seen),
            None => news,
        };
        let news = stream::iter(news.into_iter().map(|news| io::Result::Ok(sse::Event::from(news))));
        io::Result::Ok(Some((news, (follower, None, PERIOD))))
    });
    looks.try_flatten()
}

/// What follows the event with the id `seen`; everything, anew, if that event is not in the file any more.
fn unseen(mut news: Vec<News>, seen: &str) -> Vec<News> {
    match news.iter().position(|news| matches!(news, News::Line { id, .. } if id == seen)) {
        Some(at) => news.split_off(at + 1),
        None => [News::Restart].into_iter().chain(news).collect(),
    }
}

/// How far a file of lines, which grows, has been read.
struct Follower {
    folder: Confined,
    name: PathBuf,
    /// Bytes of the lines that have been read.
    offset: u64,
    /// How many these are.
    number: u64,
    /// The last of them.
    last: Vec<u8>,
}

impl Follower {
    /// Reads the whole lines that are new since the last look.
    fn look(&mut self) -> io::Result<Vec<News>> {
        let mut file = match self.folder.resolve(&self.name).and_then(File::open) {
            // Training has not begun.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        let mut news = Vec::new();
        if !self.goes_on(&mut file)? {
            (self.offset, self.number) = (0, 0);
            self.last.clear();
            news.push(News::Restart);
        }
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(self.offset))?;
        file.read_to_end(&mut text)?;
        // A line is being written as long as it has no end.
        let whole = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        news.extend(whole.filter_map(|line| self.take(line)));
        Ok(news)
    }

    /// Whether the file still has what was read. A run that goes on from its checkpoint writes it anew, without what it
    /// takes back and what was torn; if nothing is, then all stands where it stood.
    fn goes_on(&self, file: &mut File) -> io::Result<bool> {
        let mut there = vec![0; self.last.len()];
        file.seek(SeekFrom::Start(self.offset - self.last.len() as u64))?;
        match file.read_exact(&mut there) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            read => read.map(|()| there == self.last),
        }
    }

    /// Counts a line; news if it is an event.
    fn take(&mut self, line: &[u8]) -> Option<News> {
        self.offset += line.len() as u64;
        self.number += 1;
        self.last = line.to_vec();
        serde_json::from_slice::<Event>(line).ok()?;
        let text = str::from_utf8(line).ok()?.trim_end().to_owned();
        // With the line's digest, since training that went on from a checkpoint has other lines of the same number.
        let mut digest = DefaultHasher::new();
        line.hash(&mut digest);
        Some(News::Line { id: format!("{}-{:016x}", self.number, digest.finish()), text })
    }
}
