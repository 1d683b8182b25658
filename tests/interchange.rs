//! Exchange with other programs, as they see it.
//!
//! `cargo xtask test` makes the Python that these tests need, and runs them with it.

#[path = "parity/fill.rs"]
mod fill;

use std::{collections::BTreeMap, env, fs, path::Path, process::Command};

use burn::tensor::{DType, Device, Tensor};
use futures::executor::block_on;
use safetensors::{Dtype, serialize_to_file, tensor::TensorView};
use slimclr_core::{
    augment::Normalisation,
    checkpoint,
    config::Config,
    encoder::BackboneKind,
    event::{Event, Started},
    method::moco_v2::MocoV2,
    pass::{Mode, Pass},
};

/// Runs one of `tests/python`'s programs.
#[track_caller]
fn python(program: &str, arguments: &[&Path]) {
    let interpreter = env::var_os("SLIMCLR_PYTHON").expect("SLIMCLR_PYTHON names a Python with PyTorch");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python").join(program);
    let output = Command::new(interpreter).arg(program).args(arguments).output().unwrap();
    let [said, complained] = [output.stdout, output.stderr].map(|words| String::from_utf8(words).unwrap());
    assert!(output.status.success(), "{said}{complained}");
    print!("{said}");
}

/// Writes the folder of a run whose parameters are generated, as if it had been evaluated and stopped.
fn write_run(folder: &Path, config: &Config) -> MocoV2 {
    let encoder = config.encoder().unwrap().build().unwrap();
    let mut state = MocoV2::new(config, encoder, &Device::flex());
    state.query = fill::filled(state.encoder.layout(), "interchange/", DType::F32);
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
    fs::write(folder.join("checkpoint.safetensors"), block_on(checkpoint::save(&state, config)).unwrap()).unwrap();
    state
}

/// Exports `widths` of a network, and lets PyTorch and ONNX Runtime compute what it computes.
fn exports_agree(backbone: BackboneKind, depth: usize, multiplier: usize, widths: &[f64]) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let config = Config {
        backbone,
        depth,
        multiplier,
        image_size: 64,
        batch: 2,
        queue: 2,
        dim: 2,
        bn_splits: 1,
        ..Config::mini()
    };
    let mut state = write_run(&run, &config);
    let images: Tensor<4> = fill::input("interchange/", "images", [3, 3, 64, 64], DType::F32, &Device::flex());
    for width in widths {
        let output = Command::new(env!("CARGO_BIN_EXE_slimclr"))
            .arg("export")
            .arg(&run)
            .args(["--width", &width.to_string()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        let card = said.lines().find_map(|line| Some(line.split_once(".json")?.0)).unwrap();

        let index = state.encoder.layout().widths().position(*width).unwrap();
        let mut pass = Pass::new(&mut state.query, index, Mode::Eval);
        let features = state.encoder.features(images.clone(), &mut pass);
        let expected = folder.path().join("expected.safetensors");
        let tensors = [
            ("images", images.dims().to_vec(), bytes(images.clone().flatten(0, 3))),
            ("features", features.dims().to_vec(), bytes(features.flatten(0, 1))),
        ];
        let views: BTreeMap<_, _> = tensors
            .iter()
            .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()))
            .collect();
        serialize_to_file(views, None, &expected).unwrap();
        python("check_export.py", &[&expected, Path::new(&format!("{card}.json"))]);
    }
}

fn bytes(tensor: Tensor<1>) -> Vec<u8> {
    tensor.into_data().as_bytes().to_vec()
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn a_small_basic_network_is_torchvisions() {
    exports_agree(BackboneKind::Resnet, 18, 1, &[1.0, 0.5]);
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn a_bottleneck_network_is_torchvisions() {
    exports_agree(BackboneKind::Resnet, 50, 1, &[1.0, 0.5]);
}

#[test]
#[ignore = "needs PyTorch: cargo xtask test"]
fn a_wider_network_is_torchvisions_with_more_channels() {
    exports_agree(BackboneKind::Resnet, 18, 2, &[1.0, 0.75]);
}

#[test]
#[ignore = "needs ONNX Runtime: cargo xtask test"]
fn a_network_for_small_images_runs_in_onnx_runtime() {
    exports_agree(BackboneKind::Cifar, 20, 1, &[0.5]);
}
