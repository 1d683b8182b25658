//! Reference implementation in the back end's own operations; also used for dtypes without a fused kernel.

use burn::{
    backend::{Backend, tensor::FloatTensor},
    tensor::Slice,
};

use super::pieces::{Pieces, rows};

pub fn add_pieces<B: Backend>(mut packed: FloatTensor<B>, pieces: Pieces<B>) -> FloatTensor<B> {
    for (tensor, place) in pieces.0 {
        let [start, count, run, stride] = rows(&place);
        let values = B::float_reshape(tensor, [count * run].into());
        for row in 0..count {
            let place = [Slice::from(start + row * stride..start + row * stride + run)];
            let value = B::float_slice(values.clone(), &[Slice::from(row * run..(row + 1) * run)]);
            let sum = B::float_add(B::float_slice(packed.clone(), &place), value);
            packed = B::float_slice_assign(packed, &place, sum);
        }
    }
    packed
}
