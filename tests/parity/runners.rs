//! Runs each kind of case.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor};
use futures::executor::block_on;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use slimclr_core::{
    encoder::{BackboneKind, Encoder, EncoderConfig},
    forward::{Forward, Mode},
    gradient::GradientSum,
    head::HeadKind,
    interference::{magnitude::gradient_norms, surgery::Surgery},
    kernel::ranks::Ranks,
    layout::Shapes,
    loss::{
        contrastive::{moco_logits, mocov3_logits},
        distill::{Distillation, Output, Temperatures},
        normalize,
        reweight::Reweighting,
    },
    method::{Batch, MocoV2, MocoV2Task, MocoV3Task, PretextTask, Queue, StepOptions, StepPlan, Trainer},
    optim::{Optimizer, OptimizerKind},
    parameter::in_layout_shape,
    precision::Precision,
    profile::profile as profile_of,
    schedule::{Decay, LrSchedule, cosine_momentum},
    width::Widths,
};

use crate::{
    compare::{Differences, Fingerprint, Quantity, Stored, tolerance, values},
    fill::{Kind, data, filled, input},
};

const BATCH_MODE: Mode = Mode::Train { splits: 1 };

pub fn field<T: DeserializeOwned>(case: &Value, name: &str) -> T {
    serde_json::from_value(case[name].clone()).unwrap_or_else(|error| panic!("field {name}: {error}"))
}

pub fn text<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().unwrap_or_else(|| panic!("field {name} is not a string"))
}

fn widths(case: &Value) -> Widths {
    Widths::try_from(field::<Vec<f64>>(case, "widths")).unwrap()
}

/// Formats a width as in the cases: 1.0, 0.75.
fn key(width: f64) -> String {
    format!("{width:?}")
}

fn head(case: &Value) -> HeadKind {
    match text(case, "head") {
        "mocov2_slim" => HeadKind::Mocov2,
        "mocov3_slim" => HeadKind::Mocov3,
        "simclr_slim" => HeadKind::Simclr,
        "supervised" | "linear fc to dim" => HeadKind::Supervised,
        "supervised_switch" => HeadKind::SupervisedSwitch,
        other => panic!("unknown head {other}"),
    }
}

fn encoder(case: &Value, outputs: usize) -> Encoder {
    let backbone = match text(case, "variant") {
        "cifar" => BackboneKind::Cifar,
        "imagenet" => BackboneKind::Resnet,
        other => panic!("unknown backbone {other}"),
    };
    let config = EncoderConfig {
        multiplier: case["width_multiplier"].as_f64().unwrap_or(1.0),
        widths: widths(case),
        ..EncoderConfig::new(backbone, field(case, "depth"), head(case), outputs)
    };
    config.build().unwrap()
}

