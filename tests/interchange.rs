//! Exchange with PyTorch, torchvision and ONNX Runtime.
//!
//! `cargo xtask test` installs the Python that these tests need, and runs them.

#[path = "parity/fill.rs"]
mod fill;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use burn::tensor::{DType, Device, Tensor};
use futures::executor::block_on;
use safetensors::{Dtype, SafeTensors, serialize_to_file, tensor::TensorView};
use slimclr_core::{
    augment::Normalisation,
    checkpoint,
    config::Config,
    encoder::BackboneKind,
    event::{Event, Started},
    forward::{Forward, Mode},
    interchange::pytorch::StateDict,
    method::{MethodKind, Trainer},
};

/// Runs a program of `tests/python`.
#[track_caller]
fn python(program: &str, arguments: &[PathBuf]) {
    let interpreter = env::var_os("SLIMCLR_PYTHON").expect("SLIMCLR_PYTHON names a Python with PyTorch");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python").join(program);
    // -B: writes no compiled files beside the sources.
    let output = Command::new(interpreter).arg("-B").arg(program).args(arguments).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{stdout}{stderr}");
    print!("{stdout}");
}

/// Writes the folder of a run with generated parameters. Returns its trainer.
fn write_run(folder: &Path, config: &Config) -> Trainer {
    let encoder = config.encoder().unwrap().build().unwrap();
    let parameters = fill::filled(encoder.layout(), "interchange/", DType::F32);
    let trainer = Trainer::from_parameters(config, encoder, parameters);
    let started = Event::Started(Box::new(Started {
        config: config.clone(),
        device: "CPU".into(),
        images: 100,
        normalisation: Some(Normalisation::IMAGENET),
        step: 0,
        steps: 100,
        steps_per_epoch: 10,
        slow_start_step: 50,
        profile: Vec::new(),
    }));
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("config.toml"), toml::to_string(config).unwrap()).unwrap();
    fs::write(folder.join("events.jsonl"), serde_json::to_string(&started).unwrap()).unwrap();
    fs::write(
        folder.join("checkpoint.safetensors"),
        block_on(checkpoint::save(&trainer, config, Normalisation::IMAGENET)).unwrap(),
    )
    .unwrap();
    trainer
}

