//! Packing on the CPU, for f32.

use std::collections::BTreeMap;

use burn::backend::{Flex, flex::FlexTensor, tensor::FloatTensor};
use slimclr_network::layout::Place;

use super::{
    PackBackend,
    pieces::{Pieces, rows},
    plain,
};
use crate::{
    cpu::{is_f32, values},
    threads::for_each_chunk,
};

impl PackBackend for Flex {
    fn add_pieces(packed: FloatTensor<Self>, pieces: Pieces<Self>) -> FloatTensor<Self> {
        if !is_f32(&packed) {
            return plain::add_pieces::<Self>(packed, pieces);
        }
        // Each packed tensor is one task, so that its pieces are added in order.
        let mut parts: BTreeMap<usize, Vec<(FlexTensor, Place)>> = BTreeMap::new();
        for (tensor, place) in pieces.0 {
            parts.entry(place.start).or_default().push((tensor, place));
        }
        let contiguous = packed.to_contiguous();
        // A shared tensor would be copied when it is changed.
        drop(packed);
        let mut packed = contiguous;
        let (mut rest, mut begin) = (packed.storage_mut::<f32>(), 0);
        let mut tasks = Vec::with_capacity(parts.len());
        for (start, pieces) in parts {
            let size = pieces[0].1.shape.iter().product();
            let (target, after) = rest[start - begin..].split_at_mut(size);
            (rest, begin) = (after, start + size);
            tasks.push((target, pieces));
        }
        for_each_chunk(
            &mut tasks,
            1,
            || (),
            |(), _, task| {
                let (target, pieces) = &mut task[0];
                for (tensor, place) in pieces {
                    let [start, _, run, stride] = rows(place);
                    let tensor = tensor.to_contiguous();
                    for (row, values) in values(&tensor).chunks_exact(run).enumerate() {
                        let target = &mut target[start - place.start + row * stride..][..run];
                        target.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                    }
                }
            },
        );
        packed
    }
}