pub fn backbone(case: &Value, dtype: DType) -> Differences {
    let (device, salt, variant) = (Device::flex(), text(case, "salt"), text(case, "variant"));
    let encoder = encoder(case, field(case, "out_dim"));
    let mut parameters = filled(encoder.layout(), salt, dtype);
    let widths = encoder.layout().widths().clone();
    let mut differences = Differences::default();

    let expected: Shapes = field(case, "params");
    if encoder.layout().named_shapes().collect::<Shapes>() != expected {
        differences.found.push("the names or shapes of the parameters differ".into());
    }

    let images: Tensor<4> = input(salt, "input", field(case, "input"), dtype, &device);
    let outputs: BTreeMap<String, Stored> = field(case, "eval");
    for (index, width) in widths.iter().enumerate() {
        let output = Forward::new(&mut parameters, index, Mode::Eval).predict(&encoder, images.clone());
        let allowed = tolerance(Quantity::EvalOutput, variant, dtype);
        differences.tensor(&format!("eval output at {width}"), &output, &outputs[&key(width)], allowed);
    }
    let outputs: BTreeMap<String, Stored> = field(case, "train");
    let gradients: BTreeMap<String, BTreeMap<String, Fingerprint>> = field(case, "grad");
    for (index, width) in widths.iter().enumerate() {
        let mut pass = Forward::tracked(&mut parameters, index, BATCH_MODE);
        let output = pass.predict(&encoder, images.clone());
        let allowed = tolerance(Quantity::TrainOutput, variant, dtype);
        let detached = output.clone().without_autodiff();
        differences.tensor(&format!("train output at {width}"), &detached, &outputs[&key(width)], allowed);
        let cotangent: Tensor<2> = input(salt, "cotangent", output.dims(), dtype, &device);
        let loss = (output * cotangent).sum();
        let expected = &gradients[&key(width)];
        let mut compared = 0;
        for (id, gradient) in pass.gradients(loss) {
            let name = &encoder.layout().spec(id).name;
            if let Some(expected) = expected.get(name) {
                let allowed = tolerance(Quantity::Gradient, variant, dtype);
                differences.fingerprint(
                    &format!("gradient of {name} at {width}"),
                    &values(&gradient),
                    expected,
                    allowed,
                );
                compared += 1;
            }
        }
        if compared != expected.len() {
            differences.found.push(format!("{compared} of {} gradients found at {width}", expected.len()));
        }
    }
    let running: BTreeMap<String, Stored> = field(case, "running");
    for (spec, value) in parameters.named() {
        if let Some(expected) = running.get(&spec.name) {
            let value: Tensor<1> = value.clone().flatten(0, 3);
            differences.tensor(&spec.name, &value, expected, tolerance(Quantity::TrainOutput, variant, dtype));
        }
    }
    differences
}

fn distillation(case: &Value) -> Distillation {
    match (case["distill"].as_str(), case["distill_variant"].as_u64()) {
        (None, _) => Distillation::None,
        (Some("seed_loss"), _) => Distillation::Seed,
        (Some("inplace_distill"), _) => Distillation::Inplace,
        (Some("mse_loss"), Some(1)) => Distillation::MseEmbeddings,
        (Some("mse_loss"), Some(2)) => Distillation::MseLogits,
        (Some("dkd_loss"), _) => Distillation::Dkd,
        (Some("atkd_loss"), _) => Distillation::Atkd,
        other => panic!("unknown distillation {other:?}"),
    }
}

fn step_options(case: &Value) -> StepOptions {
    let reweighting = Reweighting::try_from(field::<u8>(case, "reweighting")).unwrap();
    StepOptions {
        surgery: Surgery::None,
        bn_splits: 1,
        sync_bn: false,
        accumulate: 1,
        recompute: false,
        clip_norm: 0.0,
        precision: Precision::F32,
        distill: distillation(case),
        distill_weight: field(case, "distill_weight"),
        temperatures: Temperatures {
            teacher: field(case, "teacher_temperature"),
            student: field(case, "student_temperature"),
        },
        full_distill: case["full_distill"].as_bool().unwrap_or(false),
        loss_weights: reweighting.weights(&widths(case)),
        seed: 0,
    }
}

/// Generates the queue `name`, `[d, k]`, with keys of unit norm.
pub fn queue(case: &Value, name: &str, dtype: DType) -> Tensor<2> {
    let shape = [field(case, "dim"), field(case, "queue")];
    let queue: Tensor<2> = input(text(case, "salt"), name, shape, dtype, &Device::flex());
    normalize(queue.transpose()).transpose()
}

fn mocov2(case: &Value) -> MocoV2 {
    MocoV2 { temperature: field(case, "temperature"), queue: field(case, "queue") }
}

pub fn mocov2_loss(case: &Value, dtype: DType) -> Differences {
    let (temperature, negatives) = (field(case, "temperature"), queue(case, "queue", dtype));
    contrastive_loss(case, dtype, |queries, keys| {
        let targets = Tensor::zeros([queries.dims()[0]], &queries.device());
        let logits = moco_logits(queries, keys.clone(), negatives.clone());
        let views = [Tensor::zeros([1; 4], &keys.device())];
        (logits, Box::new(MocoV2Task { views, keys, negatives: negatives.clone(), targets, temperature }))
    })
}

