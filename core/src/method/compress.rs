//! CompRess: earlier images are as similar to a view for the student as they are for the teacher (Koohpayegani et al.
//! 2020, section 3).

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

pub use slimclr_run::compress::CompressMemory;

use super::PretextTask;
use crate::{
    kernel::contrastive::soft_cross_entropy,
    loss::{distill::Output, normalize},
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
    anchors: Tensor<2>,
    targets: Tensor<1, Int>,
    temperature: f64,
}

impl CompressTask {
    /// Compares the teacher's features of `view`, `[n, t]`, with its memory, and the student's with `student_memory`,
    /// which is the teacher's again for [`CompressMemory::OneQueue`]. Entries are the same images in both.
    pub fn new(
        view: Tensor<4>,
        teacher: Tensor<2>,
        [teacher_memory, student_memory]: [&Memory; 2],
        temperature: f64,
    ) -> Self {
        let teacher = normalize(teacher);
        let teacher_similarities = teacher.clone().matmul(teacher_memory.entries.clone().transpose());
        Self {
            views: [view],
            teacher_entropy: soft_cross_entropy([(); 2].map(|()| teacher_similarities.clone()), [temperature; 2]),
            targets: Tensor::zeros([teacher.dims()[0]], &teacher.device()),
            teacher,
            teacher_similarities,
            anchors: student_memory.entries.clone(),
            temperature,
        }
    }
}

impl PretextTask for CompressTask {
    fn views(&self) -> &[Tensor<4>] {
        &self.views
    }

    /// Takes features of any size, that of the student's memory. A row of zeros stays one; the authors' code divides it
    /// by its norm, zero.
    fn output(&self, outputs: Tensor<2>) -> Output {
        let embeddings = normalize(outputs);
        Output { logits: embeddings.clone().matmul(self.anchors.clone().transpose()), embeddings }
    }

    /// Returns zeros: no entry of the memory is the positive.
    fn targets(&self) -> &Tensor<1, Int> {
        &self.targets
    }

    /// Computes the Kullback-Leibler divergence of the teacher's similarities, as probabilities, from the student's. As
    /// the difference of two cross-entropies, it takes two operations; memories have more entries than a batch has
    /// images by far.
    fn loss(&self, output: &Output) -> Tensor<1> {
        let similarities = [output.logits.clone(), self.teacher_similarities.clone()];
        soft_cross_entropy(similarities, [self.temperature; 2]) - self.teacher_entropy.clone()
    }

    /// Returns the teacher's embeddings, which enter its memory.
    fn keys(&self) -> Option<Tensor<2>> {
        Some(self.teacher.clone())
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
        let task = CompressTask::new(Tensor::zeros([1; 4], &device), features.clone(), [&memory; 2], 0.04);
        let student = features.autodiff().require_grad();
        let loss = task.loss(&task.output(student.clone()));
        let gradient = student.grad(&loss.backward()).unwrap();
        assert!(gradient.into_data().iter::<f32>().all(|value| value.abs() < 1e-5));
        assert!(loss.without_autodiff().into_scalar::<f32>().abs() < 1e-5);
    }
}
