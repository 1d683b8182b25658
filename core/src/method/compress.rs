//! CompRess: earlier images are as similar to a view for the student as they are for the teacher (Koohpayegani et al.
//! 2020, section 3).

use std::{iter, slice};

use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

pub use slimclr_run::compress::CompressMemory;

use super::{Batch, Method, PretextTask, StateTensor, StepContext, Teacher};
use crate::{
    forward::Mode,
    kernel::contrastive::soft_cross_entropy,
    loss::{Loss, Quantity, distill::Output, normalize},
};

/// A network's embeddings of earlier images, of which the oldest are replaced first.
#[derive(Debug, Clone)]
pub struct Memory {
    /// One embedding per row: `[k, d]`.
    pub entries: Tensor<2>,
    /// The row that the next embedding is written to.
    pub pointer: usize,
}

impl Memory {
    /// Creates a memory of `length` entries of `dim` values, uniform between plus and minus `sqrt(3 / dim)`. Their length
    /// is about 1; as in the authors' code, they are not normalised.
    pub fn uniform(dim: usize, length: usize, seed: u64, device: &Device) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let bound = (3.0 / dim as f32).sqrt();
        let values: Vec<f32> = (0..length * dim).map(|_| random.random_range(-bound..bound)).collect();
        Self { entries: Tensor::from_data(TensorData::new(values, [length, dim]), device), pointer: 0 }
    }

    /// Writes `embeddings`, `[n, d]`, over the oldest entries. After the last row comes the first, also within a batch.
    pub fn replace_oldest(&mut self, embeddings: Tensor<2>) {
        let ([length, dim], [count, _]) = (self.entries.dims(), embeddings.dims());
        let mut written = 0;
        while written < count {
            let rows = (length - self.pointer).min(count - written);
            let place = [self.pointer..self.pointer + rows, 0..dim];
            let written_now = embeddings.clone().narrow(0, written, rows);
            self.entries.inplace(|entries| entries.slice_assign(place, written_now));
            self.pointer = (self.pointer + rows) % length;
            written += rows;
        }
    }
}

/// Find earlier images as similar to a view as the teacher does.
#[derive(Debug)]
pub struct CompressTask {
    views: [Tensor<4>; 1],
    teacher: Tensor<2>,
    teacher_similarities: Tensor<2>,
    teacher_entropy: Tensor<1>,
    /// The entries of the student's memories, of other sizes for other widths.
    anchors: Vec<Tensor<2>>,
    entering: Entering,
    temperature: f64,
}

/// What enters the student's memories after a step.
#[derive(Debug)]
pub enum Entering {
    /// These embeddings by the momentum encoder, of each width that is trained.
    Keys(Vec<Tensor<2>>),
    /// The student's embeddings.
    Embeddings,
    /// Nothing: the student has no memory.
    Nothing,
}

impl CompressTask {
    /// Compares the teacher's features of `view`, `[n, t]`, with its memory, and those of each of the student's widths
    /// with the one of `student_memories` that has entries of their size. For [`CompressMemory::OneQueue`] this is the
    /// teacher's again. The entries of a row are of the same image in all of them.
    pub fn new(
        view: Tensor<4>,
        teacher: Tensor<2>,
        teacher_memory: &Memory,
        (student_memories, entering): (&[Memory], Entering),
        temperature: f64,
    ) -> Self {
        let teacher = normalize(teacher);
        let teacher_similarities = teacher.clone().matmul(teacher_memory.entries.clone().transpose());
        Self {
            views: [view],
            teacher_entropy: soft_cross_entropy([(); 2].map(|()| teacher_similarities.clone()), [temperature; 2]).loss,
            teacher,
            teacher_similarities,
            anchors: student_memories.iter().map(|memory| memory.entries.clone()).collect(),
            entering,
            temperature,
        }
    }
}

impl PretextTask for CompressTask {
    fn views(&self) -> &[Tensor<4>] {
        &self.views
    }

    /// Takes features of the size of one of the student's memories. A row of zeros stays one; the authors' code divides it
    /// by its norm, zero.
    fn output(&self, outputs: Tensor<2>) -> Output {
        let embeddings = normalize(outputs);
        let [_, dim] = embeddings.dims();
        let anchors = self.anchors.iter().find(|anchors| anchors.dims()[1] == dim);
        let anchors = anchors.expect("the student has a memory of each width's features").clone();
        Output { logits: embeddings.clone().matmul(anchors.transpose()), embeddings }
    }

    /// Computes the Kullback-Leibler divergence of the teacher's similarities, as probabilities, from the student's. As
    /// the difference of two cross-entropies, it takes two operations; memories have more entries than a batch has
    /// images by far.
    fn loss(&self, output: &Output) -> Loss {
        let similarities = [output.logits.clone(), self.teacher_similarities.clone()];
        let cross_entropy = soft_cross_entropy(similarities, [self.temperature; 2]);
        let loss = Loss::from(cross_entropy.loss - self.teacher_entropy.clone());
        loss.reporting(Quantity::TeacherDivergence, cross_entropy.divergences, 1.0)
    }