/// Compares one of the two directions of the symmetric loss.
pub fn mocov3_loss(case: &Value, dtype: DType) -> Differences {
    let temperature: f64 = field(case, "temperature");
    contrastive_loss(case, dtype, |queries, keys| {
        let targets = Tensor::arange(0..queries.dims()[0] as i64, &queries.device());
        let logits = mocov3_logits(queries, keys.clone()).div_scalar(temperature);
        let views = [Tensor::zeros([1; 4], &keys.device())];
        (logits, Box::new(MocoV3Task { views, keys, targets, temperature }))
    })
}

/// Compares losses; `task` computes the queries' logits and the task that they belong to from queries and keys.
fn contrastive_loss(
    case: &Value,
    dtype: DType,
    task: impl Fn(Tensor<2>, Tensor<2>) -> (Tensor<2>, Box<dyn PretextTask>),
) -> Differences {
    let (device, salt) = (Device::flex(), text(case, "salt"));
    let shape = [field(case, "n"), field(case, "dim")];
    let unit = |name: &str| normalize(input(salt, name, shape, dtype, &device));
    let (keys, options) = (unit("k"), step_options(case));
    let slim: bool = field(case, "slim_enabled");
    let allowed = tolerance(Quantity::LossOrOptimizer, "", dtype);
    let recorded: Vec<f64> = field(case, "losses");
    let gradients: BTreeMap<String, Option<Fingerprint>> = field(case, "grad_q");

    let mut differences = Differences::default();
    let (mut teachers, mut total) = (Vec::new(), 0.0);
    for (index, width) in widths(case).iter().enumerate() {
        let key = key(width);
        if index > 0 && !slim {
            if recorded[index] != 0.0 || gradients[&key].is_some() {
                differences.found.push(format!("width {width} should be trained"));
            }
            continue;
        }
        let query = unit(&format!("q{key}")).autodiff().require_grad();
        let (logits, task) = task(query.clone(), keys.clone());
        let output = Output { embeddings: query.clone(), logits };
        let weight = if slim { options.loss_weights[index] } else { 1.0 };
        let loss = options.weighted(task.loss(&output), (&output, &teachers), task.targets(), weight).value;
        let gradient = query.grad(&loss.backward()).unwrap();
        let value = values(&loss.without_autodiff())[0];
        total += value;
        differences.number(&format!("loss at {width}"), value, recorded[index], allowed);
        let expected = gradients[&key].as_ref().unwrap();
        let gradient_allowed = tolerance(Quantity::Gradient, "", dtype);
        differences.fingerprint(&format!("gradient at {width}"), &values(&gradient), expected, gradient_allowed);
        teachers.push(output.detached());
    }
    differences.number("total loss", total, field(case, "loss"), allowed);
    let weights: Vec<f64> = field(case, "loss_weights");
    for (found, expected) in options.loss_weights.iter().zip(weights) {
        differences.number("loss weight", *found, expected, 1e-6);
    }
    differences
}

#[derive(Deserialize)]
struct StepRecord {
    slim_enabled: bool,
    loss: f64,
    losses: Vec<f64>,
}

