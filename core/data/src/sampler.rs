//! The images of each step and their random views, which depend only on the run's options.

use std::sync::Mutex;

use rand::RngExt;
use slimclr_run::{config::Config, normalisation::Normalisation};

use crate::{
    augment::{AugmentError, Augmenter, Subject, ViewPlan, ViewRecipe, epoch_order, plan::Effects, view_rng, views},
    bags::Bags,
    batch::{CroppedViews, HostBatch, HostViews, LabelledImages, PlannedViews, Slot, Source, ViewPairs, values},
    image::Image,
    reduced::ReducedImage,
    shards::ShardOrder,
};

/// Draws a run's batches and makes views of their images.
#[derive(Debug)]
pub struct Sampler {
    /// One recipe for each view of an image.
    recipes: Vec<ViewRecipe>,
    normalisation: Normalisation,
    /// Side of the full-size views, in pixels.
    size: usize,
    /// Images per step, those of all ranks together.
    batch: usize,
    /// Micro-batches per step.
    accumulate: usize,
    /// This process's number, and how many train together.
    rank: (usize, usize),
    seed: u64,
    /// The order of images in shards; without it, an epoch visits all images in a random order.
    shards: Option<ShardOrder>,
    /// The bag of each image, if the method takes views of their members.
    bags: Option<Bags>,
    /// The latest epoch and its order, kept because drawing it takes longer than a batch.
    order: Mutex<(u64, Vec<u32>)>,
}

/// Where the last part of the views is made: colours, blur and normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// On the host.
    Host,
    /// On the device, of views that arrive as bytes.
    Device,
}

/// The epoch of the views that evaluations compare: one that training does not reach.
const EVALUATION: u64 = u64::MAX;

/// The view number whose generator draws the member of a bag.
const MEMBER: u64 = u64::MAX;

/// Returns the indices of at most `count` of `images` images, ascending. They are random but always the same; a fixed
/// stride would miss classes if the classes are interleaved.
pub fn sample(images: usize, count: usize) -> Vec<usize> {
    let mut indices: Vec<usize> = epoch_order(0, 0, images).into_iter().map(|index| index as usize).collect();
    indices.truncate(count);
    indices.sort_unstable();
    indices
}

impl Sampler {
    /// Creates the sampler of the run that `config` describes, on images of this normalisation.
    pub fn new(config: &Config, normalisation: Normalisation) -> Self {
        Self {
            recipes: views(config, normalisation),
            normalisation,
            size: config.image_size,
            batch: config.batch,
            accumulate: config.accumulate,
            rank: (0, 1),
            seed: config.seed,
            shards: None,
            bags: None,
            order: Mutex::default(),
        }
    }

    /// Draws only the images of the rank `rank` of `count`, which has an equal part of every micro-batch.
    pub fn of_rank(self, rank: usize, count: usize) -> Self {
        Self { rank: (rank, count), ..self }
    }

    /// Draws from images in shards, in their order.
    pub fn with_shards(self, shards: ShardOrder) -> Self {
        Self { shards: Some(shards), ..self }
    }

    /// Takes views of members of these bags, one bag for each training image.
    pub fn set_bags(&mut self, bags: Bags) {
        self.bags = Some(bags);
    }

    /// Returns the epoch of `step`, and the indices of its batch, or of this rank's part of it, among `images` training
    /// images.
    pub fn batch(&self, step: u64, images: usize) -> (u64, Vec<u32>) {
        let (epoch, place) = self.place(step, images);
        let mut latest = self.order.lock().expect("nothing panics while it holds the order");
        if latest.0 != epoch || latest.1.len() != images {
            let order = match &self.shards {
                Some(shards) => shards.epoch(self.seed, epoch),
                None => epoch_order(self.seed, epoch, images),
            };
            *latest = (epoch, order);
        }
        (epoch, self.part_of(&latest.1[place..place + self.batch]))
    }

    /// Returns this rank's part of a batch.
    fn part_of(&self, batch: &[u32]) -> Vec<u32> {
        let (rank, count) = self.rank;
        let of_micro_batch = |images: &[u32]| images.chunks_exact(images.len() / count).nth(rank).map(<[u32]>::to_vec);
        batch.chunks_exact(self.batch / self.accumulate).filter_map(of_micro_batch).flatten().collect()
    }

