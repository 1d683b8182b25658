use burn::tensor::{DType, Device, Distribution, Tensor};
use slimclr_network::layout::{ALIGNMENT, Place};

use super::pack;

#[test]
fn overlapping_slices_are_summed_in_place() {
    let shape = [4, 3, 2, 2];
    let random = |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Default, &Device::flex());
    let (whole, part, disjoint) = (random(shape), random([2, 2, 2, 2]), random([2, 1, 2, 2]));
    let slices = [[0..4, 0..3, 0..2, 0..2], [0..2, 0..2, 0..2, 0..2], [2..4, 1..2, 0..2, 0..2]];
    let expected = whole.clone().slice_assign(slices[1].clone(), whole.clone().slice(slices[1].clone()) + part.clone());
    let expected = expected.slice_assign(slices[2].clone(), whole.clone().slice(slices[2].clone()) + disjoint.clone());
    for dtype in [DType::F32, DType::F64] {
        let pieces = [&whole, &part, &disjoint].into_iter().zip(&slices).map(|(tensor, slice)| {
            (tensor.clone().cast(dtype), Place { start: ALIGNMENT, shape, slice: slice.clone() })
        });
        let packed = pack(pieces.collect(), 3 * ALIGNMENT);
        let found = super::part(&packed, ALIGNMENT, shape).cast(DType::F32);
        assert!((found - expected.clone()).abs().max().into_data().iter::<f32>().all(|largest| largest < 1e-6));
        let total = packed.sum().into_data().iter::<f32>().next().unwrap();
        let sum = expected.clone().sum().into_data().iter::<f32>().next().unwrap();
        assert!((total - sum).abs() < 1e-4 * sum, "{total} {sum}");
    }
}
