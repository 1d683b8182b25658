//! The order in which an epoch visits the images of shards.
//!
//! Shards are shuffled and dealt to a fixed number of streams. Each stream reads its shards one after the other, from
//! front to back; a round takes an image of each stream. What was read waits in a buffer, from which images are drawn at
//! random. So files are read sequentially, and neighbours in a shard are trained on apart from each other.
//!
//! All of that is done on numbers alone, before anything is read: the order is a function of the seed, the epoch and the
//! sizes of the images. It depends on no thread and no clock, and a run resumes at any step.

use rand::{RngExt, seq::SliceRandom};

use crate::augment::{ViewRng, seeded};

/// Streams that shards are dealt to. They can be read by separate threads, or machines.
pub const STREAMS: usize = 16;

/// Most bytes of encoded images in the buffer, about 2,400 images of ImageNet. A single larger image still fits.
pub const BUFFER: u64 = 256 << 20;

/// The part of a data set's layout in shards that its order depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardOrder {
    /// For each shard, the index of its first image; then the number of all images.
    starts: Vec<u32>,
    /// Size of each image, in bytes.
    sizes: Vec<u32>,
    /// Most bytes in the buffer.
    buffer: u64,
}

impl ShardOrder {
    /// Creates the order of shards, of which each is given as the sizes of its images, in bytes. Images are numbered
    /// through all shards.
    pub fn new(shards: impl IntoIterator<Item = impl IntoIterator<Item = u32>>) -> Self {
        let (mut starts, mut sizes) = (vec![0], Vec::new());
        for shard in shards {
            sizes.extend(shard);
            starts.push(sizes.len() as u32);
        }
        Self { starts, sizes, buffer: BUFFER }
    }

    /// Returns the order in which an epoch visits the images: a permutation of their indices.
    pub fn epoch(&self, seed: u64, epoch: u64) -> Vec<u32> {
        let mut rng = seeded(&[seed, epoch]);
        let streams = self.deal(&mut rng);
        let mut order = Vec::with_capacity(self.sizes.len());
        let (mut buffer, mut bytes): (Vec<u32>, _) = (Vec::new(), 0);
        for index in rounds(&streams) {
            let size = u64::from(self.sizes[index as usize]);
            while !buffer.is_empty() && bytes + size > self.buffer {
                let drawn = buffer.swap_remove(rng.random_range(0..buffer.len() as u32) as usize);
                bytes -= u64::from(self.sizes[drawn as usize]);
                order.push(drawn);
            }
            buffer.push(index);
            bytes += size;
        }
        buffer.shuffle(&mut rng);
        order.extend(buffer);
        order
    }

    /// Returns what each stream reads in an epoch, in order, to visit the images from `place` of its order on: all of its
    /// shards, without what was visited before.
    pub fn streams(&self, seed: u64, epoch: u64, place: usize) -> Vec<Vec<u32>> {
        let mut visited = vec![false; self.sizes.len()];
        self.epoch(seed, epoch)[..place].iter().for_each(|index| visited[*index as usize] = true);
        let mut streams = self.deal(&mut seeded(&[seed, epoch]));
        streams.iter_mut().for_each(|stream| stream.retain(|index| !visited[*index as usize]));
        streams
    }

    /// Shuffles the shards and deals their images to the streams.
    fn deal(&self, rng: &mut ViewRng) -> Vec<Vec<u32>> {
        let mut shards: Vec<_> = self.starts.windows(2).map(|ends| ends[0]..ends[1]).collect();
        shards.shuffle(rng);
        let mut streams = vec![Vec::new(); STREAMS.min(shards.len())];
        for (place, shard) in shards.into_iter().enumerate() {
            streams[place % STREAMS].extend(shard);
        }
        streams
    }
}

/// Takes the next of each stream in each round, until all have ended.
fn rounds(streams: &[Vec<u32>]) -> impl Iterator<Item = u32> {
    let longest = streams.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(move |round| streams.iter().filter_map(move |stream| stream.get(round).copied()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Forty shards of 10 to 49 images, of 1 to 97 bytes each; the buffer holds about forty of them.
    fn layout() -> ShardOrder {
        let shard = |shard: u32| (0..10 + shard).map(move |image| 1 + (shard * 31 + image * 17) % 97);
        ShardOrder { buffer: 2000, ..ShardOrder::new((0..40).map(shard)) }
    }

    #[test]
    fn an_epoch_visits_every_image_once_and_is_reproducible() {
        let layout = layout();
        let order = layout.epoch(7, 3);
        let mut sorted = order.clone();
        sorted.sort();
        assert_eq!(sorted, (0..1180).collect::<Vec<u32>>());
        assert_eq!(order, layout.epoch(7, 3));
        assert_ne!(order, layout.epoch(7, 4));
        assert_ne!(order, layout.epoch(8, 3));
        assert!(ShardOrder::new(Vec::<Vec<u32>>::new()).epoch(7, 3).is_empty());
    }

    /// A run that one version of the program began is resumed by another.
    #[test]
    fn the_order_is_fixed() {
        let small = ShardOrder { buffer: 4, ..ShardOrder::new([vec![1; 3], vec![1; 2], vec![1; 4]]) };
        assert_eq!(small.epoch(1, 2), [4, 5, 3, 1, 2, 7, 8, 0, 6]);
    }

    #[test]
    fn streams_give_each_image_before_its_turn_within_the_buffer() {
        let layout = layout();
        let order = layout.epoch(7, 0);
        for place in [0, 1, 17, 500, 1179, 1180] {
            let streams = layout.streams(7, 0, place);
            assert_eq!(streams.iter().map(Vec::len).sum::<usize>(), 1180 - place);
            // A reader takes from the stream of the image whose turn it is until it comes.
            let mut streams: Vec<_> = streams.into_iter().map(Vec::into_iter).collect();
            let stream_of = |index: u32| {
                let all = layout.streams(7, 0, 0);
                all.iter().position(|stream| stream.contains(&index)).unwrap()
            };
            let (mut waiting, mut most) = (HashSet::new(), 0);
            for index in &order[place..] {
                while !waiting.contains(index) {
                    waiting.insert(streams[stream_of(*index)].next().unwrap());
                }
                most = most.max(waiting.iter().map(|index| u64::from(layout.sizes[*index as usize])).sum());
                waiting.remove(index);
            }
            assert!(waiting.is_empty() && most <= 2000, "{most} bytes from place {place}");
        }
    }

    #[test]
    fn the_buffer_separates_neighbours_and_files_are_read_sequentially() {
        let layout = layout();
        for stream in layout.streams(7, 0, 0) {
            let jumps = stream.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
            assert!(jumps <= 2, "a stream of three shards jumps twice");
        }
        let order = layout.epoch(7, 0);
        let neighbours = order.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count();
        assert!(neighbours < 40, "{neighbours} of 1179 pairs are neighbours in a shard");
    }

    #[test]
    fn an_image_larger_than_the_buffer_is_visited() {
        let layout = ShardOrder { buffer: 10, ..ShardOrder::new([vec![4, 50, 4], vec![4, 4]]) };
        assert_eq!(layout.epoch(0, 0).len(), 5);
    }
}