    /// Returns what each stream of shards reads for the batches from `step` to the end of its epoch, among `images`
    /// training images: indices in order ([`ShardOrder::streams`]). There are none without shards.
    pub fn streams(&self, step: u64, images: usize) -> Vec<Vec<u32>> {
        let (epoch, place) = self.place(step, images);
        let Some(shards) = &self.shards else { return Vec::new() };
        let mut streams = shards.streams(self.seed, epoch, place);
        if self.rank.1 > 1 {
            let order = shards.epoch(self.seed, epoch);
            let mut is_own = vec![false; images];
            let own = order[place..].chunks_exact(self.batch).flat_map(|batch| self.part_of(batch));
            own.for_each(|index| is_own[index as usize] = true);
            streams.iter_mut().for_each(|stream| stream.retain(|index| is_own[*index as usize]));
        }
        streams
    }

    /// Plans each view of a batch's images, of `[width, height]` pixels each. A device that holds the images makes the
    /// views from the plans.
    ///
    /// # Panics
    /// If the method takes views of bag members, but there are no bags.
    pub fn plans(&self, (epoch, batch): (u64, &[u32]), size: [usize; 2]) -> Vec<PlannedViews> {
        let planned = |(number, recipe): (usize, &ViewRecipe)| {
            let plan = |index: &u32| {
                let place = (epoch, *index);
                (self.subject(recipe.subject, place), self.plan(place, number, size))
            };
            let (size, normalisation) = (recipe.size, self.normalisation);
            PlannedViews { plans: batch.iter().map(plan).collect(), size, normalisation }
        };
        self.recipes.iter().enumerate().map(planned).collect()
    }

    /// Plans the view `number` that a batch takes for the image at `index`, of an image of `[width, height]` pixels.
    fn plan(&self, (epoch, index): (u64, u32), number: usize, size: [usize; 2]) -> ViewPlan {
        let mut rng = view_rng(self.seed, epoch, u64::from(index), number as u64);
        ViewPlan::draw(&self.recipes[number].augment, size, &mut rng)
    }

    /// Returns the index of the image that a batch takes views of for the image at `index`.
    fn subject(&self, subject: Subject, (epoch, index): (u64, u32)) -> u32 {
        match subject {
            Subject::Image => index,
            Subject::BagMember => {
                let bag = self.bags.as_ref().expect("a method that takes views of bag members has bags").of(index);
                let mut rng = view_rng(self.seed, epoch, u64::from(index), MEMBER);
                bag[rng.random_range(0..bag.len() as u32) as usize]
            }
        }
    }

    /// Allocates the views of a batch, or of this rank's part of it.
    pub fn buffers(&self, finish: Finish) -> Vec<HostViews> {
        let images = self.batch / self.rank.1;
        let of_size = |size| match finish {
            Finish::Host => HostViews::Finished { pixels: vec![0.0; images * values(size)], size },
            Finish::Device => HostViews::Cropped(CroppedViews {
                pixels: vec![0; images * values(size)],
                size,
                effects: vec![Effects::default(); images],
                normalisation: self.normalisation,
            }),
        };
        self.recipes.iter().map(|recipe| of_size(recipe.size)).collect()
    }

