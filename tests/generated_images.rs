//! A host of generated images.

use std::{cell::RefCell, convert::Infallible, rc::Rc};

use burn::tensor::Device;
use slimclr_core::{
    augment::Normalisation,
    config::Config,
    data::batch::{HostBatch, HostViews, LabelledImages, ViewPairs},
    dataset::DatasetSummary,
    kernel::ranks::Ranks,
    method::Batch,
    train::{Artifact, Host, Split},
};

/// Images of each split.
pub const IMAGES: usize = 16;

/// Images that are evaluated at once.
pub const CHUNK: usize = 5;

/// Returns the options of a run of eight steps at two widths.
pub fn eight_steps() -> Config {
    Config {
        batch: 4,
        queue: 16,
        dim: 8,
        multiplier: 1.0,
        image_size: 16,
        widths: vec![1.0, 0.5],
        epochs: 2.0,
        ..Config::mini()
    }
}

/// A host of generated images, all different and each of its own class.
pub struct GeneratedImages {
    config: Config,
    dataset: DatasetSummary,
    ranks: Ranks,
    saved: Rc<RefCell<Vec<Artifact>>>,
}

impl GeneratedImages {
    pub fn new(config: Config, ranks: Ranks) -> Self {
        let classes = (0..IMAGES).map(|class| class.to_string()).collect();
        let dataset = DatasetSummary::without_digests(Normalisation::CIFAR10, classes, [IMAGES, IMAGES]);
        Self { config, dataset, ranks, saved: Rc::default() }
    }

    /// Returns what the run saves, which is not kept.
    #[allow(dead_code, reason = "not every test looks at it")]
    pub fn saved(&self) -> Rc<RefCell<Vec<Artifact>>> {
        self.saved.clone()
    }

    fn pixels(&self, image: usize) -> impl Iterator<Item = f32> + use<> {
        let pixels = 3 * self.config.image_size * self.config.image_size;
        (0..pixels).map(move |pixel| ((pixel * (image + 1)) as f32 * 0.1).sin())
    }
}

impl Host for GeneratedImages {
    type Error = Infallible;

    fn dataset(&self) -> &DatasetSummary {
        &self.dataset
    }

    fn now(&self) -> f64 {
        0.0
    }

    async fn batch(&mut self, step: u64, device: &Device) -> Result<Batch, Infallible> {
        let count = self.config.batch / self.ranks.count();
        let first = step as usize + self.ranks.rank() * count;
        let pixels = |shift| (first..first + count).flat_map(|image| self.pixels(image + shift)).collect();
        let view = |shift| HostViews::Finished { pixels: pixels(shift), size: self.config.image_size };
        let views = HostBatch { views: [0, 1].map(view).into(), labels: vec![0; count] };
        Ok(Batch::from_host(views, device))
    }

    fn evaluated(&self, _: Split) -> usize {
        IMAGES
    }

    async fn labelled(&mut self, _: Split, chunk: usize) -> Result<Option<LabelledImages>, Infallible> {
        let images: Vec<usize> = (0..IMAGES).skip(chunk * CHUNK).take(CHUNK).collect();
        let labelled = || LabelledImages {
            pixels: images.iter().flat_map(|image| self.pixels(*image)).collect(),
            labels: images.iter().map(|image| *image as u32).collect(),
            indices: images.clone(),
            size: self.config.image_size,
        };
        Ok((!images.is_empty()).then(labelled))
    }

    async fn view_pairs(&mut self, chunk: usize) -> Result<Option<ViewPairs>, Infallible> {
        let view = |shift| (0..IMAGES).flat_map(|image| self.pixels(image + shift)).collect();
        Ok((chunk == 0).then(|| ViewPairs { pixels: [view(0), view(1)], size: self.config.image_size }))
    }

    async fn save(&mut self, what: Artifact, _: Vec<u8>) -> Result<(), Infallible> {
        self.saved.borrow_mut().push(what);
        Ok(())
    }

    async fn gradients(&mut self, _: u64) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(None)
    }
}