pub fn mocov2_training(case: &Value, dtype: DType) -> Differences {
    let (device, salt) = (Device::flex(), text(case, "salt"));
    let encoder = encoder(case, field(case, "dim"));
    let query = filled(encoder.layout(), salt, dtype);
    let [momentum, weight_decay] = ["momentum", "weight_decay"].map(|name| field(case, name));
    let mut trainer = Trainer {
        method: Box::new(mocov2(case)),
        options: step_options(case),
        key: Some(query.clone()),
        query,
        queue: Some(Queue { keys: queue(case, "queue", dtype), pointer: 0 }),
        optimizer: Optimizer::new(OptimizerKind::Sgd, encoder.layout(), momentum, weight_decay),
        loss_scale: None,
        encoder,
        steps: 0,
        ranks: Ranks::default(),
    };
    let key_momentum = field(case, "ema_momentum");
    let shape = [field(case, "n"), 3, 32, 32];
    let mut differences = Differences::default();
    let allowed = tolerance(Quantity::TrainingLoss, "", dtype);
    for (step, record) in field::<Vec<StepRecord>>(case, "steps").into_iter().enumerate() {
        let views = ["xq", "xk"].map(|view| input(salt, &format!("{view}{step}"), shape, dtype, &device));
        let batch = Batch { views: views.to_vec(), labels: Tensor::zeros([shape[0]], &device), teacher_features: None };
        let plan = StepPlan {
            trains_subnetworks: record.slim_enabled,
            rate: field(case, "lr"),
            key_momentum,
            ..StepPlan::trial(0.0)
        };
        let outcome = trainer.step(batch, plan);
        let mut losses: Vec<f64> = outcome.losses.weighted.iter().map(|loss| values(loss)[0]).collect();
        losses.resize(record.losses.len(), 0.0);
        differences.number(&format!("loss at step {step}"), losses.iter().sum(), record.loss, allowed);
        for (found, expected) in losses.iter().zip(&record.losses) {
            differences.number(&format!("a width's loss at step {step}"), *found, *expected, allowed);
        }
    }
    let allowed = tolerance(Quantity::TrainingParameter, "", dtype);
    for (name, parameters) in [("encoder_q_after", &trainer.query), ("encoder_k_after", trainer.key.as_ref().unwrap())]
    {
        let expected: BTreeMap<String, Fingerprint> = field(case, name);
        let mut compared = 0;
        for (spec, value) in parameters.named() {
            if let Some(expected) = expected.get(&spec.name) {
                differences.fingerprint(&format!("{name} {}", spec.name), &values(value), expected, allowed);
                compared += 1;
            }
        }
        if compared != expected.len() {
            differences.found.push(format!("{compared} of {} parameters of {name} found", expected.len()));
        }
    }
    let queue = trainer.queue.unwrap();
    differences.number("queue pointer", queue.pointer as f64, field(case, "queue_ptr"), 0.0);
    let column: Tensor<1> = queue.keys.narrow(1, 0, 1).flatten(0, 1);
    differences.tensor("queue's first column", &column, &field(case, "queue_first_column"), allowed);
    differences
}

pub fn grad_norm(case: &Value, dtype: DType) -> Differences {
    let (device, salt) = (Device::flex(), text(case, "salt"));
    let encoder = encoder(case, field(case, "out_dim"));
    let layout = encoder.layout();
    let mut gradients = GradientSum::new(layout);
    for (id, spec) in layout.iter().filter(|(_, spec)| spec.is_weight()) {
        let name = format!("g.{}", spec.name);
        let gradient = data(salt, &name, &spec.named_shape(), Kind::Weight, dtype);
        gradients.set(id, Tensor::from_data(in_layout_shape(spec, gradient), (&device, dtype)));
    }
    let found = block_on(gradient_norms(layout, &gradients)).unwrap();
    let mut differences = Differences::default();
    // The authors sum norms in f32 in eight lanes. The exact sums differ from theirs by up to 3e-5 (1e-8 when summed
    // the same way), so f64 has no tighter tolerance here.
    let allowed = tolerance(Quantity::LossOrOptimizer, "", DType::F32);
    for (found, expected) in found.norms.iter().zip(field::<Vec<f64>>(case, "mean_norms")) {
        differences.number("mean norm", *found, expected, allowed);
    }
    differences
}

#[derive(Deserialize)]
struct RateRecord {
    mode: String,
    init_lr: f64,
    total_steps: u64,
    warmup_steps: u64,
    milestones_epochs: Option<Vec<f64>>,
    points: Vec<(u64, f64, f64)>,
}

/// Tolerance of schedules.
pub const SCHEDULE: f64 = 1e-6;