    /// Returns the teacher's embeddings, and what enters each of the student's memories.
    fn memories(&self, outputs: &[Output]) -> Vec<Tensor<2>> {
        let of_student = match &self.entering {
            Entering::Keys(keys) => keys.clone(),
            Entering::Embeddings => outputs.iter().map(|output| output.embeddings.clone()).collect(),
            Entering::Nothing => Vec::new(),
        };
        [self.teacher.clone()].into_iter().chain(of_student).collect()
    }
}

/// CompRess. The teacher is normalised with its running statistics.
#[derive(Debug, Clone)]
pub struct Compress {
    /// The teacher.
    pub teacher: Teacher,
    /// What the student's memories are filled with.
    pub kind: CompressMemory,
    /// Temperature of the similarities.
    pub temperature: f64,
    /// The teacher's memory.
    pub teacher_memory: Memory,
    /// The student's memories, one for each width, whose features differ in size; widest first. None with
    /// [`CompressMemory::OneQueue`].
    pub student_memories: Vec<Memory>,
}

impl Compress {
    /// Returns all memories, the teacher's first.
    fn all_memories(&mut self) -> impl Iterator<Item = &mut Memory> {
        iter::once(&mut self.teacher_memory).chain(&mut self.student_memories)
    }
}

impl Method for Compress {
    fn has_keys(&self) -> bool {
        self.kind == CompressMemory::Momentum
    }

    fn tasks(&mut self, batch: Batch, step: &mut StepContext) -> Vec<Box<dyn PretextTask>> {
        let [view] = batch.views.try_into().expect("CompRess takes one view");
        let computed = || self.teacher.features(view.clone(), Mode::Eval, step.precision);
        let teacher = batch.teacher_features.unwrap_or_else(computed);
        let trained = if step.plan.trains_subnetworks { self.student_memories.len() } else { 1 };
        let (anchors, entering) = match self.kind {
            CompressMemory::Momentum => {
                let keys = (0..trained).map(|width| step.encode_keys_at(width, view.clone())).collect();
                (self.student_memories.as_slice(), Entering::Keys(keys))
            }
            CompressMemory::TwoQueues => (self.student_memories.as_slice(), Entering::Embeddings),
            CompressMemory::OneQueue => (slice::from_ref(&self.teacher_memory), Entering::Nothing),
        };
        vec![Box::new(CompressTask::new(view, teacher, &self.teacher_memory, (anchors, entering), self.temperature))]
    }

    fn remember(&mut self, memories: Vec<Tensor<2>>) {
        self.all_memories().zip(memories).for_each(|(memory, embeddings)| memory.replace_oldest(embeddings));
        // The same row is the same image in all of them, also in those of widths that are not trained yet.
        let pointer = self.teacher_memory.pointer;
        self.all_memories().for_each(|memory| memory.pointer = pointer);
    }

    fn state(&self) -> Vec<StateTensor> {
        let of_widths = self.student_memories.iter().zip(0..);
        let of_widths =
            of_widths.map(|(memory, width)| StateTensor::matrix(format!("memory.{width}"), &memory.entries));
        iter::once(StateTensor::matrix("teacher_memory", &self.teacher_memory.entries)).chain(of_widths).collect()
    }

    fn restore(&mut self, values: Vec<TensorData>, images: u64) {
        for (memory, entries) in self.all_memories().zip(values) {
            memory.entries = Tensor::from_data(entries, &memory.entries.device());
            memory.pointer = (images % memory.entries.dims()[0] as u64) as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_continues_at_the_memorys_first_row() {
        let device = Device::flex();
        let batch = |values: &[f32]| Tensor::from_data(TensorData::new(values.to_vec(), [values.len(), 1]), &device);
        let mut memory = Memory { entries: batch(&[0.0; 5]), pointer: 0 };
        let entries = |memory: &Memory| memory.entries.clone().into_data().iter().collect::<Vec<f32>>();
        memory.replace_oldest(batch(&[1.0, 2.0, 3.0]));
        memory.replace_oldest(batch(&[4.0, 5.0, 6.0]));
        assert_eq!((entries(&memory), memory.pointer), (vec![6.0, 2.0, 3.0, 4.0, 5.0], 1));
        // Of a batch larger than the memory, the last rows stay.
        memory.replace_oldest(batch(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]));
        assert_eq!((entries(&memory), memory.pointer), (vec![5.0, 6.0, 7.0, 3.0, 4.0], 3));
    }

    #[test]
    fn a_student_like_the_teacher_has_no_loss_and_no_gradient() {
        let device = Device::flex();
        let memory = Memory::uniform(16, 40, 1, &device);
        let features = Memory::uniform(16, 4, 2, &device).entries;
        let task = CompressTask::new(
            Tensor::zeros([1; 4], &device),
            features.clone(),
            &memory,
            (slice::from_ref(&memory), Entering::Nothing),
            0.04,
        );
        let student = features.autodiff().require_grad();
        let loss = task.loss(&task.output(student.clone())).value;
        let gradient = student.grad(&loss.backward()).unwrap();
        assert!(gradient.into_data().iter::<f32>().all(|value| value.abs() < 1e-5));
        assert!(loss.without_autodiff().into_scalar::<f32>().abs() < 1e-5);
    }
}
