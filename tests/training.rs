//! The training step: width by width equals all at once; a checkpoint holds everything.

use burn::tensor::{Device, Tensor};
use futures::executor::block_on;
use slimclr_core::{
    checkpoint::{self, Checkpoint},
    config::Config,
    loss::{contrast::against_queue, distill::Output, normalize},
    method::{Batch, Plan, Trainer},
    parameter::{MismatchError, Parameters},
    pass::{Mode, Pass},
};

/// A network and a batch that are small enough to step in no time.
fn config() -> Config {
    Config { batch: 4, queue: 16, dim: 8, image_size: 16, bn_splits: 2, ..Config::mini() }
}

fn fresh(config: &Config) -> Trainer {
    Trainer::new(config, config.encoder().unwrap().build().unwrap(), &Device::flex())
}

fn batch(config: &Config) -> Batch {
    Batch::noise(config, &Device::flex())
}

/// A step at `rate`, of all widths or only the full network.
fn plan(slim: bool, rate: f64) -> Plan {
    Plan { slim, rate, key_momentum: 1.0 }
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.clone().into_data().iter().collect()
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied()).max(1e-12)
}

/// The graph of the total loss over whole parameters, sliced inside it: the textbook form of the step.
fn joint_gradients(method: &Trainer, batch: &Batch) -> Vec<Vec<f32>> {
    let [query_views, key_views] = [0, 1].map(|view| batch.views[view].clone());
    let recipe = &method.recipe;
    let mode = Mode::Train { splits: 1 };
    let mut key = method.key.clone().unwrap();
    let queue = method.queue.clone().unwrap().keys;
    let keys = normalize(method.encoder.forward(key_views, &mut Pass::new(&mut key, 0, mode)));

    let layout = method.encoder.layout();
    let mut leaves = method.query.clone();
    for (id, spec) in layout.iter() {
        if spec.is_trained() {
            leaves.update(id, |value| value.autodiff().require_grad());
        }
    }
    let whole: Parameters = leaves.clone();
    let (mut total, mut wider): (Option<Tensor<1>>, _) = (None, Vec::new());
    for (width, weight) in recipe.loss_weights.iter().enumerate() {
        let mut pass = Pass::new(&mut leaves, width, mode);
        let embeddings = normalize(method.encoder.forward(query_views.clone(), &mut pass));
        let targets = Tensor::zeros([keys.dims()[0]], &keys.device());
        let logits = against_queue(embeddings.clone(), keys.clone(), queue.clone());
        let output = Output { embeddings, logits };
        let loss = recipe.loss(&output, &targets, &wider, *weight);
        total = Some(match total {
            Some(total) => total + loss,
            None => loss,
        });
        wider.push(output.detached());
    }
    let gradients = total.unwrap().backward();
    layout
        .iter()
        .filter(|(_, spec)| spec.is_trained())
        .map(|(id, _)| values(&whole.get(id).grad(&gradients).unwrap()))
        .collect()
}

#[test]
fn width_by_width_gradients_equal_the_joint_backwards() {
    let config = Config { bn_splits: 1, ..config() };
    let mut method = fresh(&config);
    let batch = batch(&config);
    let joint = joint_gradients(&method, &batch);
    let outcome = method.step(batch, plan(true, 0.0));
    let layout = method.encoder.layout().clone();
    let trained: Vec<_> = layout.iter().filter(|(_, spec)| spec.is_trained()).collect();
    assert_eq!(trained.len(), joint.len());
    for ((id, spec), joint) in trained.into_iter().zip(&joint) {
        let sequential = values(outcome.gradients.get(id).unwrap());
        // The last norm's shift moves all keys alike in no way that the loss sees: compare against zero there.
        let off = difference(&sequential, joint);
        assert!(off < 1e-4 || joint.iter().all(|g| g.abs() < 1e-5), "{}: off by {off}", spec.name);
    }
}

#[test]
fn slow_start_trains_only_the_full_network() {
    let config = config();
    let mut method = fresh(&config);
    let before = method.query.clone();
    let outcome = method.step(batch(&config), plan(false, 0.1));
    assert_eq!(outcome.losses.len(), 1);
    for (id, spec) in method.encoder.layout().iter() {
        let moved = values(before.get(id)) != values(method.query.get(id));
        let of_full = spec.only_width.is_none_or(|width| width == 0);
        assert_eq!(moved, of_full, "{}", spec.name);
    }
}

#[test]
fn a_checkpoint_goes_on_bit_for_bit() {
    let config = config();
    let batches: Vec<_> = (0..4).map(|_| batch(&config)).collect();
    let mut method = fresh(&config);
    for batch in &batches[..2] {
        method.step(batch.clone(), plan(true, 0.05));
    }
    let bytes = block_on(checkpoint::save(&method, &config)).unwrap();
    let checkpoint = Checkpoint::read(&bytes).unwrap();
    assert_eq!((checkpoint.step(), checkpoint.config()), (2, &config));
    let mut resumed = checkpoint.resume(&Device::flex()).unwrap();
    for batch in &batches[2..] {
        method.step(batch.clone(), plan(true, 0.05));
        resumed.step(batch.clone(), plan(true, 0.05));
    }
    let [uninterrupted, resumed] = [method, resumed].map(|state| block_on(checkpoint::save(&state, &config)).unwrap());
    assert!(uninterrupted == resumed, "the resumed run differs");
}

#[test]
fn damaged_checkpoints_are_refused() {
    let config = config();
    let method = fresh(&config);
    let bytes = block_on(checkpoint::save(&method, &config)).unwrap();
    let refused = |bytes: &[u8]| Checkpoint::read(bytes).err().expect("damage is noticed").to_string();
    assert!(refused(&bytes[..bytes.len() / 2]).contains("no intact safetensors file"));
    assert!(refused(b"not a checkpoint").contains("no intact safetensors file"));
    assert!(refused(&[]).contains("no intact safetensors file"));

    // A file of another network's tensors, but this one's options.
    let narrow = Config { dim: 4, ..config.clone() };
    let bytes = block_on(checkpoint::save(&fresh(&narrow), &config)).unwrap();
    let error = Checkpoint::read(&bytes).unwrap().resume(&Device::flex()).err().unwrap().to_string();
    assert!(error.contains("has shape"), "{error}");
    let deep = Config { depth: 14, ..config };
    let bytes = block_on(checkpoint::save(&method, &deep)).unwrap();
    let error = Checkpoint::read(&bytes).unwrap().resume(&Device::flex()).err().unwrap();
    assert!(error.to_string().contains("features.1.conv1.weight has shape"), "{error}");
    assert!(matches!(
        error,
        checkpoint::CheckpointError::Mismatch(MismatchError::Missing(_) | MismatchError::Shape { .. })
    ));
}
