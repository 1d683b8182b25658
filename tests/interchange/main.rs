//! Exchange with other programs.
//!
//! A plain `cargo test` reads the files in `tests/fixtures/pytorch`, which PyTorch wrote. `cargo xtask test` also runs
//! the tests of [`onnx_runtime`] and [`tensorboard`], which need Python, and with `--pytorch` those of [`pytorch`].

#[path = "../parity/fill.rs"]
mod fill;
mod precisions;
#[path = "../cli/program.rs"]
#[allow(dead_code, reason = "made for the tests of the program")]
mod program;
mod published;
mod tensorboard;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use burn::tensor::{DType, Device, Tensor, TensorData};
use futures::executor::block_on;
use safetensors::{Dtype, SafeTensors, serialize_to_file, tensor::TensorView};
use slimclr_core::{
    augment::{Augmenter, Normalisation},
    checkpoint,
    config::Config,
    dataset::DatasetSummary,
    encoder::{BackboneKind, Encoder, EncoderConfig},
    event::{Event, Started},
    forward::{Forward, Mode},
    head::HeadKind,
    image::Image,
    interchange::{pretrained::Pretrained, pytorch::StateDict},
    method::{MethodKind, Trainer},
    parameter::Parameters,
    width::Widths,
};

/// Runs one of the programs in `tests/python`.
#[track_caller]
fn python(program: &str, arguments: &[PathBuf]) {
    let interpreter = env::var_os("SLIMCLR_PYTHON").expect("SLIMCLR_PYTHON names a Python: run `cargo xtask test`");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python").join(program);
    // -B: no compiled files beside the sources.
    let output = Command::new(interpreter).arg("-B").arg(program).args(arguments).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{stdout}{stderr}");
    print!("{stdout}");
}

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(folder)
}

/// A trained network on disk, as a run's folder or a PyTorch file, and in memory.
struct Network {
    path: PathBuf,
    encoder: Encoder,
    parameters: Parameters,
}

impl Network {
    /// Writes a run with generated parameters to `path`, as if it had been evaluated and stopped.
    fn write_run(path: PathBuf, config: &Config) -> Self {
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
            queue_filled_step: None,
            ranks: 1,
            profile: Vec::new(),
        }));
        let dataset = DatasetSummary::without_digests(Normalisation::IMAGENET, Vec::new(), [100, 10]);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("config.toml"), toml::to_string(config).unwrap()).unwrap();
        fs::write(path.join("events.jsonl"), serde_json::to_string(&started).unwrap()).unwrap();
        fs::write(path.join("checkpoint.safetensors"), block_on(checkpoint::save(&state, config, &dataset)).unwrap())
            .unwrap();
        Self { path, encoder: state.encoder, parameters: state.query }
    }

    /// The authors' checkpoints that `tests/python/fixtures.py` wrote to `folder`.
    fn authors_checkpoints(folder: &Path) -> [Self; 2] {
        [("mocov2.pth.tar", HeadKind::Mocov2), ("switch.pth.tar", HeadKind::SupervisedSwitch)].map(|(name, head)| {
            let config = EncoderConfig {
                multiplier: 0.125,
                widths: Widths::try_from(vec![1.0, 0.5]).unwrap(),
                ..EncoderConfig::new(BackboneKind::Cifar, 8, head, 10)
            };
            let encoder = config.build().unwrap();
            let parameters = fill::filled(encoder.layout(), "fixture/", DType::F32);
            Self { path: folder.join(name), encoder, parameters }
        })
    }

    /// Runs `check`, a program of `tests/python`, on exports of these widths and the outputs that they should have.
    #[track_caller]
    fn check_exports(&mut self, check: &str, widths: &[f64]) {
        let folder = tempfile::tempdir().unwrap();
        let images: Tensor<4> = fill::input("interchange/", "images", [3, 3, 64, 64], DType::F32, &Device::flex());
        let mut arguments = Vec::new();
        for width in widths {
            let card = export(&self.path, *width, folder.path());
            let index = self.encoder.layout().widths().position(*width).unwrap();
            let mut pass = Forward::new(&mut self.parameters, index, Mode::Eval);
            let features = pass.features(&self.encoder, images.clone());
            let mut tensors = vec![
                ("images", images.dims().to_vec(), bytes(images.clone().flatten(0, 3))),
                ("features", features.dims().to_vec(), bytes(features.flatten(0, 1))),
            ];
            if self.encoder.is_classifier() {
                let logits = pass.predict(&self.encoder, images.clone());
                tensors.push(("logits", logits.dims().to_vec(), bytes(logits.flatten(0, 1))));
            }
            let expected = folder.path().join(format!("expected-{width}.safetensors"));
            write_tensors(&expected, &tensors);
            arguments.extend([expected, card]);
        }
        python(check, &arguments);
    }
}