pub fn schedule(case: &Value) -> Differences {
    let mut differences = Differences::default();
    for record in field::<Vec<RateRecord>>(case, "lr") {
        // The points are in epochs of one length.
        let of_epoch =
            record.points.iter().find(|(_, epoch, _)| *epoch > 0.0).map(|(step, epoch, _)| *step as f64 / epoch);
        let schedule = LrSchedule {
            decay: match record.mode.as_str() {
                "cos" => Decay::Cosine,
                "step" => Decay::Step,
                "poly" => Decay::Poly,
                "HTD" => Decay::Htd,
                other => panic!("unknown schedule {other}"),
            },
            peak: record.init_lr,
            warmup_start: 1e-8,
            final_rate: 0.0,
            total_steps: record.total_steps,
            warmup_steps: record.warmup_steps,
            steps_per_epoch: of_epoch.unwrap_or(1.0).round() as u64,
            milestones: record.milestones_epochs.unwrap_or_default(),
            milestone_factor: 0.1,
        };
        for (step, _, rate) in record.points {
            differences.number(&format!("{} at step {step}", record.mode), schedule.rate(step), rate, SCHEDULE);
        }
    }
    let momentum = &case["momentum_cosine"];
    for (epoch, expected) in field::<Vec<(f64, f64)>>(momentum, "points") {
        let found = cosine_momentum(field(momentum, "initial"), epoch, field(momentum, "epochs"));
        differences.number(&format!("momentum at epoch {epoch}"), found, expected, SCHEDULE);
    }
    for (scheme, cases) in field::<BTreeMap<String, BTreeMap<String, Vec<f64>>>>(case, "loss_weights") {
        let reweighting: Reweighting = scheme.parse().unwrap();
        for (widths, expected) in cases {
            let list = widths.split(',').map(|width| width.parse().unwrap()).collect::<Vec<f64>>();
            let found = reweighting.weights(&Widths::try_from(list).unwrap());
            for (found, expected) in found.iter().zip(expected) {
                differences.number(&format!("loss weight {scheme} of {widths}"), *found, expected, SCHEDULE);
            }
        }
    }
    differences
}

#[derive(Deserialize)]
struct ProfileRecord {
    model: String,
    width: f64,
    image: usize,
    classes: usize,
    params: u64,
    macs: u64,
}

/// Parses a model's backbone, depth and multiplier: `slimmable_resnet50`, `resnet50x2` or `resnet50_x2`,
/// `efficientnet_b0`, `mobilenet_v3_large`.
fn model(name: &str) -> Option<(BackboneKind, usize, f64)> {
    if let Ok(kind) = serde_json::from_value::<BackboneKind>(name.into()) {
        return Some((kind, 0, 1.0));
    }
    let size = name.trim_start_matches("slimmable_").strip_prefix("resnet")?;
    let (depth, multiplier) = size.split_once('x').unwrap_or((size, "1"));
    Some((BackboneKind::Resnet, depth.trim_end_matches('_').parse().ok()?, multiplier.parse().ok()?))
}

/// Compares parameters and multiply-accumulates.
pub fn profile(case: &Value) -> Differences {
    let mut differences = Differences::default();
    for record in field::<Vec<ProfileRecord>>(case, "rows") {
        let Some((backbone, depth, multiplier)) = model(&record.model) else {
            differences.found.push(format!("unknown model {}", record.model));
            continue;
        };
        let widths = if record.width == 1.0 { vec![1.0] } else { vec![1.0, record.width] };
        let config = EncoderConfig {
            multiplier,
            widths: Widths::try_from(widths).unwrap(),
            ..EncoderConfig::new(backbone, depth, HeadKind::SupervisedSwitch, record.classes)
        };
        let found = profile_of(&config.build().unwrap(), record.image).pop().unwrap();
        let name = format!("{} at {}", record.model, record.width);
        differences.number(&format!("{name}: parameters"), found.parameters as f64, record.params as f64, 0.0);
        differences.number(&format!("{name}: macs"), found.macs as f64, record.macs as f64, 0.0);
    }
    differences
}
