//! Every method, trained on real images, raises the kNN accuracy of every width well above the untrained network's.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

/// Options with which a method learns from the embedded images within a minute on two cores.
const FAST: &[&str] = &["--multiplier", "1", "--image-size", "16", "--hidden", "256", "--epochs", "12"];

/// Standard errors by which kNN accuracy must rise.
const ERRORS: f64 = 4.0;

/// Trains with `options`, which override [`FAST`], and asserts that every width has learned.
#[track_caller]
fn check_every_width_learns(options: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let output = Command::new(env!("CARGO_BIN_EXE_slimclr"))
        .args(["pretrain", "--device", "cpu", "--seed", "0", "--interference", "false", "--evaluate-every", "1000"])
        .args(FAST)
        .args(options)
        .arg("--out")
        .arg(&run)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let evaluated: Vec<&Value> = events.iter().filter(|event| event["event"] == "evaluated").collect();
    let number = |event: &Value, key: &str| event[key].as_f64().unwrap();
    let (before, after) = evaluated.split_at(evaluated.len() / 2);
    assert_eq!([before.len(), after.len()], [4, 4], "four widths, before and after training");
    for (before, after) in before.iter().zip(after) {
        assert_eq!((before["step"].as_u64(), &before["width"]), (Some(0), &after["width"]));
        let [was, is] = [before, after].map(|event| number(event, "knn"));
        let error = number(before, "knn_standard_error").hypot(number(after, "knn_standard_error"));
        println!("width {}: {was:.3} to {is:.3}, {:.1} standard errors", after["width"], (is - was) / error);
        assert!(is - was > ERRORS * error, "width {}: kNN went from {was:.3} to {is:.3}", after["width"]);
    }
}

#[test]
fn every_width_learns_by_moco_v2() {
    check_every_width_learns(&["--preset", "mini"]);
}

#[test]
fn every_width_learns_by_moco_v3() {
    let network = ["--preset", "cifar10-mocov3", "--depth", "8", "--batch", "64"];
    // So few steps need a higher learning rate than the preset's, and a shorter slow start.
    let schedule = ["--epochs", "10", "--learning-rate", "1.2", "--slow-start", "0.3"];
    check_every_width_learns(&[&network[..], &schedule].concat());
}

#[test]
fn every_width_learns_by_simclr() {
    check_every_width_learns(&["--preset", "mini", "--method", "simclr"]);
}

#[test]
fn every_width_learns_from_labels() {
    check_every_width_learns(&["--preset", "mini", "--method", "supervised"]);
}

/// Returns the accuracy of each width's classifier in the latest evaluation of a run, widest first.
fn classifiers(run: &Path) -> Vec<f64> {
    let lines = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let accuracies: Vec<f64> = events.filter_map(|event| event["classifier"].as_f64()).collect();
    accuracies[accuracies.len() - 4..].to_vec()
}

/// The semi-supervised protocol of SEED and others: a tenth of each class' labels.
#[test]
fn pre_training_helps_every_width_on_a_tenth_of_the_labels() {
    let folder = tempfile::tempdir().unwrap();
    let path = |run: &str| folder.path().join(run).to_str().unwrap().to_owned();
    let [pretrained, tuned, scratch] = ["pretrained", "tuned", "scratch"].map(path);
    let slimclr = |arguments: &[&[&str]]| {
        let output = Command::new(env!("CARGO_BIN_EXE_slimclr")).args(arguments.concat()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let always = ["--device", "cpu", "--seed", "0", "--evaluate-every", "0"];
    let longer = ["--epochs", "24", "--slow-start", "0.3", "--interference", "false"];
    let pretrain: &[&str] = &["pretrain", "--preset", "mini", "--out", &pretrained];
    slimclr(&[pretrain, FAST, &longer, &always]);
    let few_labels = ["--fraction", "0.1"];
    slimclr(&[&["finetune", &pretrained, "--data", "embedded", "--out", &tuned], &few_labels, &always]);
    // The same options, but random weights and the full learning rate.
    let config = format!("{tuned}/config.toml");
    let anew = ["--init", "", "--backbone-rate", "1", "--stage-decay", "1"];
    slimclr(&[&["pretrain", "--config", &config, "--out", &scratch], &anew]);
    let [tuned, scratch] = [tuned, scratch].map(|run| classifiers(Path::new(&run)));
    for (width, (tuned, scratch)) in tuned.iter().zip(&scratch).enumerate() {
        println!("width {width}: fine-tuned {tuned:.3}, from scratch {scratch:.3}");
        // Of 1,500 test images, so that the standard error of the difference is 0.015.
        assert!(tuned - scratch > 0.03, "width {width}: fine-tuned {tuned:.3}, from scratch {scratch:.3}");
    }
}
