//! Views on the CPU.

use burn::backend::{
    Flex,
    tensor::{FloatTensor, IntTensor},
};
use slimclr_data::{
    augment::{Augmenter, Normalisation, ViewPlan},
    image::Image,
};

use super::ViewsBackend;
use crate::{cpu::tensor, threads::for_each_chunk};

impl ViewsBackend for Flex {
    fn views(
        images: IntTensor<Self>,
        [width, height]: [usize; 2],
        plans: Vec<(u32, ViewPlan)>,
        size: usize,
        normalisation: Normalisation,
    ) -> FloatTensor<Self> {
        let words: &[i32] = images.as_slice().expect("uploaded images are contiguous");
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut values = vec![0.0; plans.len() * 3 * size * size];
        for_each_chunk(&mut values, 3 * size * size, Augmenter::new, |augmenter, number, view| {
            let (image, plan) = &plans[number];
            let pixels = bytes[*image as usize * 3 * width * height..][..3 * width * height].to_vec();
            let image = Image { width, height, pixels };
            augmenter.planned(&image.into(), plan, size, &normalisation, view);
        });
        tensor(values, [plans.len(), 3, size, size])
    }
}
