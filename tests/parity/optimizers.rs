//! Steps of the optimisers.

use std::{convert::Infallible, sync::Arc};

use burn::tensor::{DType, Device};
use serde_json::Value;
use slimclr_core::{
    gradient::GradientSum,
    layout::{Layout, ParameterId, ParameterSpec, Role, Shapes},
    optim::{Optimizer, OptimizerKind},
    parameter::Parameters,
    width::{Channels, Widths},
};

use crate::{
    compare::{Differences, Fingerprint, Quantity, tolerance, values},
    fill::{Kind, data, input},
    runners::{field, text},
};

/// Builds a layout of tensors `p0`, `p1`, ... of any shape; only those of rank 2 and above are weights.
pub fn layout_of(shapes: &[Vec<usize>]) -> (Arc<Layout>, Vec<ParameterId>) {
    let mut layout = Layout::new(Widths::full());
    let ids = shapes
        .iter()
        .enumerate()
        .map(|(index, shape)| {
            let side = |dim: usize| shape.get(dim).copied().unwrap_or(1);
            let spec = ParameterSpec {
                name: format!("p{index}"),
                role: if shape.len() > 1 { Role::Weight { deviation: 1.0 } } else { Role::PerChannel { initial: 0.0 } },
                outputs: Channels::Fixed(side(0)),
                inputs: Channels::Fixed(side(1)),
                kernel: [side(2), side(3)],
                rank: shape.len(),
                only_width: None,
            };
            layout.add(spec).unwrap()
        })
        .collect();
    (Arc::new(layout), ids)
}

/// Checks that a case has the trust coefficient of all published recipes, which is no option here.
pub fn check_trust_coefficient(case: &Value) {
    assert_eq!(case["trust_coefficient"].as_f64().unwrap_or(0.001), 0.001, "the trust coefficient");
}

pub fn optimizer(case: &Value, dtype: DType) -> Differences {
    let (device, salt) = (Device::flex(), text(case, "salt"));
    let shapes: Vec<Vec<usize>> = field(case, "shapes");
    let (layout, ids) = layout_of(&shapes);
    let named: Shapes = layout.named_shapes().collect();
    let mut parameters = Parameters::from_named(layout.clone(), &device, |name| {
        Ok::<_, Infallible>(data(salt, name, &named[name], Kind::Input, dtype))
    })
    .unwrap();
    for index in field::<Option<Vec<usize>>>(case, "zeros").unwrap_or_default() {
        parameters.update(ids[index], |value| value.zeros_like());
    }
    let (kind, decays_all, quantity) = match text(case, "kind") {
        "sgd" => (OptimizerKind::Sgd, false, Quantity::LossOrOptimizer),
        "lars" => (OptimizerKind::Lars, false, Quantity::LossOrOptimizer),
        "larc" => (OptimizerKind::Larc, true, Quantity::TwoStage),
        "simdis_lars" => (OptimizerKind::SimdisLars, true, Quantity::TwoStage),
        other => panic!("unknown optimiser {other}"),
    };
    check_trust_coefficient(case);
    let optimizer = Optimizer::new(kind, &layout, field(case, "momentum"), field(case, "weight_decay"));
    let mut optimizer = optimizer.decaying_all(decays_all);
    let mut differences = Differences::default();
    let allowed = tolerance(quantity, "", dtype);
    let rates: Option<Vec<f64>> = field(case, "lrs");
    for (step, expected) in field::<Vec<Vec<Fingerprint>>>(case, "trajectory").iter().enumerate() {
        let mut gradients = GradientSum::new(&layout);
        for (index, id) in ids.iter().enumerate() {
            let shape = layout.spec(*id).shape();
            gradients.set(*id, input(salt, &format!("g{index}.{step}"), shape, dtype, &device));
        }
        let rate = rates.as_ref().map_or_else(|| field(case, "lr"), |rates| rates[step]);
        optimizer.step(&mut parameters, &gradients, rate);
        for (id, expected) in ids.iter().zip(expected) {
            let name = format!("{} after step {step}", layout.spec(*id).name);
            differences.fingerprint(&name, &values(parameters.get(*id)), expected, allowed);
        }
    }
    differences
}
