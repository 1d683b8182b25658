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

    // Its file says how its images are prepared.
    let [exported, features] =
        ["run/export/cifar-resnet8-w0.5.safetensors", "features.npy"].map(|path| text(&folder.path().join(path)));
    succeeds(&slimclr(&["embed", &exported, "--data", "embedded", "--out", &features]));

    refuses(&export("0.5", &[]), "already exists: overwrite it with --force");
    refuses(&export("0.5", &["--out", &text(&out.join("README.md"))]), "cannot create the folder");
    let left = out.join(".slimclr-Ab3xYz");
    fs::write(&left, "half").unwrap();
    succeeds(&export("0.5", &["--force"]));
    assert!(!left.exists(), "what a killed process has left stays");
    succeeds(&export("0.5", &["--out", &text(&folder.path().join("elsewhere"))]));
}

#[test]
fn all_widths_are_exported_in_all_precisions_with_one_card_for_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let run = text(&folder.path().join("run"));
    succeeds(&pretrain(&["--epochs", "0.05", "--out", &run]));
    let out = folder.path().join("models");
    let export = |flags: &[&str]| slimclr(&[&["export", &run, "--out", &text(&out), "--width"], flags].concat());
    refuses(&export(&["most"]), "write a width such as 0.5, or all");
    succeeds(&export(&["0.25"]));
    let readme = || fs::read_to_string(out.join("README.md")).unwrap();
    assert!(readme().contains("| 0.25 |") && !readme().contains("| 1.0 |"), "{}", readme());
    succeeds(&export(&["all", "--precisions", "int8,f16", "--force"]));

    let read = |name: &str| fs::read(out.join(name)).unwrap();
    for width in ["1", "0.75", "0.5", "0.25"] {
        let name = format!("cifar-resnet8-w{width}");
        let [f32, f16, int8] = ["", "-f16", "-int8"].map(|ending| read(&format!("{name}{ending}.onnx")).len());
        assert!(f16 < f32 && int8 < f32, "{width}: {f32}, {f16} and {int8} bytes");
        let card: Value = serde_json::from_slice(&read(&format!("{name}.json"))).unwrap();
        assert_eq!(card["files"].as_array().unwrap().len(), 4);
        assert_eq!(card["onnx"][1]["precision"], "f16");
        let int8 = &card["onnx"][2];
        assert_eq!((int8["precision"].as_str(), int8["calibration_images"].as_u64()), (Some("int8"), Some(256)));
        assert!(int8["cosine_with_f32"].as_f64().unwrap() > 0.98, "{int8}");
        let accuracy = &int8["accuracy"];
        let [knn, precise] = ["knn", "knn_f32"].map(|key| accuracy[key].as_f64().unwrap());
        assert!((knn - precise).abs() < 0.05 && precise > 0.1, "{int8}");
        for (field, count) in [("test_images", 1000), ("training_images", 2000), ("neighbours", 3)] {
            assert_eq!(accuracy[field].as_u64(), Some(count), "{int8}");
        }
    }
    // All widths in one file, without the state of training.
    let whole = read("cifar-resnet8.safetensors");
    assert!(whole.len() < fs::metadata(folder.path().join("run/checkpoint.safetensors")).unwrap().len() as usize / 2);
    let embed = |network: &str, out: &str| {
        let [network, out] = [network, out].map(|path| text(&folder.path().join(path)));
        succeeds(&slimclr(&["embed", &network, "--data", "embedded", "--width", "0.5", "--out", &out]));
        fs::read(out).unwrap()
    };
    assert!(embed("models/cifar-resnet8.safetensors", "whole.npy") == embed("run", "run.npy"));

    let card = readme();
    assert!(card.starts_with("---\nlibrary_name: onnx\npipeline_tag: image-feature-extraction\n"), "{card}");
    assert!(card.find("| 1.0 |").unwrap() < card.find("| 0.25 |").unwrap(), "{card}");
    assert!(
        card.contains("model-index:") && card.contains("kNN in int8") && card.contains("self-supervised"),
        "{card}"
    );
    // The hub's library keeps the name of one model only, so the measures have names that tell the networks apart.
    assert_eq!(card.matches("  results:\n").count(), 1, "{card}");
    for width in ["1", "0.75", "0.5", "0.25"] {
        assert!(card.contains(&format!("      name: \"kNN, cifar-resnet8-w{width}\"\n")), "{card}");
    }

    let notes = text(&folder.path().join("notes"));
    fs::create_dir(&notes).unwrap();
    fs::write(folder.path().join("notes/README.md"), "my notes").unwrap();
    refuses(&slimclr(&["export", &run, "--out", &notes, "--width", "1"]), "is not a card of this program");
}

#[test]
fn eight_bits_need_images() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    succeeds(&pretrain(&["--epochs", "0.01", "--out", &text(&run)]));
    let checkpoint = text(&run.join("checkpoint.safetensors"));
    let export =
        |flags: &[&str]| slimclr(&[&["export", &checkpoint, "--width", "0.5", "--precisions", "int8"], flags].concat());
    refuses(&export(&[]), "is calibrated on images");
    assert!(!run.join("export").exists());
    succeeds(&export(&["--data", "embedded"]));
}
