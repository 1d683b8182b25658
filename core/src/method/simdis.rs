//! SimDis: a student predicts a teacher's projections, and its own (Gu et al. 2021); without a teacher it is BYOL (Grill
//! et al. 2020).

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};

pub use slimclr_run::simdis::{SimdisNetwork, SimdisView};

use super::{Batch, Method, PretextTask, StateTensor, StepContext, Teacher};
use crate::{
    encoder::Encoder,
    forward::Forward,
    gradient::{GradientSum, WidthGradient},
    kernel::ranks::Ranks,
    loss::{Loss, Quantity, distill::Output, normalize},
    optim::Optimizer,
    parameter::Parameters,
};

/// Predict projections of two views of each image, by other networks or of the other view.
///
/// A teacher that is trained at the same time has a separate task, BYOL. In that task, its moving average is
/// [`SimdisNetwork::StudentEma`], and it predicts [`SimdisView::SemaDv`].
#[derive(Debug)]
pub struct SimdisTask {
    views: [Tensor<4>; 2],
    names: Vec<SimdisView>,
    /// What each prediction is compared with, the first view's above the second's, `[2 n, d]`; `None` for the student's
    /// own projections of the other view.
    predicted: Vec<Option<Tensor<2>>>,
}

impl SimdisTask {
    /// Creates the task of predicting what `names` says, given the raw projections of both views, `[n, d]` each, by the
    /// [networks](SimdisView::network) other than the student.
    ///
    /// # Panics
    /// If the projections of such a network are missing.
    pub fn new(
        views: [Tensor<4>; 2],
        names: &[SimdisView],
        projections: &BTreeMap<SimdisNetwork, [Tensor<2>; 2]>,
    ) -> Self {
        let predicted = |name: &SimdisView| {
            if name.network() == SimdisNetwork::Student {
                return None;
            }
            let [first, second] = projections.get(&name.network()).expect("a network to predict projects the views");
            let both = if name.is_of_other_view() { [second, first] } else { [first, second] };
            Some(normalize(Tensor::cat(both.map(Clone::clone).into(), 0)))
        };
        Self { predicted: names.iter().map(predicted).collect(), names: names.to_vec(), views }
    }
}

impl PretextTask for SimdisTask {
    fn views(&self) -> &[Tensor<4>] {
        &self.views
    }

    /// Projects each view, and predicts from its projection with the predictor of each name.
    fn forward(&self, network: &mut Forward, encoder: &Encoder) -> Tensor<2> {
        let of_view = |view: &Tensor<4>| {
            let projection = network.project(encoder, view.clone());
            let predictions =
                self.names.iter().map(|name| network.predict_as(encoder, name.name(), projection.clone()));
            let predictions: Vec<Tensor<2>> = predictions.collect();
            Tensor::cat([projection].into_iter().chain(predictions).collect(), 1)
        };
        Tensor::cat(self.views.iter().map(of_view).collect(), 0)
    }

    /// Takes the student's raw projections, the first view's rows above the second's, and beside them the predictions
    /// that each name's predictor makes of them, in the order of the names: `[2 n, (1 + names) d]`. The projections are
    /// the embeddings, and the predictions side by side the logits, both of unit length.
    fn output(&self, outputs: Tensor<2>) -> Output {
        let ([rows, columns], parts) = (outputs.dims(), 1 + self.predicted.len());
        let dim = columns / parts;
        let unit = normalize(outputs.reshape([rows * parts, dim])).reshape([rows, columns]);
        Output { embeddings: unit.clone().narrow(1, 0, dim), logits: unit.narrow(1, dim, columns - dim) }
    }

    /// Computes the mean, over names, of the squared distances between prediction and projection, summed over both views
    /// (Grill et al. 2020, equation 2). That of unit vectors is 2 minus twice their inner product, which is reported.
    fn loss(&self, output: &Output) -> Loss {
        let [rows, _] = output.logits.dims();
        let images = rows / 2;
        let own = output.embeddings.clone().without_autodiff();
        let of_other_view = Tensor::cat(vec![own.clone().narrow(0, images, images), own.narrow(0, 0, images)], 0);
        let predicted = self.predicted.iter().map(|it| it.clone().unwrap_or_else(|| of_other_view.clone()));
        let products = (output.logits.clone() * Tensor::cat(predicted.collect(), 1)).sum();
        let pairs = (images * self.predicted.len()) as f64;
        let loss = Loss::from(products.clone().mul_scalar(-2.0 / pairs).add_scalar(4.0));
        loss.reporting(Quantity::Cosine, products, 1.0 / (2.0 * pairs))
    }
}

/// SimDis, and BYOL. All networks are normalised with batch statistics.
#[derive(Debug, Clone)]
pub struct Simdis {
    /// What the student predicts.
    pub names: Vec<SimdisView>,
    /// The teacher, if there is one.
    pub teacher: Option<SimdisTeacher>,
}

/// SimDis' teacher and its moving average.
#[derive(Debug, Clone)]
pub struct SimdisTeacher {
    /// The teacher.
    pub network: Teacher,
    /// The moving average of its parameters.
    pub average: Parameters,
    /// The optimiser of a teacher that is trained beside the student; `None` if it is frozen.
    pub optimizer: Option<Optimizer>,
}

/// The raw projections of both views by some networks.
type Projections = BTreeMap<SimdisNetwork, [Tensor<2>; 2]>;

