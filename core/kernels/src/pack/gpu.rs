//! Packing on GPUs, for f32.

use std::ops::Range;

use burn::{
    backend::{TensorMetadata, ops::FloatTensorOps, tensor::FloatTensor},
    tensor::{Shape, Slice},
};
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::{prelude::*, zspace::metadata::Metadata};

use slimclr_network::layout::Place;

use super::{
    PackBackend,
    pieces::{Pieces, rows},
    plain,
};
use crate::gpu::{UNITS, buffer_offset, is_f32, share_a_buffer, whole_buffer};

/// Buffers that a launch reads: with the one it writes and that of the scalars, the limit of every browser.
const BUFFERS: usize = 6;

/// The maximum number of workgroups per tensor.
const GROUPS: usize = 1024;

/// Where a tensor's values are in its buffer, and which rows they are in the packed tensor.
#[derive(CubeType, CubeLaunch, Clone)]
struct Piece {
    from: usize,
    length: usize,
    start: usize,
    run: usize,
    stride: usize,
    #[cube(comptime)]
    buffer: usize,
}

/// Adds pieces that do not overlap; each takes a row of workgroups.
#[cube(launch_unchecked)]
fn add(buffers: Sequence<Box<[f32]>>, pieces: Sequence<Piece>, packed: &mut [f32]) {
    #[unroll]
    for number in 0..pieces.len() {
        if CUBE_POS_Y as usize == number {
            let piece = pieces.index(number);
            let values = buffers.index(comptime!(piece.buffer));
            let mut position = CUBE_POS_X as usize * comptime!(UNITS) + UNIT_POS as usize;
            while position < piece.length {
                let row = position / piece.run;
                let at = piece.start + row * piece.stride + position - row * piece.run;
                packed[at] += values[piece.from + position];
                position += CUBE_COUNT_X as usize * comptime!(UNITS);
            }
        }
    }
}

/// The pieces of a launch.
#[derive(Default)]
struct Batch {
    /// One tensor per buffer.
    buffers: Vec<CubeTensor>,
    /// Tensors with the index of their buffer.
    pieces: Vec<(CubeTensor, Place, usize)>,
}

impl Batch {
    /// Takes a tensor if its buffer is already bound or there is room for another, and if no other piece belongs to the
    /// same packed tensor. Returns whether it did.
    fn take(&mut self, tensor: &CubeTensor, place: &Place) -> bool {
        let is_apart = self.pieces.iter().all(|(_, other, _)| other.start != place.start);
        let known = self.buffers.iter().position(|buffer| share_a_buffer(buffer, tensor));
        if !is_apart || (known.is_none() && self.buffers.len() == BUFFERS) {
            return false;
        }
        let number = known.unwrap_or(self.buffers.len());
        if known.is_none() {
            self.buffers.push(tensor.clone());
        }
        self.pieces.push((tensor.clone(), place.clone(), number));
        true
    }

    fn launch(&self, packed: &CubeTensor) {
        let length = |tensor: &CubeTensor| tensor.shape().num_elements();
        let longest = self.pieces.iter().map(|(tensor, ..)| length(tensor)).max().unwrap_or(0);
        let count = CubeCount::Static(longest.div_ceil(UNITS).min(GROUPS) as u32, self.pieces.len() as u32, 1);
        let pieces = self.pieces.iter().map(|(tensor, of, buffer)| {
            let [start, _, run, stride] = rows(of);
            PieceLaunch::new(buffer_offset(tensor), length(tensor), start, run, stride, *buffer)
        });
        // SAFETY: the pieces are those of the tensors, and their places are inside the packed tensor.
        unsafe {
            add::launch_unchecked(
                &packed.client,
                count,
                CubeDim::new_1d(UNITS as u32),
                self.buffers.iter().map(whole_buffer).collect(),
                pieces.collect(),
                packed.clone().into_buffer_arg(),
            );
        }
    }
}

impl PackBackend for CubeBackend {
    fn add_pieces(packed: FloatTensor<Self>, pieces: Pieces<Self>) -> FloatTensor<Self> {
        if !is_f32(&packed) {
            return plain::add_pieces::<Self>(packed, pieces);
        }
        let packed = if packed.can_mut() { packed } else { packed.copy() };
        let mut batch = Batch::default();
        for (tensor, place) in pieces.0 {
            let tensor = into_contiguous(tensor);
            if !batch.take(&tensor, &place) {
                batch.launch(&packed);
                batch = Batch::default();
                assert!(batch.take(&tensor, &place), "an empty launch has room for a tensor");
            }
        }
        batch.launch(&packed);
        packed
    }

    fn part(packed: FloatTensor<Self>, start: usize, shape: Shape) -> FloatTensor<Self> {
        let size = packed.dtype.size();
        let end = packed.shape().num_elements() - start - shape.num_elements();
        let handle = packed.handle.offset_start((start * size) as u64).offset_end((end * size) as u64);
        CubeTensor::new_contiguous(packed.client, packed.device, shape, handle, packed.dtype)
    }

    fn slice_of(mut x: FloatTensor<Self>, slice: [Range<usize>; 4]) -> FloatTensor<Self> {
        if slice.iter().any(|range| range.start > 0) {
            // A buffer can only be bound at aligned offsets.
            return Self::float_slice(x, &slice.map(Slice::from));
        }
        let shape = Shape::new(slice.map(|range| range.len()));
        *x.meta = Metadata::new(shape, x.meta.strides().clone());
        x
    }
}
