//! What the networks are asked to tell, given some views.

use burn::tensor::{Int, Tensor};

use crate::{
    encoder::Encoder,
    loss::{
        contrast::{against_batch, against_queue, between_views, other_views},
        distill::Output,
        normalize,
    },
    pass::Pass,
};

/// Views, and what every width is asked to tell about them.
#[derive(Debug, Clone)]
pub struct Task {
    /// One or two batches of views, `[n, 3, height, width]` each. They go through the network one after the other:
    /// batch norm sees each on its own.
    pub views: Vec<Tensor<4>>,
    /// What is to be told.
    pub question: Question,
}

/// What is to be told about a view.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "one or two a step")]
pub enum Question {
    /// Its key, `[n, d]`, among those of the queue, `[d, k]`.
    KeyInQueue {
        /// The views' own keys.
        keys: Tensor<2>,
        /// Earlier keys.
        queue: Tensor<2>,
    },
    /// Its key among those of the batch, `[n, d]`.
    KeyInBatch {
        /// The views' keys.
        keys: Tensor<2>,
        /// The temperature that the logits carry.
        temperature: f64,
    },
    /// The other view of its image among all others.
    OtherView,
    /// Its class, `[n]`.
    Label(Tensor<1, Int>),
}

impl Task {
    /// What the pass' width makes of the views.
    pub fn output(&self, encoder: &Encoder, pass: &mut Pass) -> Output {
        let outputs = self.views.iter().map(|views| encoder.forward(views.clone(), pass)).collect();
        let output = Tensor::cat(outputs, 0);
        if let Question::Label(_) = self.question {
            return Output { embeddings: output.clone(), logits: output };
        }
        let embeddings = normalize(output);
        let queries = embeddings.clone();
        let logits = match &self.question {
            Question::KeyInQueue { keys, queue } => against_queue(queries, keys.clone(), queue.clone()),
            Question::KeyInBatch { keys, temperature } => against_batch(queries, keys.clone()).div_scalar(*temperature),
            Question::OtherView | Question::Label(_) => between_views(queries),
        };
        Output { embeddings, logits }
    }

    /// The right columns of the logits, `[n]`, or `[2 n]` where there are two views.
    pub fn targets(&self) -> Tensor<1, Int> {
        let (images, device) = (self.views[0].dims()[0], self.views[0].device());
        match &self.question {
            Question::KeyInQueue { .. } => Tensor::zeros([images], &device),
            Question::KeyInBatch { .. } => Tensor::arange(0..images as i64, &device),
            Question::OtherView => other_views(images, &device),
            Question::Label(labels) => labels.clone(),
        }
    }
}
