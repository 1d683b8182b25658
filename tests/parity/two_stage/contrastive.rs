//! Losses with a queue: SEED, DisCo, BINGO, and MoCo v2 as Shi et al. use it.

use burn::tensor::{DType, Device, Int, Tensor};
use serde_json::Value;
use slimclr_core::{
    loss::{
        contrastive::cross_entropy,
        distill::{Output, Temperatures},
        normalize,
    },
    method::{
        BingoTask, DiscoTask, MocoV2Task, PretextTask, Queue, SeedTask, bingo::key_weights, disco::squared_error,
        seed::TeacherSimilarities,
    },
};

use crate::{
    compare::{Differences, Fingerprint, Quantity, tolerance, values},
    fill::input,
    runners::{field, queue, text},
};

/// The steps of a case.
struct Steps<'a> {
    case: &'a Value,
    dtype: DType,
    /// Images in a batch.
    images: usize,
    differences: Differences,
}

impl<'a> Steps<'a> {
    fn new(case: &'a Value, dtype: DType) -> Self {
        Self { case, dtype, images: field(case, "n"), differences: Differences::default() }
    }

    fn count(&self) -> usize {
        field(self.case, "steps")
    }

    fn queue(&self, name: &str) -> Queue {
        Queue { keys: queue(self.case, name, self.dtype), pointer: 0 }
    }

    /// Generates the input `name` of `step`, with `rows` rows for each image.
    fn raw(&self, name: &str, step: usize, rows: usize) -> Tensor<2> {
        let shape = [rows * self.images, field(self.case, "dim")];
        input(text(self.case, "salt"), &format!("{name}{step}"), shape, self.dtype, &Device::flex())
    }

    /// Generates an input, scaled to unit length.
    fn unit(&self, name: &str, step: usize, rows: usize) -> Tensor<2> {
        normalize(self.raw(name, step, rows))
    }

    /// Returns the targets of `rows` rows for each image: column 0.
    fn targets(&self, rows: usize) -> Tensor<1, Int> {
        Tensor::zeros([rows * self.images], &Device::flex())
    }

    /// Compares the loss of `task` in `step`, and its gradients with respect to the student's outputs. `students` are
    /// their names, each with its rows for each image.
    fn compare(&mut self, step: usize, task: &dyn PretextTask, students: &[(&str, usize)]) -> Output {
        let outputs: Vec<Tensor<2>> =
            students.iter().map(|(name, rows)| self.raw(name, step, *rows).autodiff().require_grad()).collect();
        let output = task.output(Tensor::cat(outputs.clone(), 0));
        let loss = task.loss(&output).value;
        let gradients = loss.backward();
        for ((name, _), output) in students.iter().zip(outputs) {
            let gradient = values(&output.grad(&gradients).unwrap());
            let expected: Vec<Fingerprint> = field(self.case, &format!("grad_{name}"));
            let allowed = self.allowed();
            self.differences.fingerprint(&format!("gradient of {name}{step}"), &gradient, &expected[step], allowed);
        }
        self.part("losses", step, None, loss);
        output.detached()
    }

    /// Compares a loss with the number `index` of those that the field `name` records for `step`, or with the only one.
    fn part(&mut self, name: &str, step: usize, index: Option<usize>, loss: Tensor<1>) {
        let recorded = &self.case[name][step];
        let expected = index.map_or(recorded, |index| &recorded[index]).as_f64();
        let expected = expected.unwrap_or_else(|| panic!("{name} has no number {index:?} at step {step}"));
        let allowed = self.allowed();
        self.differences.number(
            &format!("{name} of step {step}"),
            values(&loss.without_autodiff())[0],
            expected,
            allowed,
        );
    }

    /// Compares a queue after the last step, and its pointer.
    fn queue_after(&mut self, name: &str, queue: &Queue) {
        let allowed = self.allowed();
        self.differences.fingerprint(name, &values(&queue.keys), &field::<Fingerprint>(self.case, name), allowed);
        self.differences.number("queue pointer", queue.pointer as f64, field(self.case, "pointer_after"), 0.0);
    }

    fn allowed(&self) -> f64 {
        tolerance(Quantity::TwoStage, "", self.dtype)
    }
}

/// Returns views of a task whose outputs are given.
fn no_views<const N: usize>() -> [Tensor<4>; N] {
    std::array::from_fn(|_| Tensor::zeros([1; 4], &Device::flex()))
}

