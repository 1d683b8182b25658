//! SEED: the student learns which earlier images the teacher finds a view similar to (Fang et al. 2021, section 3.2).

use burn::tensor::{Int, Tensor, TensorData};

use super::{Batch, Method, PretextTask, Queue, StateTensor, StepContext, Teacher};
use crate::{
    forward::Mode,
    kernel::contrastive::{SoftCrossEntropy, soft_cross_entropy},
    loss::{
        Loss, Quantity,
        contrastive::moco_logits,
        distill::{Output, Temperatures},
        normalize,
    },
    precision::Precision,
};

/// A teacher's embeddings of some views, and their similarities to its embeddings of earlier ones.
#[derive(Debug, Clone)]
pub struct TeacherSimilarities {
    embeddings: Tensor<2>,
    queue: Tensor<2>,
    logits: Tensor<2>,
}

impl TeacherSimilarities {
    /// Compares the teacher's `embeddings`, `[n, d]`, with themselves and with its `queue`, `[d, k]`, all of unit
    /// length over `d`.
    pub fn new(embeddings: Tensor<2>, queue: Tensor<2>) -> Self {
        let logits = moco_logits(embeddings.clone(), embeddings.clone(), queue.clone());
        Self { embeddings, queue, logits }
    }

    /// Compares the student's embeddings of the same views, `[n, d]`, with the same embeddings of the teacher. Returns
    /// `[n, 1 + k]`.
    fn of_student(&self, embeddings: Tensor<2>) -> Tensor<2> {
        moco_logits(embeddings, self.embeddings.clone(), self.queue.clone())
    }

    /// Computes the mean cross-entropy of the student's similarities with the teacher's.
    fn loss(&self, of_student: Tensor<2>, temperatures: Temperatures) -> SoftCrossEntropy {
        soft_cross_entropy([of_student, self.logits.clone()], [temperatures.student, temperatures.teacher])
    }
}

/// Find a view, and possibly small patches of its image, similar to the images that the teacher does.
#[derive(Debug)]
pub struct SeedTask {
    /// A view of each image, `[n, 3, height, width]`; then, with small patches, `m` of each image, `[n m, 3, h, w]`,
    /// those of an image one after the other.
    pub views: Vec<Tensor<4>>,
    /// What the teacher finds each view similar to.
    pub teacher: TeacherSimilarities,
    /// The same for the patches, which are compared with a separate queue.
    pub teacher_of_patches: Option<TeacherSimilarities>,
    /// All zero, `[n]`.
    pub targets: Tensor<1, Int>,
    /// Temperatures of the similarities.
    pub temperatures: Temperatures,
}

impl SeedTask {
    /// Computes the loss of the views and, with small patches, that of the patches.
    pub fn parts(&self, output: &Output) -> Vec<SoftCrossEntropy> {
        let of_views = self.teacher.loss(output.logits.clone(), self.temperatures);
        let Some(teacher) = &self.teacher_of_patches else { return vec![of_views] };
        let [[images, _], [patches, _]] = [output.logits.dims(), teacher.embeddings.dims()];
        let similarities = teacher.of_student(output.embeddings.clone().narrow(0, images, patches));
        vec![of_views, teacher.loss(similarities, self.temperatures)]
    }

    /// Returns the teacher's embedding of the first patch of each image, `[n, d]`, which enters the queue of patches.
    pub fn patch_keys(&self) -> Option<Tensor<2>> {
        let [images] = self.targets.dims();
        let embeddings = self.teacher_of_patches.as_ref()?.embeddings.clone();
        let [patches, dim] = embeddings.dims();
        Some(embeddings.reshape([images, patches / images, dim]).narrow(1, 0, 1).reshape([images, dim]))
    }
}

impl PretextTask for SeedTask {
    fn views(&self) -> &[Tensor<4>] {
        &self.views
    }

    /// Returns the embeddings of views and patches, and the logits of the views.
    fn output(&self, outputs: Tensor<2>) -> Output {
        let embeddings = normalize(outputs);
        let of_views = match self.teacher_of_patches {
            Some(_) => embeddings.clone().narrow(0, 0, self.targets.dims()[0]),
            None => embeddings.clone(),
        };
        Output { logits: self.teacher.of_student(of_views), embeddings }
    }

    fn targets(&self) -> Option<&Tensor<1, Int>> {
        Some(&self.targets)
    }

    /// Computes the sum of the parts, and reports the divergence of the views alone.
    fn loss(&self, output: &Output) -> Loss {
        let parts = self.parts(output);
        let divergences = parts[0].divergences.clone();
        let sum = parts.into_iter().map(|part| part.loss).reduce(|sum, part| sum + part);
        Loss::from(sum.expect("the views have a loss")).reporting(Quantity::TeacherDivergence, divergences, 1.0)
    }

    fn keys(&self) -> Option<Tensor<2>> {
        Some(self.teacher.embeddings.clone())
    }

    fn memories(&self, _: &[Output]) -> Vec<Tensor<2>> {
        self.patch_keys().into_iter().collect()
    }
}

/// SEED. The teacher is normalised with its running statistics.
#[derive(Debug, Clone)]
pub struct Seed {
    /// The teacher.
    pub teacher: Teacher,
    /// Temperatures of the similarities.
    pub temperatures: Temperatures,
    /// Keys in the queue.
    pub queue: usize,
    /// The queue of small patches, if there are any.
    pub patch_queue: Option<Queue>,
}

impl Seed {
    /// Returns what the teacher finds `views` similar to, among earlier ones in `queue`.
    fn similarities(&mut self, views: Tensor<4>, queue: Tensor<2>, precision: Precision) -> TeacherSimilarities {
        TeacherSimilarities::new(self.teacher.embeddings(views, Mode::Eval, precision), queue)
    }
}

impl Method for Seed {
    fn queue_length(&self) -> usize {
        self.queue
    }

    fn tasks(&mut self, Batch { mut views, .. }: Batch, step: &mut StepContext) -> Vec<Box<dyn PretextTask>> {
        let patches = views.split_off(1);
        let targets = Tensor::zeros([views[0].dims()[0]], &views[0].device());
        let teacher = self.similarities(views[0].clone(), step.queue(), step.precision);
        let patch_queue = self.patch_queue.as_ref().map(|queue| queue.keys.clone());
        let teacher_of_patches = patch_queue.map(|queue| {
            let [_, channels, height, width] = patches[0].dims();
            let of_an_image: Tensor<5> = Tensor::stack(patches, 1);
            views.push(of_an_image.reshape([-1, channels as i32, height as i32, width as i32]));
            self.similarities(views[1].clone(), queue, step.precision)
        });
        vec![Box::new(SeedTask { views, teacher, teacher_of_patches, targets, temperatures: self.temperatures })]
    }

    fn remember(&mut self, memories: Vec<Tensor<2>>) {
        for (queue, keys) in self.patch_queue.iter_mut().zip(memories) {
            queue.replace_oldest(keys);
        }
    }

    fn state(&self) -> Vec<StateTensor> {
        self.patch_queue.iter().map(|queue| StateTensor::matrix("patch_queue", &queue.keys)).collect()
    }

    fn restore(&mut self, values: Vec<TensorData>, images: u64) {
        for (queue, keys) in self.patch_queue.iter_mut().zip(values) {
            queue.keys = Tensor::from_data(keys, &queue.keys.device());
            queue.pointer = (images % queue.keys.dims()[1] as u64) as usize;
        }
    }
}
