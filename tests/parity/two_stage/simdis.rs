//! SimDis and BYOL: predictions of projections.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor};
use serde_json::Value;
use slimclr_core::{
    method::{
        PretextTask, SimdisTask,
        simdis::{SimdisNetwork, SimdisView},
    },
    schedule::cosine_momentum,
};

use crate::{
    compare::{Differences, Fingerprint, Quantity, tolerance, values},
    fill::{Kind, data, input},
    runners::{SCHEDULE, field, text},
};

/// A network that is trained: its projections of both views, and the matrix of each predictor.
struct Trained {
    projections: [Tensor<2>; 2],
    predictors: Vec<Tensor<2>>,
}

impl Trained {
    /// Lays the network's outputs out as [`SimdisTask`] takes them, and computes the loss.
    fn loss(&self, task: &SimdisTask) -> Tensor<1> {
        let projections = Tensor::cat(self.projections.to_vec(), 0);
        let predictions = self.predictors.iter().map(|matrix| projections.clone().matmul(matrix.clone().transpose()));
        let outputs = std::iter::once(projections.clone()).chain(predictions).collect();
        task.loss(&task.output(Tensor::cat(outputs, 1))).value
    }
}

pub fn simdis_loss(case: &Value, dtype: DType) -> Differences {
    let (device, salt) = (Device::flex(), text(case, "salt"));
    let [images, dim] = ["n", "dim"].map(|name| field(case, name));
    let projections = |of: &str| -> [Tensor<2>; 2] {
        [1, 2].map(|view| input(salt, &format!("{of}{view}"), [images, dim], dtype, &device))
    };
    let trained = |of: &str, predictors: &[String]| Trained {
        projections: projections(of).map(|projection| projection.autodiff().require_grad()),
        predictors: predictors
            .iter()
            .map(|name| data(salt, name, &[dim, dim], Kind::Weight, dtype))
            .map(|matrix| Tensor::from_data(matrix, (&device, dtype)).autodiff().require_grad())
            .collect(),
    };
    let views = || [(); 2].map(|()| Tensor::zeros([1; 4], &device));
    let names: Vec<String> = field(case, "views");
    let kinds: Vec<SimdisView> = field(case, "views");

    let student = trained("fs", &names.iter().map(|name| format!("pred.{name}")).collect::<Vec<_>>());
    let others = [(SimdisNetwork::StudentEma, "es"), (SimdisNetwork::Teacher, "ft"), (SimdisNetwork::TeacherEma, "et")];
    let others = BTreeMap::from(others.map(|(network, name)| (network, projections(name))));
    let mut loss = student.loss(&SimdisTask::new(views(), &kinds, &others));
    let teacher = match text(case, "teacher") {
        "online" => Some(trained("ft", &["pred_teacher.ttemadv".into()])),
        "offline" | "none" => None,
        other => panic!("unknown teacher {other}"),
    };
    if let Some(teacher) = &teacher {
        let of_ema = BTreeMap::from([(SimdisNetwork::StudentEma, projections("et"))]);
        loss = loss + teacher.loss(&SimdisTask::new(views(), &[SimdisView::SemaDv], &of_ema));
    }

    let mut differences = Differences::default();
    let allowed = tolerance(Quantity::TwoStage, "", dtype);
    let gradients = loss.backward();
    differences.number("loss", values(&loss.without_autodiff())[0], field(case, "loss"), allowed);
    let mut compare = |name: &str, of: &Tensor<2>, expected: Fingerprint| {
        differences.fingerprint(name, &values(&of.grad(&gradients).unwrap()), &expected, allowed);
    };
    let of_predictors: BTreeMap<String, Fingerprint> = field(case, "grad_pred");
    for (name, matrix) in names.iter().zip(&student.predictors) {
        compare(&format!("gradient of pred.{name}"), matrix, of_predictors[name].clone());
    }
    for (of, network) in [("fs", Some(&student)), ("ft", teacher.as_ref())] {
        for (view, projection) in network.iter().flat_map(|network| &network.projections).enumerate() {
            let name = format!("grad_{of}{}", view + 1);
            compare(&name, projection, field(case, &name));
        }
    }
    if let Some(teacher) = &teacher {
        compare("grad_pred_teacher", &teacher.predictors[0], field(case, "grad_pred_teacher"));
    }
    let momentum = &case["momentum"];
    for (steps, expected) in field::<Vec<(f64, f64)>>(momentum, "points") {
        let found = cosine_momentum(field(momentum, "base"), steps, field(momentum, "total"));
        differences.number(&format!("momentum after {steps} steps"), found, expected, SCHEDULE);
    }
    differences
}
