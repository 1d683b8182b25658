//! Reads the images of shards sequentially, ahead of their turn.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read},
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread,
};

use anyhow::{Context, Result};

use super::images::{Place, ShardImages};

/// Images that a stream reads before they are asked for.
const AHEAD: usize = 2;

/// Bytes that are read at once.
const READ: usize = 1 << 20;

/// The encoded images of an epoch, as they come from the streams of its shards. Each stream is read by a thread.
pub struct ShardReader {
    streams: Vec<Receiver<(u32, io::Result<Vec<u8>>)>>,
    /// The stream of each image.
    stream_of: Vec<u8>,
    /// The shuffle buffer: images that came before their turn.
    waiting: HashMap<u32, io::Result<Vec<u8>>>,
}

impl ShardReader {
    /// Starts to read `streams` of `images` ([`ShardOrder::streams`](slimclr_core::data::shards::ShardOrder::streams)).
    /// The threads end with the streams, or once the reader is dropped.
    pub fn start(images: &Arc<ShardImages>, streams: Vec<Vec<u32>>) -> Self {
        let mut stream_of = vec![u8::MAX; images.len()];
        for (number, stream) in (0..).zip(&streams) {
            stream.iter().for_each(|index| stream_of[*index as usize] = number);
        }
        let start = |stream: Vec<u32>| {
            let (send, receive) = sync_channel(AHEAD);
            let images = images.clone();
            thread::spawn(move || {
                let mut shard = None;
                for index in stream {
                    let image = read_next(&mut shard, images.place(index as usize));
                    if send.send((index, image)).is_err() {
                        break;
                    }
                }
            });
            receive
        };
        Self { streams: streams.into_iter().map(start).collect(), stream_of, waiting: HashMap::new() }
    }

    /// Returns the image at `index`, whose turn it is in the epoch's order.
    ///
    /// # Errors
    /// If its shard cannot be read.
    pub fn take(&mut self, index: u32) -> Result<Vec<u8>> {
        loop {
            if let Some(image) = self.waiting.remove(&index) {
                return Ok(image?);
            }
            let stream = self.streams.get(usize::from(self.stream_of[index as usize]));
            let next = stream.and_then(|stream| stream.recv().ok());
            let (next, image) = next.context("the thread that reads its shard has ended")?;
            self.waiting.insert(next, image);
        }
    }
}

/// A shard that is read from front to back.
struct OpenShard {
    number: u32,
    file: BufReader<File>,
    position: u64,
}

/// Reads the image at `place`, which is behind the last one read if `shard` is that of the last one.
fn read_next(shard: &mut Option<OpenShard>, place: Place) -> io::Result<Vec<u8>> {
    let mut open = match shard.take().filter(|open| open.number == place.shard) {
        Some(open) => open,
        None => {
            let file = BufReader::with_capacity(READ, File::open(place.path)?);
            OpenShard { number: place.shard, file, position: 0 }
        }
    };
    open.file.seek_relative(place.offset as i64 - open.position as i64)?;
    let mut image = vec![0; place.size];
    open.file.read_exact(&mut image)?;
    open.position = place.offset + place.size as u64;
    *shard = Some(open);
    Ok(image)
}
