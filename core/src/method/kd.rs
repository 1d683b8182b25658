//! Plain distillation: the student learns the teacher's softened outputs (Hinton et al. 2015, section 2).

use burn::tensor::{Int, Tensor};

use super::{Batch, Method, PretextTask, StepContext, Teacher};
use crate::forward::Mode;
use crate::loss::{
    Loss, Quantity,
    contrastive::cross_entropy,
    distill::{Output, Temperatures, divergence},
};

/// What the divergence is averaged over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// The batch; it is summed over the classes.
    BatchMean,
    /// The batch and the classes.
    ElementMean,
}

/// Predict the teacher's outputs, and the class.
#[derive(Debug)]
pub struct KdTask {
    /// The view.
    pub views: [Tensor<4>; 1],
    /// The teacher's outputs for the same view, `[n, c]`: class scores, or embeddings.
    pub teacher: Tensor<2>,
    /// The classes of the images, `[n]`, which are not used if `alpha` is 1.
    pub labels: Tensor<1, Int>,
    /// Weight of the divergence from the teacher; the cross-entropy with the labels has the rest of 1.
    pub alpha: f64,
    /// Temperatures of the divergence.
    pub temperatures: Temperatures,
    /// What the divergence is averaged over.
    pub reduction: Reduction,
}

impl PretextTask for KdTask {
    fn views(&self) -> &[Tensor<4>] {
        &self.views
    }

    fn output(&self, outputs: Tensor<2>) -> Output {
        Output { embeddings: outputs.clone(), logits: outputs }
    }

    fn loss(&self, output: &Output) -> Loss {
        let classes = match self.reduction {
            Reduction::BatchMean => 1,
            Reduction::ElementMean => self.teacher.dims()[1],
        };
        let divergence = divergence([output.logits.clone(), self.teacher.clone()], self.temperatures);
        let weighted = divergence.clone().mul_scalar(self.alpha / classes as f64);
        let loss = if self.alpha == 1.0 {
            Loss::from(weighted)
        } else {
            let of_labels = Loss::choosing(cross_entropy(output.logits.clone(), self.labels.clone(), 1.0));
            of_labels.map(|of_labels| weighted + of_labels.mul_scalar(1.0 - self.alpha))
        };
        loss.reporting(Quantity::TeacherDivergence, divergence, 1.0)
    }
}

/// Plain distillation. The teacher is normalised with its running statistics.
#[derive(Debug, Clone)]
pub struct Kd {
    /// The teacher.
    pub teacher: Teacher,
    /// Weight of the teacher; the labels have the rest of 1.
    pub alpha: f64,
    /// Temperatures of the divergence.
    pub temperatures: Temperatures,
}

impl Method for Kd {
    fn tasks(&mut self, Batch { views, labels, .. }: Batch, step: &mut StepContext) -> Vec<Box<dyn PretextTask>> {
        let [view] = views.try_into().expect("KD takes one view");
        let teacher = self.teacher.outputs(view.clone(), Mode::Eval, step.precision);
        let (alpha, temperatures, reduction) = (self.alpha, self.temperatures, Reduction::BatchMean);
        vec![Box::new(KdTask { views: [view], teacher, labels, alpha, temperatures, reduction })]
    }
}