    /// Returns the images that a batch takes views of, and the places of these views, so that an image is decoded only
    /// once: first the images of the batch, in order, then, if the method takes views of them, members of their bags.
    ///
    /// # Panics
    /// If the method takes views of bag members, but there are no bags.
    pub fn sources<'a>(&self, (epoch, batch): (u64, &[u32]), views: &'a mut [HostViews]) -> Vec<Source<'a>> {
        let sources = |subject| -> Vec<Source> {
            let place = |index: &u32| (epoch, *index);
            let source = |place| Source { index: self.subject(subject, place), place, views: Vec::new() };
            batch.iter().map(place).map(source).collect()
        };
        let takes_members = self.recipes.iter().any(|recipe| recipe.subject == Subject::BagMember);
        let mut images = sources(Subject::Image);
        let mut members = if takes_members { sources(Subject::BagMember) } else { Vec::new() };
        for (number, (recipe, views)) in self.recipes.iter().zip(views).enumerate() {
            let sources = match recipe.subject {
                Subject::Image => &mut images,
                Subject::BagMember => &mut members,
            };
            for (source, slot) in sources.iter_mut().zip(views.slots()) {
                source.views.push((number, slot));
            }
        }
        images.extend(members);
        images
    }

    /// Returns by how much an image of `[width, height]` pixels may be reduced before its views are made: every crop
    /// keeps at least the pixels of its view.
    pub fn reduction(&self, source: &Source, size: [usize; 2]) -> usize {
        let of_view = |number| self.plan(source.place, number, size).reduction(self.recipes[number].size);
        source.views.iter().map(|(number, _)| of_view(*number)).min().unwrap_or(1)
    }

    /// Makes finished views of the batch of `step`, of images in memory.
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
        let mut views = self.buffers(Finish::Host);
        for source in self.sources((epoch, &batch), &mut views) {
            let image = &images[source.index as usize].0;
            self.view(augmenter, &image.into(), source)?;
        }
        Ok(HostBatch { views, labels: batch.iter().map(|index| images[*index as usize].1).collect() })
    }

    /// Makes the views of `image` that a batch takes of this source.
    ///
    /// # Errors
    /// If the image is empty.
    pub fn view(&self, augmenter: &mut Augmenter, image: &ReducedImage, source: Source) -> Result<(), AugmentError> {
        image.check()?;
        for (number, slot) in source.views {
            let (plan, size) = (self.plan(source.place, number, image.size), self.recipes[number].size);
            match slot {
                Slot::Finished(view) => augmenter.planned(image, &plan, size, &self.normalisation, view),
                Slot::Cropped(view, effects) => {
                    augmenter.cropped(image, &plan, size, view);
                    *effects = plan.effects;
                }
            }
        }
        Ok(())
    }

    /// Makes the view of `image` for evaluation, `[3, size, size]`.
    ///
    /// # Errors
    /// If the image is empty.
    pub fn centre(&self, augmenter: &mut Augmenter, image: &Image) -> Result<Vec<f32>, AugmentError> {
        let mut pixels = vec![0.0; values(self.size)];
        augmenter.centre(image, self.size, &self.normalisation, &mut pixels)?;
        Ok(pixels)
    }

    /// Makes two views of the image at `index`, `[3, size, size]` each, for evaluation: by the first two training recipes
    /// of full-size views of the image itself, and the same ones at every evaluation.
    ///
    /// # Errors
    /// If the image is empty.
    pub fn pair(&self, augmenter: &mut Augmenter, image: &Image, index: usize) -> Result<[Vec<f32>; 2], AugmentError> {
        let mut pair = [(); 2].map(|()| vec![0.0; values(self.size)]);
        // Some methods have one recipe.
        let is_full = |recipe: &&ViewRecipe| recipe.size == self.size && recipe.subject == Subject::Image;
        let recipes = self.recipes.iter().filter(is_full).cycle();
        for ((view, recipe), number) in pair.iter_mut().zip(recipes).zip(0..) {
            let mut rng = view_rng(self.seed, EVALUATION, index as u64, number);
            augmenter.view(image, &recipe.augment, self.size, &mut rng, view)?;
        }
        Ok(pair)
    }

    /// Collects [`pair`](Self::pair)s.
    pub fn pairs(&self, pairs: impl IntoIterator<Item = [Vec<f32>; 2]>) -> ViewPairs {
        let mut all = ViewPairs { size: self.size, ..ViewPairs::default() };
        for pair in pairs {
            all.pixels.iter_mut().zip(pair).for_each(|(pixels, view)| pixels.extend(view));
        }
        all
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

    /// Returns the epoch of `step` and the place of its batch in the epoch's order.
    fn place(&self, step: u64, images: usize) -> (u64, usize) {
        let steps_per_epoch = (images / self.batch) as u64;
        (step / steps_per_epoch, (step % steps_per_epoch) as usize * self.batch)
    }
}

#[cfg(test)]
mod tests {
    use slimclr_run::method::MethodKind;

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

    #[test]
    fn ranks_share_each_micro_batch() {
        let config = Config { batch: 8, accumulate: 2, ..Config::mini() };
        let sampler = || Sampler::new(&config, Normalisation::CIFAR10);
        let (_, whole) = sampler().batch(1, 19);
        let parts = [0, 1].map(|rank| sampler().of_rank(rank, 2).batch(1, 19).1);
        assert_eq!(parts[0], [&whole[0..2], &whole[4..6]].concat());
        assert_eq!(parts[1], [&whole[2..4], &whole[6..8]].concat());
        // Of shards, a rank reads its own images only.
        let shards = ShardOrder::new([vec![1; 9], vec![1; 10]]);
        for rank in 0..2 {
            let sampler = sampler().with_shards(shards.clone()).of_rank(rank, 2);
            let mut read = sampler.streams(0, 19).concat();
            let mut drawn = [0, 1].map(|step| sampler.batch(step, 19).1).concat();
            read.sort_unstable();
            drawn.sort_unstable();
            assert_eq!(read, drawn);
        }
    }

