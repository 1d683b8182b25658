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
        plans: Vec<(u32, ViewPlan)>,
        size: usize,
        normalisation: Normalisation,
    ) -> FloatTensor<Self> {
        let [_, height, width] = images.layout().shape().dims();
        let words: &[i32] = images.as_slice().expect("uploaded images are contiguous");
        let mut values = vec![0.0; plans.len() * 3 * size * size];
        for_each_chunk(&mut values, 3 * size * size, Augmenter::new, |augmenter, number, view| {
            let (image, plan) = &plans[number];
            let words = &words[*image as usize * width * height..][..width * height];
            let bytes = |word: &i32| {
                let [red, green, blue, _] = word.to_le_bytes();
                [red, green, blue]
            };
            let image = Image { width, height, pixels: words.iter().flat_map(bytes).collect() };
            augmenter.planned(&image, plan, size, &normalisation, view);
        });
        tensor(values, [plans.len(), 3, size, size])
    }
}
