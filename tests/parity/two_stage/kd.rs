//! Plain distillation.

use burn::tensor::{DType, Device, Tensor, TensorData};
use serde_json::Value;
use slimclr_core::{
    loss::distill::Temperatures,
    method::{KdTask, PretextTask, kd::Reduction},
};

use crate::{
    compare::{Differences, Fingerprint, Quantity, tolerance, values},
    fill::input,
    runners::{field, text},
};

pub fn kd_loss(case: &Value, dtype: DType) -> Differences {
    let device = Device::flex();
    let shape: [usize; 2] = [field(case, "n"), field(case, "classes")];
    let [student, teacher] = ["s", "t"].map(|name| input(text(case, "salt"), name, shape, dtype, &device));
    let labels: Option<Vec<i64>> = field(case, "labels");
    let task = KdTask {
        views: [Tensor::zeros([1; 4], &device)],
        teacher,
        labels: match labels {
            Some(labels) => Tensor::from_data(TensorData::new(labels, [shape[0]]), &device),
            None => Tensor::zeros([shape[0]], &device),
        },
        alpha: field(case, "alpha"),
        temperatures: Temperatures {
            teacher: field(case, "teacher_temperature"),
            student: field(case, "student_temperature"),
        },
        reduction: match text(case, "reduction") {
            "batch_mean" => Reduction::BatchMean,
            "element_mean" => Reduction::ElementMean,
            other => panic!("unknown reduction {other}"),
        },
    };
    let student: Tensor<2> = student.autodiff().require_grad();
    let loss = task.loss(&task.output(student.clone())).value;
    let gradient = values(&student.grad(&loss.backward()).unwrap());
    let mut differences = Differences::default();
    let allowed = tolerance(Quantity::TwoStage, "", dtype);
    differences.number("loss", values(&loss.without_autodiff())[0], field(case, "loss"), allowed);
    differences.fingerprint("gradient", &gradient, &field::<Fingerprint>(case, "grad_s"), allowed);
    differences
}
