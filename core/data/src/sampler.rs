//! The images of each step and their random views, which depend only on the run's options.

use std::sync::Mutex;

use slimclr_run::{config::Config, normalisation::Normalisation};

use crate::{
    augment::{AugmentConfig, AugmentError, Augmenter, ViewPlan, epoch_order, view_rng, views},
    batch::{HostBatch, LabelledImages},
    image::Image,
};

/// Draws a run's batches and makes views of their images.
#[derive(Debug)]
pub struct Sampler {
    /// One recipe for each view of an image.
    recipes: Vec<AugmentConfig>,
    normalisation: Normalisation,
    size: usize,
    batch: usize,
    seed: u64,
    /// The latest epoch and its order, kept because drawing it takes longer than a batch.
    order: Mutex<(u64, Vec<u32>)>,
}

/// One image's slices of the buffers of a batch's views, `[3, size, size]` each.
pub type Slots<'a> = Vec<&'a mut [f32]>;

impl Sampler {
    /// Creates the sampler of the run that `config` describes, on images of this normalisation.
    pub fn new(config: &Config, normalisation: Normalisation) -> Self {
        Self {
            recipes: views(config.method, normalisation, config.image_size),
            normalisation,
            size: config.image_size,
            batch: config.batch,
            seed: config.seed,
            order: Mutex::default(),
        }
    }

    /// Returns the side of the views, in pixels.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns the epoch of `step`, and the indices of its batch among `images` training images.
    pub fn batch(&self, step: u64, images: usize) -> (u64, Vec<u32>) {
        let steps_per_epoch = (images / self.batch) as u64;
        let (epoch, place) = (step / steps_per_epoch, (step % steps_per_epoch) as usize * self.batch);
        let mut latest = self.order.lock().expect("nothing panics while it holds the order");
        if latest.0 != epoch || latest.1.len() != images {
            *latest = (epoch, epoch_order(self.seed, epoch, images));
        }
        (epoch, latest.1[place..place + self.batch].to_vec())
    }

    /// Plans each view of a batch's images, of `[width, height]` pixels each: the image's index and the random choices
    /// of its view. A device that holds the images makes the views from the plans.
    pub fn plans(&self, (epoch, batch): (u64, &[u32]), size: [usize; 2]) -> Vec<Vec<(u32, ViewPlan)>> {
        let plan = |recipe: &AugmentConfig, number, index: u32| {
            let mut rng = view_rng(self.seed, epoch, u64::from(index), number);
            (index, ViewPlan::draw(recipe, size, &mut rng))
        };
        let of_view = |(recipe, number)| batch.iter().map(|index| plan(recipe, number, *index)).collect();
        self.recipes.iter().zip(0..).map(of_view).collect()
    }

    /// Returns the normalisation of the views.
    pub fn normalisation(&self) -> Normalisation {
        self.normalisation
    }

    /// Allocates buffers for the views of a batch, `[batch, 3, size, size]` each.
    pub fn buffers(&self) -> Vec<Vec<f32>> {
        vec![vec![0.0; self.batch * self.pixels()]; self.recipes.len()]
    }

    /// Splits the buffers into each image's slots, so that an image is decoded only once.
    pub fn slots<'a>(&self, buffers: &'a mut [Vec<f32>]) -> Vec<Slots<'a>> {
        let mut slots: Vec<Slots> = (0..self.batch).map(|_| Vec::new()).collect();
        for view in buffers {
            for (slots, slot) in slots.iter_mut().zip(view.chunks_exact_mut(self.pixels())) {
                slots.push(slot);
            }
        }
        slots
    }

    /// Makes the views of the batch of `step`, of images in memory.
    ///
    /// # Errors
    /// If an image is empty.
    pub fn views(
        &self,
        augmenter: &mut Augmenter,
        images: &[(Image, u32)],
        step: u64,
    ) -> Result<HostBatch, AugmentError> {
        let (epoch, batch) = self.batch(step, images.len());
        let mut pixels = self.buffers();
        for (slots, index) in self.slots(&mut pixels).into_iter().zip(&batch) {
            self.view(augmenter, &images[*index as usize].0, (epoch, *index), slots)?;
        }
        Ok(HostBatch { pixels, labels: batch.iter().map(|index| images[*index as usize].1).collect() })
    }

    /// Fills the slots of the image at `index` with its views in `epoch`.
    ///
    /// # Errors
    /// If the image is empty.
    pub fn view(
        &self,
        augmenter: &mut Augmenter,
        image: &Image,
        (epoch, index): (u64, u32),
        slots: Slots,
    ) -> Result<(), AugmentError> {
        for ((slot, recipe), number) in slots.into_iter().zip(&self.recipes).zip(0..) {
            let mut rng = view_rng(self.seed, epoch, u64::from(index), number);
            augmenter.view(image, recipe, self.size, &mut rng, slot)?;
        }
        Ok(())
    }

    /// Makes the view of `image` for evaluation, `[3, size, size]`.
    ///
    /// # Errors
    /// If the image is empty.
    pub fn centre(&self, augmenter: &mut Augmenter, image: &Image) -> Result<Vec<f32>, AugmentError> {
        let mut pixels = vec![0.0; self.pixels()];
        augmenter.centre(image, self.size, &self.normalisation, &mut pixels)?;
        Ok(pixels)
    }

    /// Collects a chunk of images for evaluation: for each its index in its set, its class and its
    /// [`centre`](Self::centre) view.
    pub fn labelled(&self, images: impl IntoIterator<Item = (usize, u32, Vec<f32>)>) -> LabelledImages {
        let mut chunk = LabelledImages { size: self.size, ..LabelledImages::default() };
        for (index, label, pixels) in images {
            chunk.indices.push(index);
            chunk.labels.push(label);
            chunk.pixels.extend(pixels);
        }
        chunk
    }

    fn pixels(&self) -> usize {
        3 * self.size * self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_consecutive_parts_of_an_epochs_order() {
        let sampler = Sampler::new(&Config { batch: 4, ..Config::mini() }, Normalisation::CIFAR10);
        // Ten images are two batches; steps may come in any order.
        for step in [0, 1, 2, 5, 1, 4] {
            let (epoch, place) = (step / 2, step as usize % 2 * 4);
            let order = epoch_order(sampler.seed, epoch, 10);
            assert_eq!(sampler.batch(step, 10), (epoch, order[place..place + 4].to_vec()));
        }
    }
}
