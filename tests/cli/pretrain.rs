use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::{Value, json};
use slimclr_core::checkpoint::Checkpoint;

use crate::program::{
    TINY, events, image_folder, interrupted, losses, pretrain, refuses, slimclr, stderr, succeeds, text,
};

#[test]
fn every_method_trains_and_is_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    image_folder(&folder.path().join("images/train"), &["cat", "dog", "owl"], 10, 12);
    image_folder(&folder.path().join("images/test"), &["cat", "dog", "owl"], 3, 12);
    let images = text(&folder.path().join("images"));
    for method in ["mocov3", "simclr", "supervised"] {
        let run = folder.path().join(method);
        let options = ["--method", method, "--hidden", "16", "--data", &images, "--epochs", "2", "--out", &text(&run)];
        let output = pretrain(&options);
        succeeds(&output);
        let steps: Vec<Value> = events(&run).into_iter().filter(|event| event["event"] == "step").collect();
        assert_eq!(steps.len(), 6, "{method}");
        // Slow start trains only the full network in the first half.
        assert_eq!(steps[0]["monitors"][1], json!({}), "{method}");
        for monitor in steps[5]["monitors"].as_array().unwrap() {
            let [loss, top1, top5] = ["cross_entropy", "top1", "top5"].map(|name| monitor[name].as_f64().unwrap());
            assert!(loss > 0.0 && (0.0..=top5).contains(&top1) && top5 <= 1.0, "{monitor}");
        }
        assert!(stderr(&output).contains("chance level, 1 of "), "{}", stderr(&output));
        assert!(String::from_utf8_lossy(&output.stdout).contains("chance"), "{method}");
        succeeds(&slimclr(&["evaluate", &text(&run), "--probe-epochs", "2"]));
    }
    // A supervised network learns to classify these images.
    let run = text(&folder.path().join("labels"));
    let labels = ["--method", "supervised", "--slow-start", "0", "--data", &images, "--epochs", "30", "--out", &run];
    succeeds(&pretrain(&labels));
    succeeds(&slimclr(&["evaluate", &run, "--probe-epochs", "2"]));
    let evaluated = events(Path::new(&run)).into_iter().filter_map(|event| event["classifier"].as_f64());
    let classifiers: Vec<f64> = evaluated.collect();
    assert!(classifiers.len() > 4 && classifiers[classifiers.len() - 4] > 0.8, "{classifiers:?}");

    // A supervised network has one output per class.
    let config = fs::read_to_string(folder.path().join("supervised/config.toml")).unwrap();
    assert!(config.contains("\ndim = 3\n"), "{config}");

    // Another method may start from its backbone, also with a width for which it has no norms.
    let initialised = folder.path().join("initialised");
    let supervised = text(&folder.path().join("supervised"));
    succeeds(&pretrain(&["--init", &supervised, "--data", &images, "--epochs", "1", "--out", &text(&initialised)]));
    let start = |options: &[&str], out: &str| {
        let out = text(&folder.path().join(out));
        let common = ["--init", &supervised, "--data", &images, "--epochs", "0.1", "--out", &out];
        pretrain(&[&common[..], options].concat())
    };
    let other = start(&["--widths", "1.0,0.9"], "other");
    succeeds(&other);
    let line =
        "supervised: backbone; the head has other layers, so it starts anew; the norms of width 0.9 start from the";
    assert!(stderr(&other).contains(line), "{}", stderr(&other));
    refuses(
        &start(&["--depth", "14"], "no"),
        "is CIFAR ResNet-8: choose another file, or set --backbone cifar --depth 8",
    );
    assert!(!folder.path().join("no").exists());
}

