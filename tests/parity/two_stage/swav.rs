//! SwAV: assignments to prototypes, and their prediction.

use std::convert::Infallible;

use burn::tensor::{DType, Device, Tensor};
use serde_json::Value;
use slimclr_core::{
    gradient::GradientSum,
    kernel::ranks::Ranks,
    loss::normalize,
    method::{
        PretextTask, Sinkhorn, SwavQueue, SwavTask,
        swav::{normalize_prototypes, of_crop},
    },
    optim::{Optimizer, OptimizerKind},
    parameter::Parameters,
};

use crate::{
    compare::{Differences, Fingerprint, Quantity, Stored, tolerance, values},
    fill::{Kind, data, input},
    optimizers::{check_trust_coefficient, layout_of},
    runners::{field, text},
};

fn sinkhorn(case: &Value) -> Sinkhorn {
    Sinkhorn { epsilon: field(case, "epsilon"), iterations: field(case, "iterations") }
}

pub fn swav_sinkhorn(case: &Value, dtype: DType) -> Differences {
    let rows = |name: &str, count: &str| {
        let shape = [field(case, count), field(case, "dim")];
        normalize(input(text(case, "salt"), name, shape, dtype, &Device::flex()))
    };
    let scores = rows("z", "batch").matmul(rows("prototypes", "prototypes").transpose());
    let assigned = sinkhorn(case).assign(scores, &Ranks::default());

    let mut differences = Differences::default();
    let allowed = tolerance(Quantity::TwoStage, "", dtype);
    if let Ok(expected) = serde_json::from_value::<Stored>(case["assignments"].clone()) {
        differences.tensor("assignments", &assigned, &expected, allowed);
    }
    for (name, found) in [("fingerprint", assigned.clone()), ("column_sums", assigned.clone().sum_dim(0))] {
        differences.fingerprint(name, &values(&found), &field::<Fingerprint>(case, name), allowed);
    }
    let argmax: Vec<usize> = assigned.argmax(1).into_data().iter::<i64>().map(|column| column as usize).collect();
    differences.exact("row_argmax", &argmax, &field::<Vec<usize>>(case, "row_argmax"));
    differences
}

pub fn swav_loss(case: &Value, dtype: DType) -> Differences {
    let (device, salt) = (Device::flex(), text(case, "salt"));
    let [images, dim, prototypes, queued] = ["n", "dim", "prototypes", "queue"].map(|name| field(case, name));
    let crops: usize = field::<Vec<usize>>(case, "crops").iter().sum();
    let assigning: Vec<usize> = field(case, "assign");
    let (layout, ids) = layout_of(&[vec![prototypes, dim]]);
    let mut parameters = Parameters::from_named(layout.clone(), &device, |_| {
        Ok::<_, Infallible>(data(salt, "prototypes", &[prototypes, dim], Kind::Weight, dtype))
    })
    .unwrap();
    check_trust_coefficient(case);
    let [momentum, weight_decay] = ["momentum", "weight_decay"].map(|name| field(case, name));
    let mut optimizer = Optimizer::new(OptimizerKind::Larc, &layout, momentum, weight_decay).decaying_all(true);
    let rows = || (0..assigning.len()).map(|_| Tensor::zeros([queued, dim], (&device, dtype))).collect();
    let mut queue = (queued > 0).then(|| SwavQueue { rows: rows(), entered: 0 });

    let mut differences = Differences::default();
    let allowed = tolerance(Quantity::TwoStage, "", dtype);
    let losses: Vec<f64> = field(case, "losses");
    let of_embeddings: Vec<Vec<Fingerprint>> = field(case, "grad_z");
    let after: Vec<Fingerprint> = field(case, "prototypes_after");
    for step in 0..field::<usize>(case, "steps") {
        normalize_prototypes(&mut parameters, ids[0]);
        let matrix: Tensor<2> = parameters.get(ids[0]).clone().reshape([prototypes, dim]);
        let task = SwavTask {
            crops: (0..crops).map(|_| Tensor::zeros([1; 4], &device)).collect(),
            dim,
            assigning: assigning.clone(),
            queue_scores: queue.as_ref().and_then(|queue| queue.scores(&matrix)),
            sinkhorn: sinkhorn(case),
            temperature: field(case, "temperature"),
            fills_queue: queue.is_some(),
            ranks: Ranks::default(),
        };
        let raw: Vec<Tensor<2>> = (0..crops)
            .map(|crop| input(salt, &format!("z{step}.{crop}"), [images, dim], dtype, &device))
            .map(|raw: Tensor<2>| raw.autodiff().require_grad())
            .collect();
        let matrix = matrix.autodiff().require_grad();
        let embeddings = normalize(Tensor::cat(raw.clone(), 0));
        let scores = embeddings.clone().matmul(matrix.clone().transpose());
        let output = task.output(Tensor::cat(vec![embeddings, scores], 1));
        let loss = task.loss(&output).value;
        let gradients = loss.backward();
        differences.number(&format!("loss of step {step}"), values(&loss.without_autodiff())[0], losses[step], allowed);
        for (crop, raw) in raw.iter().enumerate() {
            let found = values(&raw.grad(&gradients).unwrap());
            differences.fingerprint(
                &format!("gradient of z{step}.{crop}"),
                &found,
                &of_embeddings[step][crop],
                allowed,
            );
        }
        if let Some(queue) = &mut queue {
            let output = output.detached();
            queue.enqueue(assigning.iter().map(|crop| of_crop(&output.embeddings, *crop, crops)).collect());
        }
        if step >= field::<usize>(case, "freeze_iterations") {
            let mut sum = GradientSum::new(&layout);
            sum.set(ids[0], matrix.grad(&gradients).unwrap().reshape(layout.spec(ids[0]).shape()));
            optimizer.step(&mut parameters, &sum, field(case, "lr"));
        }
        let found = values(parameters.get(ids[0]));
        differences.fingerprint(&format!("prototypes after step {step}"), &found, &after[step], allowed);
    }
    if let Some(queue) = queue {
        let expected: Fingerprint = field(case, "queue_after");
        differences.fingerprint("queue_after", &values(&Tensor::cat(queue.rows, 0)), &expected, allowed);
    }
    differences
}