/// Exports one width of a trained network. Returns the model card's path.
#[track_caller]
fn export(network: &Path, width: f64) -> PathBuf {
    let mut program = Command::new(env!("CARGO_BIN_EXE_slimclr"));
    let output = program.arg("export").arg(network).args(["--width", &width.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let card = stdout.lines().find_map(|line| Some(line.split_once(".json")?.0)).unwrap();
    format!("{card}.json").into()
}

/// Exports `widths` of a network, and compares the outputs of torchvision and ONNX Runtime with its own.
fn check_exports(network: Config, widths: &[f64]) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let config = Config { image_size: 64, batch: 4, queue: 4, ..network };
    let mut trainer = write_run(&run, &config);
    let images: Tensor<4> = fill::input("interchange/", "images", [3, 3, 64, 64], DType::F32, &Device::flex());
    let mut pairs = Vec::new();
    for width in widths {
        let card = export(&run, *width);
        let index = trainer.encoder.layout().widths().position(*width).unwrap();
        let mut pass = Forward::new(&mut trainer.query, index, Mode::Eval);
        let features = pass.features(&trainer.encoder, images.clone());
        let mut tensors = vec![
            ("images", images.dims().to_vec(), bytes(images.clone().flatten(0, 3))),
            ("features", features.dims().to_vec(), bytes(features.flatten(0, 1))),
        ];
        if config.method == MethodKind::Supervised {
            let logits = trainer.pass.predict(&encoder, images.clone());
            tensors.push(("logits", logits.dims().to_vec(), bytes(logits.flatten(0, 1))));
        }
        let expected = folder.path().join(format!("expected-{width}.safetensors"));
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        serialize_to_file(views, None, &expected).unwrap();
        pairs.extend([expected, card]);
    }
    python("check_export.py", &pairs);
}

fn bytes(tensor: Tensor<1>) -> Vec<u8> {
    tensor.into_data().as_bytes().to_vec()
}

/// Exports every width of a checkpoint in the authors' layout with a parity case's parameters, and compares its outputs
/// with those of the authors' code.
fn check_authors_checkpoint(case: &str) {
    let cases = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/parity");
    let case = env::var_os("SLIMCLR_PARITY_DIR").map_or_else(cases, PathBuf::from).join(case);
    let widths = serde_json::from_slice::<serde_json::Value>(&fs::read(&case).unwrap()).unwrap()["widths"].take();
    let widths: Vec<f64> = serde_json::from_value(widths).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("checkpoint_0199.pth.tar");
    python("authors_checkpoint.py", &[case.clone(), checkpoint.clone()]);
    let cards = widths.iter().map(|width| export(&checkpoint, *width));
    let arguments: Vec<PathBuf> = [case, checkpoint.clone()].into_iter().chain(cards).collect();
    python("check_authors.py", &arguments);
}

const RESNET: BackboneKind = BackboneKind::Resnet;

/// Returns options of a network with the standard channels.
fn plain() -> Config {
    Config { multiplier: 1.0, image_size: 32, ..Config::mini() }
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn resnet18_equals_torchvisions() {
    check_exports(Config { backbone: RESNET, depth: 18, ..plain() }, &[1.0, 0.5]);
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn resnet50_equals_torchvisions() {
    check_exports(Config { backbone: RESNET, depth: 50, ..plain() }, &[1.0, 0.5]);
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn a_wider_resnet18_with_a_classifier_equals_torchvisions() {
    let supervised = Config { method: MethodKind::Supervised, dim: 10, ..plain() };
    check_exports(Config { backbone: RESNET, depth: 18, multiplier: 2.0, ..supervised }, &[1.0, 0.75]);
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn efficientnet_b0_equals_torchvisions() {
    let b0 = Config { backbone: BackboneKind::EfficientnetB0, widths: vec![1.0], ..plain() };
    check_exports(b0.clone(), &[1.0]);
    check_exports(Config { method: MethodKind::Supervised, dim: 10, ..b0 }, &[1.0]);
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn disjoint_sub_networks_equal_torchvisions() {
    let widths = vec![1.0, 0.5, 0.25];
    check_exports(Config { backbone: RESNET, depth: 18, widths, disjoint: true, ..plain() }, &[0.5]);
}

#[test]
#[ignore = "needs ONNX Runtime: cargo xtask test"]
fn a_cifar_resnet_runs_in_onnx_runtime() {
    check_exports(Config { depth: 20, ..plain() }, &[0.5]);
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn the_authors_cifar_resnet_has_the_same_outputs() {
    check_authors_checkpoint("backbone-cifar20.json");
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn the_authors_switchable_classifiers_have_the_same_outputs() {
    check_authors_checkpoint("backbone-resnet50-switch.json");
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn the_authors_mocov2_network_has_the_same_outputs() {
    check_authors_checkpoint("backbone-resnet50-mocov2.json");
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn a_state_dict_is_read_as_pytorch_saved_it() {
    let folder = tempfile::tempdir().unwrap();
    let [checkpoint, expected] = ["checkpoint.pth", "expected.safetensors"].map(|name| folder.path().join(name));
    python("state_dict.py", &[checkpoint.clone(), expected.clone()]);
    let state_dict = StateDict::open(fs::read(checkpoint).unwrap()).unwrap();
    let expected = fs::read(expected).unwrap();
    let expected = SafeTensors::deserialize(&expected).unwrap();
    let mut shapes = state_dict.shapes();
    assert_eq!(shapes.remove("1.num_batches_tracked"), Some(vec![]));
    assert!(state_dict.read("1.num_batches_tracked").unwrap_err().to_string().contains("torch.LongStorage"));
    let expected_shapes = expected.iter().map(|(name, view)| (name.to_owned(), view.shape().to_vec()));
    assert_eq!(shapes, expected_shapes.collect());
    for (name, view) in expected.iter() {
        assert_eq!(state_dict.read(name).unwrap().as_bytes(), view.data(), "{name}");
    }
}
