//! `slimclr finetune`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use safetensors::SafeTensors;
use serde_json::Value;

use crate::program::{events, image_folder, interrupted, losses, pretrain, refuses, slimclr, stderr, succeeds, text};

/// A pre-trained run, and 40 labelled images, of which 36 are to train on.
struct Pretrained {
    folder: tempfile::TempDir,
}

impl Pretrained {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        image_folder(&folder.path().join("images"), &["cat", "dog"], 20, 12);
        let pretrained = Self { folder };
        succeeds(&pretrain(&["--epochs", "0.01", "--out", &text(&pretrained.path("run"))]));
        pretrained
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn finetune(&self, out: &str, options: &[&str]) -> Output {
        let [run, images, out] = ["run", "images", out].map(|name| text(&self.path(name)));
        let always = ["finetune", &run, "--data", &images, "--out", &out, "--batch", "8"];
        slimclr(&[&always, options].concat())
    }
}

/// Returns the bytes of each tensor of the trained encoder in a run's checkpoint.
fn encoder(run: &Path) -> Vec<(String, Vec<u8>)> {
    let file = fs::read(run.join("checkpoint.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let of_encoder = tensors.iter().filter(|(name, _)| name.starts_with("encoder_q."));
    let mut tensors: Vec<_> = of_encoder.map(|(name, tensor)| (name.to_owned(), tensor.data().to_vec())).collect();
    tensors.sort();
    tensors
}

#[test]
fn all_widths_are_trained_evaluated_embedded_and_exported_with_their_classes() {
    let pretrained = Pretrained::new();
    let run = pretrained.path("fine");
    succeeds(&pretrained.finetune("fine", &["--epochs", "2", "--fraction", "0.5", "--evaluate-every", "1"]));
    let events = events(&run);
    let started = events.iter().find(|event| event["event"] == "started").unwrap();
    assert_eq!(started["images"], 18, "half of 36 training images");
    let cifar10 = serde_json::json!([0.4914, 0.4822, 0.4465]);
    assert_eq!(started["normalisation"]["mean"], cifar10, "not that of the images which it was pre-trained on");
    let evaluated: Vec<&Value> = events.iter().filter(|event| event["event"] == "evaluated").collect();
    assert_eq!(evaluated.len(), 3 * 4, "before training and after each epoch, at four widths");
    assert!(evaluated.iter().all(|event| event["classifier"].is_f64()), "{evaluated:?}");
    let shapes = fs::read(run.join("checkpoint.safetensors")).unwrap();
    let shapes = SafeTensors::deserialize(&shapes).unwrap();
    assert_eq!(shapes.tensor("encoder_q.fc.linears.2.weight").unwrap().shape(), [2, 32], "a classifier for each width");

    let path = text(&run);
    let output = slimclr(&["evaluate", &path, "--probe-epochs", "1"]);
    succeeds(&output);
    assert!(stderr(&output).contains("18 of 36 training images are used"), "{}", stderr(&output));
    let features = text(&pretrained.path("features.npy"));
    succeeds(&slimclr(&["embed", &path, "--data", &text(&pretrained.path("images")), "--out", &features]));
    succeeds(&slimclr(&["export", &path, "--width", "0.5"]));
    let export = |name: &str| fs::read(run.join("export").join(name)).unwrap();
    let card: Value = serde_json::from_slice(&export("cifar-resnet8-w0.5.json")).unwrap();
    assert_eq!((&card["classes"], &card["outputs"]["logits"]), (&serde_json::json!(["cat", "dog"]), &2.into()));
    let bytes = export("cifar-resnet8-w0.5.safetensors");
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["classes"], r#"["cat","dog"]"#);
    assert_eq!(SafeTensors::deserialize(&bytes).unwrap().tensor("fc.weight").unwrap().shape(), [2, 32]);
    let onnx = export("cifar-resnet8-w0.5.onnx");
    assert!(onnx.windows(13).any(|bytes| bytes == br#"["cat","dog"]"#));
}

#[test]
fn one_width_becomes_a_plain_network() {
    let pretrained = Pretrained::new();
    succeeds(&pretrained.finetune("half", &["--epochs", "1", "--width", "0.5"]));
    let options = fs::read_to_string(pretrained.path("half/config.toml")).unwrap();
    for line in ["widths = [1.0]", "multiplier = 0.5", "init_width = 0.5"] {
        assert!(options.contains(line), "{options}");
    }
    refuses(&pretrained.finetune("other", &["--width", "0.3"]), "has no width 0.3: choose from 1, 0.75, 0.5, 0.25");
}

#[test]
fn a_frozen_backbone_stays_as_it_is() {
    let pretrained = Pretrained::new();
    succeeds(&pretrained.finetune("frozen", &["--epochs", "1", "--frozen"]));
    succeeds(&pretrained.finetune("trained", &["--epochs", "1"]));
    let of_backbone = |(name, _): &(String, Vec<u8>)| !name.starts_with("encoder_q.fc.");
    let [before, frozen, trained] = ["run", "frozen", "trained"]
        .map(|run| encoder(&pretrained.path(run)).into_iter().filter(of_backbone).collect::<Vec<_>>());
    assert!(frozen == before, "the backbone has changed");
    assert!(trained.iter().zip(&before).any(|(after, before)| after != before), "the backbone has not changed");
}

#[test]
fn a_resumed_run_ends_as_an_uninterrupted_one() {
    let pretrained = Pretrained::new();
    let options = ["--epochs", "40", "--fraction", "0.5", "--evaluate-every", "0"];
    succeeds(&pretrained.finetune("whole", &options));
    let [run, images, out] = ["run", "images", "parts"].map(|name| text(&pretrained.path(name)));
    let always = ["finetune", &run, "--data", &images, "--out", &out, "--batch", "8"];
    let message = interrupted(&[&always[..], &options].concat(), &pretrained.path("parts"));
    assert!(message.contains("resume with: slimclr pretrain --resume"), "{message}");
    succeeds(&slimclr(&["pretrain", "--resume", &out]));
    let [whole, parts] = ["whole", "parts"].map(|run| pretrained.path(run));
    assert_eq!(losses(&whole), losses(&parts));
    assert!(encoder(&whole) == encoder(&parts), "the weights differ");
}

#[test]
fn labels_that_are_too_few_are_refused() {
    let pretrained = Pretrained::new();
    let out = pretrained.path("out");
    let sentence = "a fraction of 0.01 leaves class 'cat', which has 18 training images, without one";
    refuses(&pretrained.finetune("out", &["--fraction", "0.01"]), sentence);
    refuses(
        &pretrained.finetune("out", &["--fraction", "1.5"]),
        "error: fraction = 1.5, but it must be above 0 and at most 1",
    );
    refuses(&pretrained.finetune("out", &["--fraction", "0.1"]), "batch = 8 is larger than the data set of 4 images");
    image_folder(&pretrained.path("images"), &["cat"], 20, 12);
    fs::remove_dir_all(pretrained.path("images/dog")).unwrap();
    refuses(&pretrained.finetune("out", &[]), "needs labels, but the images have none");
    assert!(!out.exists(), "a refused run has left a folder");
}