    #[test]
    fn both_ways_of_finishing_views_draw_the_same_plans() {
        let config = Config { batch: 2, image_size: 48, method: MethodKind::Mocov3, ..Config::mini() };
        let sampler = Sampler::new(&config, Normalisation::IMAGENET);
        let pixels = (0..3 * 90 * 70).map(|i| (i * 37 % 256) as u8).collect();
        let images = vec![(Image::new(90, 70, pixels).unwrap(), 0); 5];
        let (epoch, batch) = sampler.batch(3, images.len());
        let mut cropped = sampler.buffers(Finish::Device);
        for source in sampler.sources((epoch, &batch), &mut cropped) {
            let image = (&images[source.index as usize].0).into();
            sampler.view(&mut Augmenter::new(), &image, source).unwrap();
        }
        let plans = sampler.plans((epoch, &batch), [90, 70]);
        for (view, planned) in cropped.into_iter().zip(plans) {
            let HostViews::Cropped(CroppedViews { pixels, effects, .. }) = view else {
                panic!("these views are bytes")
            };
            assert_eq!(pixels.len(), 2 * 3 * 48 * 48);
            assert!(effects.into_iter().eq(planned.plans.into_iter().map(|(_, plan)| plan.effects)));
        }
    }

    #[test]
    fn pairs_are_two_different_views_and_always_the_same() {
        let image = Image::new(20, 20, (0..1200).map(|value| (value * 7 % 256) as u8).collect()).unwrap();
        for method in [MethodKind::Mocov2, MethodKind::Supervised, MethodKind::Seed, MethodKind::Bingo] {
            let config = Config { method, image_size: 8, small_crops: 2, small_size: 4, ..Config::mini() };
            let sampler = Sampler::new(&config, Normalisation::CIFAR10);
            let mut augmenter = Augmenter::new();
            let mut pair = |index| sampler.pair(&mut augmenter, &image, index).unwrap();
            let [first, second] = pair(3);
            assert_ne!(first, second, "{method:?}");
            assert_ne!(first, pair(4)[0]);
            assert_eq!(pair(3), [first, second]);
            let pairs = sampler.pairs([pair(1), pair(2)]);
            assert_eq!((pairs.images(), &pairs.pixels[1][192..]), (2, &pair(2)[1][..]));
        }
    }

    /// A change of these values makes recorded runs irreproducible.
    #[test]
    fn views_of_every_method_are_pinned() {
        let pixels = |image: usize| (0..3 * 60 * 50).map(|i| (i * 37 + image * 101) as u8).collect();
        let images: Vec<_> = (0..5).map(|image| (Image::new(60, 50, pixels(image)).unwrap(), image as u32)).collect();
        let hash = |method| {
            let config = Config { method, image_size: 40, batch: 2, seed: 9, ..Config::mini() };
            let sampler = Sampler::new(&config, Normalisation::CIFAR10);
            let views = sampler.views(&mut Augmenter::new(), &images, 3).unwrap().views.into_iter();
            let pixels = views.flat_map(|views| match views {
                HostViews::Finished { pixels, .. } => pixels,
                HostViews::Cropped(_) => panic!("these views are finished"),
            });
            // FNV-1a of the bits.
            pixels.fold(0xcbf2_9ce4_8422_2325, |hash: u64, value| {
                (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0100_0000_01b3)
            })
        };
        let methods = [MethodKind::Mocov2, MethodKind::Mocov3, MethodKind::Simclr, MethodKind::Supervised];
        let expected = [
            4_264_128_779_416_892_492,
            3_894_088_272_565_982_368,
            16_330_579_063_151_774_874,
            15_823_760_893_701_799_452,
        ];
        assert_eq!(methods.map(hash), expected);
    }

    #[test]
    fn an_image_is_reduced_for_the_smallest_of_its_crops() {
        let sizes = Config { image_size: 224, small_crops: 2, small_size: 96, batch: 1, ..Config::mini() };
        let config = Config { method: MethodKind::Swav, ..sizes };
        let sampler = Sampler::new(&config, Normalisation::IMAGENET);
        let mut views = sampler.buffers(Finish::Device);
        let reductions: Vec<usize> = (0..200)
            .map(|index| {
                let plans = sampler.plans((0, &[index]), [1600, 1200]);
                let least = plans.iter().map(|view| view.plans[0].1.reduction(view.size)).min().unwrap();
                let source = &sampler.sources((0, &[index]), &mut views)[0];
                assert_eq!(sampler.reduction(source, [1600, 1200]), least);
                assert_eq!(sampler.reduction(source, [500, 375]), 1);
                least
            })
            .collect();
        assert!(reductions.contains(&2) && reductions.contains(&4));
    }