impl SimdisTeacher {
    /// Computes the projections that the student predicts, and takes a step of the teacher's training.
    fn project(
        &mut self,
        views: &[Tensor<4>; 2],
        names: &[SimdisView],
        step: &StepContext,
        projections: &mut Projections,
    ) {
        let is_predicted = |network| names.iter().any(|name| name.network() == network);
        let trains = self.optimizer.is_some();
        if trains {
            self.average.ema_update(&self.network.parameters, step.plan.key_momentum);
        }
        if trains || is_predicted(SimdisNetwork::TeacherEma) {
            let Self { network, average, .. } = self;
            let project = |view: &Tensor<4>| step.forward(average, 0).project(&network.encoder, view.clone());
            projections.insert(SimdisNetwork::TeacherEma, views.each_ref().map(project));
        }
        if trains {
            let averages = projections[&SimdisNetwork::TeacherEma].clone();
            projections.insert(SimdisNetwork::Teacher, self.train(views, averages, step));
        } else if is_predicted(SimdisNetwork::Teacher) {
            let Teacher { encoder, parameters, .. } = &mut self.network;
            let project = |view: &Tensor<4>| step.forward(parameters, 0).project(encoder, view.clone());
            projections.insert(SimdisNetwork::Teacher, views.each_ref().map(project));
        }
    }

    /// Takes a step of the teacher's own training, which is BYOL. Returns its projections of both views before it.
    fn train(&mut self, views: &[Tensor<4>; 2], averages: [Tensor<2>; 2], step: &StepContext) -> [Tensor<2>; 2] {
        let Self { network: Teacher { encoder, parameters, .. }, optimizer, .. } = self;
        let task = SimdisTask::new(
            views.clone(),
            &[SimdisView::SemaDv],
            &Projections::from([(SimdisNetwork::StudentEma, averages)]),
        );
        let mut forward = step.tracked(parameters, 0);
        let output = task.output(task.forward(&mut forward, encoder));
        let gradients = forward.gradients(task.loss(&output).value);
        let layout = encoder.layout();
        let sum = GradientSum::new(layout).plus(layout, &WidthGradient::of(layout, 0, gradients)).averaged(step.ranks);
        if let Some(optimizer) = optimizer {
            optimizer.step(parameters, &sum, step.plan.rate);
        }
        let embeddings = output.embeddings.without_autodiff();
        let images = embeddings.dims()[0] / 2;
        [0, images].map(|start| embeddings.clone().narrow(0, start, images))
    }

    /// Returns what a teacher in training needs to continue.
    fn state(&self) -> Vec<StateTensor> {
        let Some(optimizer) = &self.optimizer else { return Vec::new() };
        let named = |prefix: &'static str, parameters: &Parameters| -> Vec<StateTensor> {
            let tensors = parameters.named().map(|(spec, value)| StateTensor {
                name: format!("{prefix}.{}", spec.name),
                shape: spec.named_shape(),
                values: value.clone().flatten(0, 3),
            });
            tensors.collect()
        };
        let velocities = optimizer.velocities().cloned().unwrap_or_else(|| self.average.packed().zeros_like());
        let velocities =
            StateTensor { name: "teacher_velocity".into(), shape: velocities.dims().into(), values: velocities };
        let [of_teacher, of_average] =
            [named("teacher", &self.network.parameters), named("teacher_average", &self.average)];
        of_teacher.into_iter().chain(of_average).chain([velocities]).collect()
    }

    fn restore(&mut self, values: Vec<TensorData>) {
        let Some(optimizer) = &mut self.optimizer else { return };
        let mut values = values.into_iter();
        let device = self.average.device();
        for parameters in [&mut self.network.parameters, &mut self.average] {
            let layout = parameters.layout().clone();
            let read = |_: &str| values.next().ok_or(());
            // The checkpoint has been compared with `state`.
            *parameters = Parameters::from_named(layout, &device, read).expect("every parameter is in the checkpoint");
        }
        if let Some(velocities) = values.next() {
            optimizer.set_packed_velocities(Tensor::from_data(velocities, &device));
        }
    }
}

impl Method for Simdis {
    fn has_keys(&self) -> bool {
        true
    }

    fn tasks(&mut self, Batch { views, .. }: Batch, step: &mut StepContext) -> Vec<Box<dyn PretextTask>> {
        let views: [Tensor<4>; 2] = views.try_into().expect("SimDis takes two views");
        let mut projections = Projections::new();
        if self.names.iter().any(|name| name.network() == SimdisNetwork::StudentEma) {
            let averages = views.each_ref().map(|view| step.encode_keys(view.clone()));
            projections.insert(SimdisNetwork::StudentEma, averages);
        }
        if let Some(teacher) = &mut self.teacher {
            teacher.project(&views, &self.names, step, &mut projections);
        }
        vec![Box::new(SimdisTask::new(views, &self.names, &projections))]
    }

    fn average_statistics(&mut self, ranks: &Ranks) {
        if let Some(SimdisTeacher { network, average, .. }) = &mut self.teacher {
            network.parameters.average_statistics(ranks);
            average.average_statistics(ranks);
        }
    }

    fn state(&self) -> Vec<StateTensor> {
        self.teacher.iter().flat_map(SimdisTeacher::state).collect()
    }

    fn restore(&mut self, values: Vec<TensorData>, _: u64) {
        if let Some(teacher) = &mut self.teacher {
            teacher.restore(values);
        }
    }
}
