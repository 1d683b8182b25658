use std::fs;

use safetensors::SafeTensors;
use serde_json::Value;

use crate::program::{pretrain, refuses, slimclr, succeeds, text};

#[test]
fn an_export_has_one_width_and_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let run = text(&folder.path().join("run"));
    succeeds(&pretrain(&["--epochs", "0.01", "--out", &run]));
    let export = |width: &str, flags: &[&str]| slimclr(&[&["export", &run, "--width", width], flags].concat());
    refuses(&export("0.3", &[]), "has no width 0.3: choose from 1, 0.75, 0.5, 0.25");
    let output = export("0.5", &[]);
    succeeds(&output);

    let out = folder.path().join("run/export");
    let card: Value = serde_json::from_slice(&fs::read(out.join("cifar-resnet8-w0.5.json")).unwrap()).unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    for (line, extension) in stdout.lines().zip(["safetensors", "onnx", "json"]) {
        assert!(line.contains(&format!("cifar-resnet8-w0.5.{extension}  ")), "{stdout}");
    }
    let bytes = fs::read(out.join("cifar-resnet8-w0.5.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let trained = tensors.iter().filter(|(name, _)| !name.contains("running"));
    let count: usize = trained.map(|(_, tensor)| tensor.shape().iter().product::<usize>()).sum();
    assert_eq!(card["parameters"].as_u64(), Some(count as u64));
    assert_eq!(tensors.tensor("layer3.0.downsample.1.running_var").unwrap().shape(), [32]);
    assert_eq!(card["outputs"]["features"], 32);
    assert_eq!(card["training"]["options"]["seed"], 0);
    let measured_on = &card["evaluation"]["measured_on"];
    for (field, count) in [("test_images", 1500), ("training_images", 3050), ("neighbours", 3)] {
        assert_eq!(measured_on[field].as_u64(), Some(count), "{card}");
    }
    let preprocessing = &card["input"]["preprocessing"];
    assert_eq!((preprocessing["resize"].as_u64(), preprocessing["crop"].as_u64()), (Some(9), Some(8)));
    assert!((0.0..=1.0).contains(&card["evaluation"]["knn"].as_f64().unwrap()), "{card}");

    refuses(&export("0.5", &[]), "already exists: overwrite it with --force");
    succeeds(&export("0.5", &["--force"]));
    succeeds(&export("0.5", &["--out", &text(&folder.path().join("elsewhere"))]));
}