/// Exports one width of a trained network to `folder`. Returns the card's path.
#[track_caller]
fn export(network: &Path, width: f64, folder: &Path) -> PathBuf {
    let mut program = Command::new(env!("CARGO_BIN_EXE_slimclr"));
    program.arg("export").arg(network).args(["--width", &width.to_string(), "--out"]).arg(folder);
    let output = program.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let card = stdout.lines().find_map(|line| Some(line.split_once(".json")?.0)).unwrap();
    format!("{card}.json").into()
}

/// Writes tensors of these names, shapes and bytes to a safetensors file.
fn write_tensors(path: &Path, tensors: &[(&str, Vec<usize>, Vec<u8>)]) {
    let views =
        tensors.iter().map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    serialize_to_file(views, None, path).unwrap();
}

fn bytes(tensor: Tensor<1>) -> Vec<u8> {
    tensor.into_data().as_bytes().to_vec()
}

/// Checks that the state dict that `tests/python/fixtures.py` wrote to `folder` has the values that it should.
#[track_caller]
fn check_state_dict(folder: &Path) {
    let expected = fs::read(folder.join("state_dict.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&expected).unwrap();
    for file in ["state_dict.pth", "state_dict-legacy.pth"] {
        let state_dict = StateDict::open(fs::read(folder.join(file)).unwrap()).unwrap();
        let mut shapes = state_dict.shapes();
        let counter = "state_dict.1.num_batches_tracked";
        assert_eq!(shapes.remove(counter), Some(vec![]));
        assert!(state_dict.read(counter).unwrap_err().to_string().contains("torch.LongStorage"));
        let named = |name: &str| format!("state_dict.{name}");
        let expected_shapes = expected.iter().map(|(name, view)| (named(name), view.shape().to_vec()));
        assert_eq!(shapes, expected_shapes.collect());
        for (name, view) in expected.iter() {
            assert_eq!(state_dict.read(&named(name)).unwrap().as_bytes(), view.data(), "{file}: {name}");
        }
    }
}

/// Checks that the authors' checkpoints that `tests/python/fixtures.py` wrote to `folder` have the architectures and
/// parameters that they should.
#[track_caller]
fn check_authors_checkpoints(folder: &Path) {
    for expected in Network::authors_checkpoints(folder) {
        let name = expected.path.to_str().unwrap();
        let trained = Pretrained::read(name, fs::read(&expected.path).unwrap()).unwrap();
        let (encoder, parameters) = trained.load(&Device::flex()).unwrap();
        assert_eq!(encoder.layout().widths(), expected.encoder.layout().widths(), "{name}");
        let values = |parameters: &Parameters| -> Vec<_> {
            parameters.named().map(|(spec, value)| (spec.name.clone(), value.clone().into_data())).collect()
        };
        assert_eq!(values(&parameters), values(&expected.parameters), "{name}");
    }
}

/// Checks that the plain networks that `tests/python/fixtures.py` wrote to `folder` have the features that PyTorch
/// computed, also when a slimmable network has taken them over.
#[track_caller]
fn check_plain_networks(folder: &Path) {
    let expected = fs::read(folder.join("features.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&expected).unwrap();
    let images: Tensor<4> = fill::input("fixture/", "input", [2, 3, 64, 64], DType::F32, &Device::flex());
    for (file, network, description) in [
        ("lightning.ckpt", "resnet18", "ResNet-18 x0.015625 below state_dict.model; head 8-10"),
        ("resnet50.safetensors", "resnet50", "ResNet-50 x0.015625 below its root; head 32-10"),
    ] {
        let trained = Pretrained::read(file, fs::read(folder.join(file)).unwrap()).unwrap();
        assert_eq!(trained.description().unwrap(), format!("{file}: {description}"));
        let (encoder, mut parameters) = trained.load(&Device::flex()).unwrap();
        let features = Forward::new(&mut parameters, 0, Mode::Eval).features(&encoder, images.clone());
        let features: Vec<f32> = features.into_data().iter().collect();
        let view = expected.tensor(network).unwrap();
        let pytorch: Vec<f32> = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        assert_eq!(features.len(), pytorch.len());
        let squares: f32 = pytorch.iter().map(|theirs| theirs * theirs).sum();
        let differences: f32 = features.iter().zip(&pytorch).map(|(ours, theirs)| (ours - theirs).powi(2)).sum();
        assert!(differences <= 1e-10 * squares, "{file}: {differences} of {squares}");

        let config = Config {
            backbone: RESNET,
            depth: trained.config.depth,
            // Of one channel, 0.9 would leave none.
            multiplier: trained.config.multiplier,
            widths: vec![1.0],
            ..standard()
        };
        let ours = config.encoder().unwrap().build().unwrap();
        let (layout, device) = (ours.layout().clone(), Device::flex());
        let (mut taken, _) = Parameters::started_from(&parameters, layout, config.seed, &device).unwrap();
        let taken = Forward::new(&mut taken, 0, Mode::Eval).features(&ours, images.clone());
        assert_eq!(taken.into_data().iter::<f32>().collect::<Vec<_>>(), features, "{file}: not bit for bit");
    }
}

#[test]
fn plain_networks_have_pytorchs_features() {
    check_plain_networks(&fixtures("pytorch"));
}

#[test]
fn published_networks_have_pytorchs_outputs() {
    published::check(&fixtures("pytorch"));
}

#[test]
fn a_state_dict_has_the_values_that_pytorch_saved() {
    check_state_dict(&fixtures("pytorch"));
}

#[test]
fn authors_checkpoints_have_the_parameters_that_pytorch_saved() {
    check_authors_checkpoints(&fixtures("pytorch"));
}

const RESNET: BackboneKind = BackboneKind::Resnet;

/// Options of a network with the standard channels.
fn standard() -> Config {
    Config { multiplier: 1.0, image_size: 64, batch: 4, queue: 4, ..Config::mini() }
}

fn basic_blocks() -> Config {
    Config { backbone: RESNET, depth: 18, ..standard() }
}

fn cifar_stem() -> Config {
    Config { backbone: BackboneKind::ResnetCifarStem, ..basic_blocks() }
}

fn bottlenecks() -> Config {
    Config { backbone: RESNET, depth: 50, ..standard() }
}

fn wider_classifier() -> Config {
    Config { multiplier: 2.0, method: MethodKind::Supervised, dim: 10, ..basic_blocks() }
}

fn one_size(backbone: BackboneKind) -> Config {
    Config { backbone, widths: vec![1.0], ..standard() }
}

fn classifier(backbone: BackboneKind) -> Config {
    Config { method: MethodKind::Supervised, dim: 10, ..one_size(backbone) }
}

fn disjoint() -> Config {
    Config { widths: vec![1.0, 0.5, 0.25], disjoint: true, ..basic_blocks() }
}

/// Runs `check`, a program of `tests/python`, on exports of these widths of a run with generated parameters.
#[track_caller]
fn check_run(check: &str, config: &Config, widths: &[f64]) {
    let folder = tempfile::tempdir().unwrap();
    Network::write_run(folder.path().join("run"), config).check_exports(check, widths);
}

mod onnx_runtime {
    use super::*;

    #[track_caller]
    fn agrees(config: &Config, widths: &[f64]) {
        check_run("check_onnx.py", config, widths);
    }

    #[test]
    #[ignore = "needs ONNX Runtime: cargo xtask test"]
    fn computes_basic_blocks() {
        agrees(&basic_blocks(), &[1.0, 0.5]);
    }

    #[test]
    #[ignore = "needs ONNX Runtime: cargo xtask test"]
    fn computes_bottlenecks() {
        agrees(&bottlenecks(), &[1.0, 0.5]);
    }

    #[test]
    #[ignore = "needs ONNX Runtime: cargo xtask test"]
    fn computes_a_wider_classifier() {
        agrees(&wider_classifier(), &[1.0, 0.75]);
    }

    #[test]
    #[ignore = "needs ONNX Runtime: cargo xtask test"]
    fn computes_backbones_of_one_size() {
        agrees(&one_size(BackboneKind::EfficientnetB0), &[1.0]);
        for backbone in [BackboneKind::EfficientnetB0, BackboneKind::TfEfficientnetB1, BackboneKind::MobilenetV3Large] {
            agrees(&classifier(backbone), &[1.0]);
        }
    }

    #[test]
    #[ignore = "needs ONNX Runtime: cargo xtask test"]
    fn computes_disjoint_sub_networks() {
        agrees(&disjoint(), &[0.5]);
    }

    #[test]
    #[ignore = "needs ONNX Runtime: cargo xtask test"]
    fn computes_a_network_for_small_images() {
        agrees(&Config { depth: 20, ..standard() }, &[0.5]);
        agrees(&cifar_stem(), &[1.0, 0.5]);
    }

    #[test]
    #[ignore = "needs ONNX Runtime: cargo xtask test"]
    fn computes_f16_and_eight_bits() {
        for config in [Config { depth: 20, ..standard() }, wider_classifier(), classifier(BackboneKind::EfficientnetB0)]
        {
            precisions::agree(&config);
        }
    }

    #[test]
    #[ignore = "needs ONNX Runtime: cargo xtask test"]
    fn computes_authors_checkpoints() {
        for mut network in Network::authors_checkpoints(&fixtures("pytorch")) {
            network.check_exports("check_onnx.py", &[1.0, 0.5]);
        }
    }
}

mod pytorch {
    use super::*;

    /// Loads exports as torchvision's networks.
    #[track_caller]
    fn torchvision_agrees(config: &Config, widths: &[f64]) {
        check_run("check_torchvision.py", config, widths);
    }

    /// Exports a checkpoint of the authors' layout with a parity case's parameters, and compares the exports' outputs
    /// with those of the authors' code.
    #[track_caller]
    fn checkpoint_agrees(case: &str) {
        let case = env::var_os("SLIMCLR_PARITY_DIR").map_or_else(|| fixtures("parity"), PathBuf::from).join(case);
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&case).unwrap()).unwrap();
        let widths: Vec<f64> = serde_json::from_value(json["widths"].clone()).unwrap();

        let folder = tempfile::tempdir().unwrap();
        let checkpoint = folder.path().join("checkpoint_0199.pth.tar");
        python("authors_checkpoint.py", &[case.clone(), checkpoint.clone()]);
        let cards = widths.iter().map(|width| export(&checkpoint, *width, folder.path()));
        python("check_authors.py", &[case].into_iter().chain(cards).collect::<Vec<_>>());
    }

    #[test]
    #[ignore = "needs PyTorch: cargo xtask test --pytorch"]
    fn basic_blocks_are_torchvisions() {
        torchvision_agrees(&basic_blocks(), &[1.0, 0.5]);
        torchvision_agrees(&cifar_stem(), &[1.0, 0.5]);
    }

    #[test]
    #[ignore = "needs PyTorch: cargo xtask test --pytorch"]
    fn bottlenecks_are_torchvisions() {
        torchvision_agrees(&bottlenecks(), &[1.0, 0.5]);
    }

    #[test]
    #[ignore = "needs PyTorch: cargo xtask test --pytorch"]
    fn a_wider_classifier_is_torchvisions() {
        torchvision_agrees(&wider_classifier(), &[1.0, 0.75]);
    }

    #[test]
    #[ignore = "needs PyTorch: cargo xtask test --pytorch"]
    fn an_efficientnet_is_torchvisions() {
        torchvision_agrees(&one_size(BackboneKind::EfficientnetB0), &[1.0]);
        torchvision_agrees(&classifier(BackboneKind::EfficientnetB0), &[1.0]);
        torchvision_agrees(&one_size(BackboneKind::EfficientnetB1), &[1.0]);
    }

    #[test]
    #[ignore = "needs PyTorch: cargo xtask test --pytorch"]
    fn disjoint_sub_networks_are_torchvisions() {
        torchvision_agrees(&disjoint(), &[0.5]);
    }

    /// Features of pictures prepared by the card's lines are those that `evaluate` computes.
    #[test]
    #[ignore = "needs PyTorch: cargo xtask test --pytorch"]
    fn a_cards_preprocessing_is_that_of_evaluation() {
        let folder = tempfile::tempdir().unwrap();
        let mut network = Network::write_run(folder.path().join("run"), &basic_blocks());
        let card = export(&network.path, 1.0, folder.path());
        let side = basic_blocks().image_size;
        let mut pixels = Vec::new();
        let mut pictures = Vec::new();
        // Wide, high, small, of odd sizes, and of exactly the network's size.
        for (number, (width, height)) in [(301, 200), (97, 333), (40, 52), (64, 64)].into_iter().enumerate() {
            let picture = image::RgbImage::from_fn(width, height, |x, y| {
                let wave = |period: u32| (255.0 * (0.5 + 0.5 * (f64::from(x + 2 * y) / f64::from(period)).sin())) as u8;
                image::Rgb([wave(7), wave(11), (x * y * 37 % 251) as u8])
            });
            let path = folder.path().join(format!("{number}.png"));
            picture.save(&path).unwrap();
            pictures.push(path);
            let picture = Image::new(width as usize, height as usize, picture.into_raw()).unwrap();
            let mut view = vec![0.0; 3 * side * side];
            Augmenter::new().centre(&picture, side, &Normalisation::IMAGENET, &mut view).unwrap();
            pixels.extend(view);
        }
        let images = TensorData::new(pixels, [pictures.len(), 3, side, side]);
        let images = Tensor::<4>::from_data(images, &Device::flex());
        let features = Forward::new(&mut network.parameters, 0, Mode::Eval).features(&network.encoder, images.clone());
        let expected = folder.path().join("expected.safetensors");
        write_tensors(
            &expected,
            &[
                ("images", images.dims().to_vec(), bytes(images.flatten(0, 3))),
                ("features", features.dims().to_vec(), bytes(features.flatten(0, 1))),
            ],
        );
        python("check_preprocessing.py", &[vec![expected, card], pictures].concat());
    }

    #[test]
    #[ignore = "needs PyTorch: cargo xtask test --pytorch"]
    fn the_authors_cifar_network_has_the_authors_outputs() {
        checkpoint_agrees("backbone-cifar20.json");
    }

    #[test]
    #[ignore = "needs PyTorch: cargo xtask test --pytorch"]
    fn the_authors_switchable_classifiers_have_the_authors_outputs() {
        checkpoint_agrees("backbone-resnet50-switch.json");
    }

    #[test]
    #[ignore = "needs PyTorch: cargo xtask test --pytorch"]
    fn the_authors_mocov2_network_has_the_authors_outputs() {
        checkpoint_agrees("backbone-resnet50-mocov2.json");
    }

    /// As the committed files, of the PyTorch that is installed.
    #[test]
    #[ignore = "needs PyTorch: cargo xtask test --pytorch"]
    fn new_files_have_what_pytorch_saved() {
        let folder = tempfile::tempdir().unwrap();
        python("fixtures.py", &[folder.path().into(), "--complete".into()]);
        check_state_dict(folder.path());
        check_authors_checkpoints(folder.path());
        check_plain_networks(folder.path());
        published::check(folder.path());
    }
}