#[test]
fn a_run_is_reported_evaluated_and_reproducible() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    // So large that JPEG files are decoded at a fraction of their size.
    image_folder(&images, &["a", "b"], 22, 90);
    let run = |name: &str, seed: &str, threads: &str| {
        let out = folder.path().join(name);
        let output = Command::new(env!("CARGO_BIN_EXE_slimclr"))
            .arg("pretrain")
            .args(TINY)
            .args(["--data", &text(&images), "--out", &text(&out), "--epochs", "2", "--seed", seed])
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        succeeds(&output);
        out
    };
    let [first, again, other] = [run("first", "1", "2"), run("again", "1", "1"), run("other", "2", "2")];
    assert_eq!(losses(&first).len(), 10);
    assert_eq!(losses(&first), losses(&again), "the same seed with another number of threads");
    assert_ne!(losses(&first), losses(&other), "another seed");

    let evaluated: Vec<Value> = events(&first).into_iter().filter(|event| event["event"] == "evaluated").collect();
    for (step, widths) in [(0, &evaluated[..4]), (10, &evaluated[evaluated.len() - 4..])] {
        for (event, width) in widths.iter().zip([1.0, 0.75, 0.5, 0.25]) {
            assert_eq!((event["step"].as_u64(), event["width"].as_f64()), (Some(step), Some(width)));
            assert!((0.0..=1.0).contains(&event["knn"].as_f64().unwrap()));
        }
    }
    let interference = events(&first).into_iter().filter(|event| event["event"] == "interference").count();
    assert_eq!(interference, 10);

    let output = slimclr(&["evaluate", &text(&first), "--probe-epochs", "3", "--probe-batch", "8"]);
    succeeds(&output);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in [" switchable probe ", " slimmable probe ", "\n    1 ", "\n 0.75 ", "\n  0.5 ", "\n 0.25 "] {
        assert!(table.contains(part), "{table}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    for measure in ["probe", "probe_top5", "probe_slimmable", "probe_slimmable_top5", "ridge", "ridge_top5"] {
        assert!(events(&first).last().unwrap()[measure].as_f64().is_some(), "{measure}");
    }
    let [of_run, of_options] = [slimclr(&["profile", &text(&first)]), slimclr(&[&["profile"], TINY].concat())];
    succeeds(&of_run);
    assert_eq!(of_run.stdout, of_options.stdout, "the run has another network or image size");
    let report = fs::read_to_string(first.join("report.html")).unwrap();
    assert!(report.contains("data:image/png;base64,"));
    for external in ["src=\"http", "href=\"http", "url(http", "@import"] {
        assert!(!report.contains(external), "the report is not self-contained: {external}");
    }
}

#[test]
fn a_resumed_run_is_bit_identical() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--epochs", "0.12", "--checkpoint-every", "1"];
    let [uninterrupted, resumed] = ["uninterrupted", "resumed"].map(|name| folder.path().join(name));
    succeeds(&pretrain(&[&options[..], &["--out", &text(&uninterrupted)]].concat()));

    let stderr = interrupted(&[&["pretrain"], TINY, &options, &["--out", &text(&resumed)]].concat(), &resumed);
    assert!(stderr.contains("--resume"), "{stderr}");

    succeeds(&slimclr(&["pretrain", "--resume", &text(&resumed)]));
    let checkpoint = |run: &Path| fs::read(run.join("checkpoint.safetensors")).unwrap();
    assert!(checkpoint(&uninterrupted) == checkpoint(&resumed), "the checkpoints differ");
    assert_eq!(losses(&uninterrupted), losses(&resumed));
    // Interference relates each gradient to the earlier ones, so these must be restored too.
    let interference = |run: &Path| -> Vec<Value> {
        events(run).into_iter().filter(|event| event["event"] == "interference").collect()
    };
    assert_eq!(interference(&uninterrupted), interference(&resumed));
    let last = interference(&uninterrupted).pop().unwrap();
    let (step, head) = (last["step"].as_u64().unwrap(), "fc.2.weight");
    assert_eq!(last["products"][head].as_array().unwrap().len() as u64, step, "one product per step so far");
    assert_eq!(last["singular_values"][head].as_array().unwrap().len(), 2);
    assert_eq!([&last["cosines"], &last["conflicts"]].map(|pairs| pairs.as_array().unwrap().len()), [4, 4]);
    assert_eq!(last["stages"].as_array().unwrap().len(), 5);
    let snapshots = |run: &Path| -> Vec<Vec<u8>> {
        let names = fs::read_dir(run.join("snapshots")).unwrap().map(|entry| entry.unwrap().path());
        names.collect::<BTreeSet<_>>().iter().map(|path| fs::read(path).unwrap()).collect()
    };
    assert!(snapshots(&uninterrupted) == snapshots(&resumed), "the snapshots differ");
    assert_eq!(snapshots(&resumed).len(), 2, "one at the start and one at the end");
}