    /// Makes BINGO's sampler. The bag of an image is the `size` images after it.
    fn sampler_with_bags(images: u32, size: u32) -> Sampler {
        let config = Config { method: MethodKind::Bingo, image_size: 8, batch: 4, ..Config::mini() };
        let bag = |image| (1..=size).map(move |offset| (image + offset) % images);
        let bags = Bags::new((0..images).flat_map(bag).collect(), size as usize).unwrap();
        let mut sampler = Sampler::new(&config, Normalisation::CIFAR10);
        sampler.set_bags(bags);
        sampler
    }

    #[test]
    fn members_of_bags_are_drawn_uniformly() {
        let (images, size, epochs) = (12, 5, 2000);
        let sampler = sampler_with_bags(images, size);
        let members = |image| -> Vec<u32> {
            let of_epoch = |epoch| {
                let plans = sampler.plans((epoch, &[image]), [20, 20]);
                let [own, also_own, member, also_member] = [0, 1, 2, 3].map(|view: usize| plans[view].plans[0].0);
                assert_eq!([own, also_own], [image; 2]);
                assert_eq!(member, also_member, "both views are of one member");
                member
            };
            (0..epochs).map(of_epoch).collect()
        };
        let drawn = members(10);
        for member in [11, 0, 1, 2, 3] {
            let count = drawn.iter().filter(|drawn| **drawn == member).count() as f64;
            // Four standard deviations of a binomial count.
            assert!((count - 400.0).abs() < 4.0 * 18.0, "{member} is drawn {count} times of {epochs}");
        }
        let others = members(9);
        let same = drawn.iter().zip(&others).filter(|(a, b)| (**a + 12 - 10) % 12 == (**b + 12 - 9) % 12).count();
        assert!((330..470).contains(&same), "images draw their members independently: {same} of {epochs} agree");
    }

    #[test]
    fn views_are_made_as_planned() {
        let pixels = |image: usize| (0..3 * 20 * 20).map(|i| (i * 7 + image * 59) as u8).collect();
        let images: Vec<_> = (0..8).map(|image| (Image::new(20, 20, pixels(image)).unwrap(), image as u32)).collect();
        let config = Config { image_size: 12, small_crops: 3, small_size: 8, batch: 4, ..Config::mini() };
        let of_method = |method| Sampler::new(&Config { method, ..config.clone() }, Normalisation::CIFAR10);
        for (sampler, sizes) in [
            (of_method(MethodKind::Seed), vec![12, 8, 8, 8]),
            (of_method(MethodKind::Swav), vec![12, 12, 8, 8, 8]),
            (sampler_with_bags(8, 3), vec![8; 4]),
        ] {
            let mut augmenter = Augmenter::new();
            let HostBatch { views, labels } = sampler.views(&mut augmenter, &images, 1).unwrap();
            let (epoch, batch) = sampler.batch(1, images.len());
            assert_eq!((views.len(), labels), (sizes.len(), batch.clone()));
            for ((made, planned), size) in views.iter().zip(sampler.plans((epoch, &batch), [20, 20])).zip(sizes) {
                let HostViews::Finished { pixels, size: made_size } = made else { panic!("these views are finished") };
                assert_eq!((*made_size, planned.size, pixels.len()), (size, size, 4 * values(size)));
                for ((index, plan), made) in planned.plans.iter().zip(pixels.chunks_exact(values(size))) {
                    let mut view = vec![0.0; values(size)];
                    let image = &images[*index as usize].0;
                    augmenter.planned(&image.into(), plan, size, &Normalisation::CIFAR10, &mut view);
                    assert_eq!(made, view);
                }
            }
        }
    }

    #[test]
    fn a_sample_is_of_that_size_without_repetition() {
        assert_eq!(sample(3, 5), [0, 1, 2]);
        let some = sample(1000, 100);
        assert!(some.len() == 100 && some.windows(2).all(|two| two[0] < two[1]));
        assert_eq!(sample(1000, 100), some);
    }

    #[test]
    fn batches_of_shards_are_parts_of_their_order() {
        let shards = ShardOrder::new([vec![1; 5], vec![1; 6]]);
        let config = Config { batch: 4, ..Config::mini() };
        let sampler = Sampler::new(&config, Normalisation::IMAGENET).with_shards(shards.clone());
        let order = shards.epoch(config.seed, 1);
        assert_eq!(sampler.batch(3, 11), (1, order[4..8].to_vec()));
        assert_eq!(sampler.streams(3, 11), shards.streams(config.seed, 1, 4));
    }
}
