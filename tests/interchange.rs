//! Exchange with other programs, as they see it.
//!
//! `cargo xtask test` makes the Python that these tests need, and runs them with it.

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

/// Runs one of `tests/python`'s programs.
#[track_caller]
fn python(program: &str, arguments: &[PathBuf]) {
    let interpreter = env::var_os("SLIMCLR_PYTHON").expect("SLIMCLR_PYTHON names a Python with PyTorch");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python").join(program);
    // -B: no compiled files beside the sources.
    let output = Command::new(interpreter).arg("-B").arg(program).args(arguments).output().unwrap();
    let [said, complained] = [output.stdout, output.stderr].map(|words| String::from_utf8(words).unwrap());
    assert!(output.status.success(), "{said}{complained}");
    print!("{said}");
}

/// Writes the folder of a run whose parameters are generated, as if it had been evaluated and stopped.
fn write_run(folder: &Path, config: &Config) -> Trainer {
    let encoder = config.encoder().unwrap().build().unwrap();
    let parameters = fill::filled(encoder.layout(), "interchange/", DType::F32);
    let state = Trainer::from_parameters(config, encoder, parameters);
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
        block_on(checkpoint::save(&state, config, Normalisation::IMAGENET)).unwrap(),
    )
    .unwrap();
    state
}

/// Exports one width of a trained network. Returns the card's path.
#[track_caller]
fn export(network: &Path, width: f64) -> PathBuf {
    let mut program = Command::new(env!("CARGO_BIN_EXE_slimclr"));
    let output = program.arg("export").arg(network).args(["--width", &width.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let card = said.lines().find_map(|line| Some(line.split_once(".json")?.0)).unwrap();
    format!("{card}.json").into()
}

/// Exports `widths` of a network, and lets PyTorch and ONNX Runtime compute what it computes.
fn exports_agree(network: Config, widths: &[f64]) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let config = Config { image_size: 64, batch: 4, queue: 4, ..network };
    let mut state = write_run(&run, &config);
    let images: Tensor<4> = fill::input("interchange/", "images", [3, 3, 64, 64], DType::F32, &Device::flex());
    let mut pairs = Vec::new();
    for width in widths {
        let card = export(&run, *width);
        let index = state.encoder.layout().widths().position(*width).unwrap();
        let mut pass = Forward::new(&mut state.query, index, Mode::Eval);
        let features = pass.features(&state.encoder, images.clone());
        let mut tensors = vec![
            ("images", images.dims().to_vec(), bytes(images.clone().flatten(0, 3))),
            ("features", features.dims().to_vec(), bytes(features.flatten(0, 1))),
        ];
        if config.method == MethodKind::Supervised {
            let logits = pass.predict(&state.encoder, images.clone());
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

/// Loads a checkpoint of the authors' layout with a parity case's parameters, and compares what its widths compute
/// with the authors' outputs.
fn checkpoint_agrees(case: &str) {
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

/// Options of a network with the standard channels.
fn plain() -> Config {
    Config { multiplier: 1.0, image_size: 32, ..Config::mini() }
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn a_network_of_basic_blocks_is_torchvisions() {
    exports_agree(Config { backbone: RESNET, depth: 18, ..plain() }, &[1.0, 0.5]);
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn a_network_of_bottlenecks_is_torchvisions() {
    exports_agree(Config { backbone: RESNET, depth: 50, ..plain() }, &[1.0, 0.5]);
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn a_wider_network_with_a_classifier_is_torchvisions() {
    let supervised = Config { method: MethodKind::Supervised, dim: 10, ..plain() };
    exports_agree(Config { backbone: RESNET, depth: 18, multiplier: 2.0, ..supervised }, &[1.0, 0.75]);
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn an_efficientnet_b0_is_torchvisions() {
    let b0 = Config { backbone: BackboneKind::EfficientnetB0, widths: vec![1.0], ..plain() };
    exports_agree(b0.clone(), &[1.0]);
    exports_agree(Config { method: MethodKind::Supervised, dim: 10, ..b0 }, &[1.0]);
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn sub_networks_that_share_no_channels_are_torchvisions() {
    let widths = vec![1.0, 0.5, 0.25];
    exports_agree(Config { backbone: RESNET, depth: 18, widths, disjoint: true, ..plain() }, &[0.5]);
}

#[test]
#[ignore = "needs ONNX Runtime: cargo xtask test"]
fn a_network_for_small_images_runs_in_onnx_runtime() {
    exports_agree(Config { depth: 20, ..plain() }, &[0.5]);
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn the_authors_small_network_computes_what_it_did() {
    checkpoint_agrees("backbone-cifar20.json");
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn the_authors_switchable_classifiers_compute_what_they_did() {
    checkpoint_agrees("backbone-resnet50-switch.json");
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn the_authors_mocov2_network_computes_what_it_did() {
    checkpoint_agrees("backbone-resnet50-mocov2.json");
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn a_state_dict_has_the_values_that_pytorch_saved() {
    let folder = tempfile::tempdir().unwrap();
    let [checkpoint, expected] = ["checkpoint.pth", "expected.safetensors"].map(|name| folder.path().join(name));
    python("state_dict.py", &[checkpoint.clone(), expected.clone()]);
    let state_dict = StateDict::open(fs::read(checkpoint).unwrap()).unwrap();
    let expected = fs::read(expected).unwrap();
    let expected = SafeTensors::deserialize(&expected).unwrap();
    let mut shapes = state_dict.shapes();
    assert_eq!(shapes.remove("1.num_batches_tracked"), Some(vec![]));
    assert!(state_dict.read("1.num_batches_tracked").unwrap_err().to_string().contains("torch.LongStorage"));
    let of_expected = expected.iter().map(|(name, view)| (name.to_owned(), view.shape().to_vec()));
    assert_eq!(shapes, of_expected.collect());
    for (name, view) in expected.iter() {
        assert_eq!(state_dict.read(name).unwrap().as_bytes(), view.data(), "{name}");
    }
}