pub fn seed_distill_loss(case: &Value, dtype: DType) -> Differences {
    let mut steps = Steps::new(case, dtype);
    let patches: usize = field(case, "patches");
    let temperatures =
        Temperatures { teacher: field(case, "teacher_temperature"), student: field(case, "student_temperature") };
    let mut queue = steps.queue("queue");
    let mut small_queue = (patches > 0).then(|| steps.queue("small_queue"));
    for step in 0..steps.count() {
        let teacher =
            |name, rows, queue: &Queue| TeacherSimilarities::new(steps.unit(name, step, rows), queue.keys.clone());
        let task = SeedTask {
            views: no_views::<1>().to_vec(),
            teacher: teacher("t", 1, &queue),
            teacher_of_patches: small_queue.as_ref().map(|queue| teacher("tp", patches, queue)),
            targets: steps.targets(1),
            temperatures,
        };
        let students = [("s", 1), ("sp", patches)];
        let output = steps.compare(step, &task, &students[..if patches > 0 { 2 } else { 1 }]);
        queue.replace_oldest(task.keys().unwrap());
        if let Some(queue) = &mut small_queue {
            queue.replace_oldest(task.patch_keys().unwrap());
            for (index, part) in task.parts(&output).into_iter().enumerate() {
                steps.part("parts", step, Some(index), part.loss);
            }
        }
    }
    steps.queue_after("queue_after", &queue);
    if let Some(queue) = small_queue {
        steps.queue_after("small_queue_after", &queue);
    }
    steps.differences
}

pub fn disco_loss(case: &Value, dtype: DType) -> Differences {
    let mut steps = Steps::new(case, dtype);
    let mut queue = steps.queue("queue");
    for step in 0..steps.count() {
        let teacher = ["tq", "tqk"].map(|name| steps.unit(name, step, 1));
        let task = DiscoTask {
            views: no_views(),
            keys: steps.unit("k", step, 1),
            negatives: queue.keys.clone(),
            teacher: Tensor::cat(teacher.to_vec(), 0),
            targets: steps.targets(1),
            temperature: field(case, "temperature"),
            mse_devices: 1,
            parts: 1,
            only_mse: field(case, "only_mse"),
        };
        let output = steps.compare(step, &task, &[("q", 1), ("qk", 1)]);
        queue.replace_oldest(task.keys().unwrap());
        let contrast = cross_entropy(output.logits, task.targets.clone(), task.temperature).loss;
        steps.part("parts", step, Some(0), contrast);
        for (index, (student, teacher)) in output.embeddings.chunk(2, 0).into_iter().zip(teacher).enumerate() {
            steps.part("parts", step, Some(index + 1), squared_error(student, teacher));
        }
    }
    steps.queue_after("queue_after", &queue);
    steps.differences
}

/// Runs the loss of MoCo v2 with the settings of Shi et al.
pub fn moco_queue_loss(case: &Value, dtype: DType) -> Differences {
    let mut steps = Steps::new(case, dtype);
    let mut queue = steps.queue("queue");
    for step in 0..steps.count() {
        let task = MocoV2Task {
            views: no_views(),
            keys: steps.unit("k", step, 1),
            negatives: queue.keys.clone(),
            targets: steps.targets(1),
            temperature: field(case, "temperature"),
        };
        steps.compare(step, &task, &[("q", 1)]);
        queue.replace_oldest(task.keys().unwrap());
    }
    steps.queue_after("queue_after", &queue);
    steps.differences
}

pub fn bingo_loss(case: &Value, dtype: DType) -> Differences {
    let mut steps = Steps::new(case, dtype);
    let mut queue = steps.queue("queue");
    let [epochs, shares] = ["epochs", "mix"].map(|name| field::<Vec<f64>>(case, name));
    for step in 0..steps.count() {
        let task = BingoTask {
            views: no_views(),
            keys: ["k", "pk"].map(|name| steps.unit(name, step, 1)),
            negatives: queue.keys.clone(),
            targets: steps.targets(2),
            key_weights: key_weights(epochs[step] as u64, field(case, "lam")),
            share: shares[step],
            temperature: field(case, "temperature"),
        };
        let output = steps.compare(step, &task, &[("q", 1), ("pq", 1), ("mq", 1)]);
        steps.part("mix_losses", step, None, task.mix_loss(&output));
        queue.replace_oldest(task.keys().unwrap());
    }
    steps.queue_after("queue_after", &queue);
    steps.differences
}