#[test]
fn a_run_is_evaluated_as_often_and_on_as_many_images_as_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let evaluated = |name: &str, options: &[&str]| -> Vec<Value> {
        let out = folder.path().join(name);
        succeeds(&pretrain(&[&["--epochs", "0.01", "--out", &text(&out)], options].concat()));
        events(&out).into_iter().filter(|event| event["event"] == "evaluated").collect()
    };
    let all = evaluated("all", &[]);
    assert_eq!(all.iter().map(|event| event["step"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 0, 0, 0, 4, 4, 4, 4]);
    assert_eq!(evaluated("more", &["--knn-images", "3050"]), all);
    assert_eq!(evaluated("zero", &["--knn-images", "0"]), all);
    let few = evaluated("few", &["--knn-images", "100"]);
    assert_ne!(few, all);
    assert_eq!(evaluated("again", &["--knn-images", "100"]), few, "always the same images");
    // Of 20 images, RankMe is at most 20.
    let rank = |event: &Value| event["rankme"].as_f64().unwrap();
    assert!(evaluated("fewer", &["--knn-images", "20"]).iter().all(|event| rank(event) <= 20.0));

    assert_eq!(evaluated("end", &["--evaluate-every", "0"]), all[4..], "only at the end");
    // What is measured after training is measured with all images.
    let run = text(&folder.path().join("few"));
    let output = slimclr(&["evaluate", &run, "--probe-epochs", "1"]);
    succeeds(&output);
    assert!(stderr(&output).contains("computing features: 4,550 images"), "{}", stderr(&output));
}

#[test]
fn a_run_is_not_overwritten_and_a_damaged_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("run"));
    succeeds(&pretrain(&["--epochs", "0.01", "--out", &out]));
    refuses(&pretrain(&["--epochs", "0.01", "--out", &out]), "already holds a run");
    refuses(
        &slimclr(&["pretrain", "--resume", &out, "--temperature", "0.5"]),
        "temperature = 0.5 (it was started with 0.2)",
    );

    let path = folder.path().join("run/checkpoint.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let damage = format!(
        "checkpoint.safetensors cannot be used: it was cut short at {} of {} bytes",
        bytes.len() / 2,
        bytes.len()
    );
    let new_run = format!(
        ". Otherwise use the latest snapshot, {out}/snapshots/00000004.safetensors, or train a new run: slimclr pretrain \
         --config {out}/config.toml --init {out}/snapshots/00000004.safetensors --out "
    );
    for command in [&["evaluate", &out][..], &["pretrain", "--resume", &out]] {
        refuses(&slimclr(command), &damage);
        refuses(&slimclr(command), &new_run);
    }
}

#[test]
fn a_diverged_run_stops_and_keeps_its_last_finite_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    // The first step's learning rate is tiny; the second's makes the weights diverge.
    let rates = ["--learning-rate", "1e30", "--warmup", "1", "--slow-start", "0"];
    let lengths = ["--epochs", "1", "--checkpoint-every", "0.001", "--out", &text(&out)];
    let output = pretrain(&[&rates[..], &lengths].concat());
    refuses(&output, "training has diverged");
    assert!(stderr(&output).contains("the loss of width"), "{}", stderr(&output));
    let bytes = fs::read(out.join("checkpoint.safetensors")).unwrap();
    assert_eq!(Checkpoint::read(&bytes).unwrap().step(), 1);
    // The checkpoint is finite: it can be evaluated and has a landscape.
    succeeds(&slimclr(&["evaluate", &text(&out), "--probe-epochs", "1"]));
    succeeds(&slimclr(&["landscape", &text(&out), "--cells", "3", "--images", "8"]));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported() {
    // A file-size limit stands in for a full disk; its signal is ignored, so that writing fails instead.
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("run"));
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"").arg(env!("CARGO_BIN_EXE_slimclr"));
    let output = shell
        .arg("pretrain")
        .args(TINY)
        .args(["--epochs", "0.02", "--interference", "false", "--out", &out])
        .output()
        .unwrap();
    refuses(&output, "checkpoint.safetensors");
}

#[test]
fn the_precision_that_auto_chooses_is_recorded_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (images, run) = (folder.path().join("images"), folder.path().join("run"));
    image_folder(&images, &["a", "b"], 10, 12);
    succeeds(&pretrain(&["--precision", "auto", "--data", &text(&images), "--epochs", "1", "--out", &text(&run)]));
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    let has = |precision: &str| config.contains(&format!("\nprecision = \"{precision}\"\n"));
    assert!(has("f32") != has("bf16"), "{config}");
    let started = events(&run).swap_remove(0);
    assert_eq!(started["device"].as_str().unwrap().ends_with(", bf16"), has("bf16"), "{}", started["device"]);
}
