//! The program as a user meets it: runs, interruptions, and bad input.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use burn::tensor::Device;
use futures::executor::block_on;
use image::{Rgb, RgbImage};
use safetensors::SafeTensors;
use serde_json::Value;
use slimclr_core::{
    checkpoint::{Checkpoint, Snapshot},
    config::Config,
    interference::landscape::{Directions, Landscape},
    method::Trainer,
};

/// Options that make a run a matter of seconds.
const TINY: &[&str] = &[
    "--preset",
    "mini",
    "--multiplier",
    "1",
    "--device",
    "cpu",
    "--image-size",
    "8",
    "--batch",
    "8",
    "--queue",
    "16",
    "--dim",
    "8",
    "--knn",
    "3",
];

fn slimclr(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_slimclr")).args(arguments).output().unwrap()
}

fn pretrain(arguments: &[&str]) -> Output {
    slimclr(&[&["pretrain"], TINY, arguments].concat())
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().into()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts one clear sentence and exit code 2.
#[track_caller]
fn refuses(output: &Output, sentence: &str) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains(sentence), "'{sentence}' is not in: {message}");
    assert!(!message.contains("panicked"), "{message}");
    assert_eq!(message.lines().filter(|line| line.starts_with("error")).count(), 1, "{message}");
}

#[track_caller]
fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
}

/// A folder of classes of pictures, all different.
fn image_folder(root: &Path, classes: &[&str], images_each: usize, side: u32) {
    for (label, class) in classes.iter().enumerate() {
        fs::create_dir_all(root.join(class)).unwrap();
        for number in 0..images_each {
            let picture = RgbImage::from_fn(side, side, |x, y| {
                let shade = (x * 7 + y * 13 + number as u32 * 29) as u8;
                Rgb([shade, shade.wrapping_mul(3), (label * 90) as u8])
            });
            let extension = ["png", "jpg", "webp"][number % 3];
            picture.save(root.join(class).join(format!("{number:03}.{extension}"))).unwrap();
        }
    }
}

fn events(run: &Path) -> Vec<Value> {
    let lines = fs::read_to_string(run.join("events.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn losses(run: &Path) -> Vec<Value> {
    events(run).into_iter().filter(|event| event["event"] == "step").map(|event| event["losses"].clone()).collect()
}

#[test]
fn every_method_trains_and_is_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    image_folder(&folder.path().join("images/train"), &["cat", "dog", "owl"], 10, 12);
    image_folder(&folder.path().join("images/test"), &["cat", "dog", "owl"], 3, 12);
    let images = text(&folder.path().join("images"));
    for method in ["mocov3", "simclr", "supervised"] {
        let run = folder.path().join(method);
        let of_method =
            ["--method", method, "--hidden", "16", "--data", &images, "--epochs", "2", "--out", &text(&run)];
        succeeds(&pretrain(&of_method));
        let losses: Vec<f64> = events(&run).iter().filter_map(|event| event["loss"].as_f64()).collect();
        assert_eq!(losses.len(), 6, "{method}");
        succeeds(&slimclr(&["evaluate", &text(&run), "--probe-epochs", "2"]));
    }
    // A network that learns labels learns these images' own, and what they look like.
    let run = text(&folder.path().join("labels"));
    let labels = ["--method", "supervised", "--slow-start", "0", "--data", &images, "--epochs", "30", "--out", &run];
    succeeds(&pretrain(&labels));
    succeeds(&slimclr(&["evaluate", &run, "--probe-epochs", "2"]));
    let evaluated = events(Path::new(&run)).into_iter().filter_map(|event| event["classifier"].as_f64());
    let classifiers: Vec<f64> = evaluated.collect();
    assert!(classifiers.len() == 4 && classifiers[0] > 0.8, "{classifiers:?}");

    // A supervised network has as many outputs as there are classes.
    let config = fs::read_to_string(folder.path().join("supervised/config.toml")).unwrap();
    assert!(config.contains("\ndim = 3\n"), "{config}");

    // Its backbone is where another method may begin; not where the widths ask for norms that it lacks.
    let begun = folder.path().join("begun");
    let from = text(&folder.path().join("supervised"));
    succeeds(&pretrain(&["--init", &from, "--data", &images, "--epochs", "1", "--out", &text(&begun)]));
    let other = pretrain(&[
        "--init",
        &from,
        "--data",
        &images,
        "--widths",
        "1.0,0.9",
        "--out",
        &text(&folder.path().join("no")),
    ]);
    refuses(&other, "supervised has another backbone: the tensors do not fit the network");
    assert!(!folder.path().join("no").exists());
}

#[test]
fn a_run_reports_evaluates_and_repeats() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    image_folder(&images, &["a", "b"], 22, 12);
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
    assert_eq!(losses(&first), losses(&again), "the same seed, other threads");
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
    for figure in ["probe", "probe_top5", "probe_slimmable", "probe_slimmable_top5", "ridge", "ridge_top5"] {
        assert!(events(&first).last().unwrap()[figure].as_f64().is_some(), "{figure}");
    }
    let [of_run, of_options] = [slimclr(&["profile", &text(&first)]), slimclr(&[&["profile"], TINY].concat())];
    succeeds(&of_run);
    assert_eq!(of_run.stdout, of_options.stdout, "the run's own network and image size");
    let report = fs::read_to_string(first.join("report.html")).unwrap();
    assert!(report.contains("data:image/png;base64,"));
    for outside in ["src=\"http", "href=\"http", "url(http", "@import"] {
        assert!(!report.contains(outside), "the report is not self-contained: {outside}");
    }
}

#[test]
fn reports_over_runs_are_written_where_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    image_folder(&images, &["a", "b"], 12, 12);
    let runs = ["first", "second"].map(|name| folder.path().join(name));
    for run in &runs {
        succeeds(&pretrain(&["--data", &text(&images), "--epochs", "1", "--out", &text(run)]));
    }
    let [first, second] = runs.each_ref().map(|run| text(run));
    fs::remove_file(runs[0].join("report.html")).unwrap();
    succeeds(&slimclr(&["report", &first]));
    assert!(fs::read_to_string(runs[0].join("report.html")).unwrap().contains("Loss of each width"));

    let [page, figures] = ["pages/page.html", "deep/figures"].map(|name| folder.path().join(name));
    let output = slimclr(&["report", &first, &second, "--out", &text(&page), "--figures", &text(&figures)]);
    succeeds(&output);
    assert!(fs::read_to_string(&page).unwrap().contains("2 runs compared"));
    assert!(stderr(&output).contains("figure5: Not drawn of first and second: there is no loss landscape"));
    let written: Vec<String> =
        fs::read_dir(&figures).unwrap().map(|entry| text(Path::new(&entry.unwrap().file_name()))).collect();
    assert!(written.iter().any(|name| name == "figure3.png") && written.iter().any(|name| name == "figure3.svg"));
    assert!(!written.iter().any(|name| name.starts_with("figure5")), "{written:?}");

    refuses(&slimclr(&["report", &first, "/no/such/run"]), "there is no folder /no/such/run: name one");
    refuses(&slimclr(&["report", &text(&images)]), "holds no run: there is no config.toml");
    fs::write(runs[1].join("landscape.json"), "{}").unwrap();
    refuses(&slimclr(&["report", &second]), "landscape.json is no loss landscape: remove it, or compute it again");
    fs::remove_file(runs[1].join("landscape.json")).unwrap();
    fs::remove_file(runs[1].join("events.jsonl")).unwrap();
    refuses(&slimclr(&["report", &second]), "second has not begun");
}

#[test]
fn features_are_kept_between_evaluations() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    let out = folder.path().join("run");
    image_folder(&images, &["a", "b"], 12, 12);
    succeeds(&pretrain(&["--data", &text(&images), "--epochs", "1", "--out", &text(&out)]));
    let evaluate = |options: &[&str]| {
        succeeds(&slimclr(&[&["evaluate", &text(&out), "--probe-epochs", "2"], options].concat()));
        events(&out).split_off(events(&out).len() - 4)
    };
    let first = evaluate(&[]);
    let kept = out.join("features.safetensors");
    let features = fs::read(&kept).unwrap();
    let written = fs::metadata(&kept).unwrap().modified().unwrap();
    assert_eq!(evaluate(&[]), first);
    assert_ne!(evaluate(&["--probe-recipe", "mocov3", "--probe-rate", "1e-9", "--ridge-lambda", "1e9"]), first);
    assert_eq!(fs::metadata(&kept).unwrap().modified().unwrap(), written, "the features were computed again");

    // One label that is another, one byte less, no file of the kind.
    let mut flipped = features.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for damaged in [&flipped[..], &features[..features.len() - 1], b"features"] {
        fs::write(&kept, damaged).unwrap();
        assert_eq!(evaluate(&[]), first);
        assert!(fs::read(&kept).unwrap() == features, "the damaged features stand");
    }
    // Sound, but of images one of which is another.
    fs::copy(images.join("b/003.png"), images.join("a/000.png")).unwrap();
    evaluate(&[]);
    assert!(fs::read(&kept).unwrap() != features, "the features of another image stand");
    let features = fs::read(&kept).unwrap();
    // Of fewer images.
    fs::remove_file(images.join("a/000.png")).unwrap();
    evaluate(&[]);
    assert!(fs::read(&kept).unwrap() != features, "the features of other images stand");
}

/// Starts the program, interrupts it in the course of `run`, and returns what it said.
fn interrupted(arguments: &[&str], run: &Path) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_slimclr"))
        .args(arguments)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let log = run.join("events.jsonl");
    let waiting = Instant::now();
    while !fs::read_to_string(&log).is_ok_and(|log| log.contains("\"event\":\"step\"")) {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it was interrupted");
        assert!(waiting.elapsed() < Duration::from_secs(120), "no step was taken");
        std::thread::sleep(Duration::from_millis(2));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let status = child.wait().unwrap();
    let said: Vec<String> = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap).collect();
    assert_eq!(status.code(), Some(130), "{said:?}");
    said.join("\n")
}

#[test]
fn an_interrupted_run_goes_on_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--epochs", "0.12", "--checkpoint-every", "1"];
    let [whole, broken] = ["whole", "broken"].map(|name| folder.path().join(name));
    succeeds(&pretrain(&[&options[..], &["--out", &text(&whole)]].concat()));

    let said = interrupted(&[&["pretrain"], TINY, &options, &["--out", &text(&broken)]].concat(), &broken);
    assert!(said.contains("--resume"), "{said}");

    succeeds(&slimclr(&["pretrain", "--resume", &text(&broken)]));
    let checkpoint = |run: &Path| fs::read(run.join("checkpoint.safetensors")).unwrap();
    assert!(checkpoint(&whole) == checkpoint(&broken), "the resumed run ended elsewhere");
    assert_eq!(losses(&whole), losses(&broken));
    // Interference too: a resumed run relates its gradients to those from before.
    let interference = |run: &Path| -> Vec<Value> {
        events(run).into_iter().filter(|event| event["event"] == "interference").collect()
    };
    assert_eq!(interference(&whole), interference(&broken));
    let last = interference(&whole).pop().unwrap();
    let (step, head) = (last["step"].as_u64().unwrap(), "fc.2.weight");
    assert_eq!(last["products"][head].as_array().unwrap().len() as u64, step, "one product a step so far");
    assert_eq!(last["singular_values"][head].as_array().unwrap().len(), 2);
    assert_eq!([&last["cosines"], &last["conflicts"]].map(|pairs| pairs.as_array().unwrap().len()), [4, 4]);
    assert_eq!(last["stages"].as_array().unwrap().len(), 5);
    let snapshots = |run: &Path| -> Vec<Vec<u8>> {
        let names = fs::read_dir(run.join("snapshots")).unwrap().map(|entry| entry.unwrap().path());
        names.collect::<std::collections::BTreeSet<_>>().iter().map(|path| fs::read(path).unwrap()).collect()
    };
    assert!(snapshots(&whole) == snapshots(&broken) && snapshots(&whole).len() == 2, "at the beginning and the end");
}

#[test]
fn an_experiment_is_interrupted_resumed_and_tabulated() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("experiment"));
    let small = ["--data", "embedded", "--images", "200", "--widths", "1.0,0.5", "--out", &out];
    let common = [&["experiment", "cifar10"], TINY, &small].concat();
    let experiment = |options: &[&str]| slimclr(&[&common[..], options].concat());
    let arms = ["--epochs", "4", "--arms", "naive,slimclr,alone-0.5"];

    // In its second arm, so that an earlier run has been listening before.
    let second = folder.path().join("experiment/naive");
    let said = interrupted(&[&common[..], &arms].concat(), &second);
    assert!(said.contains("arm 1 of 3: alone-0.5") && said.contains("arm 2 of 3: naive"), "{said}");
    assert!(said.contains("go on with: slimclr experiment cifar10 --preset mini"), "{said}");
    let table = || fs::read_to_string(folder.path().join("experiment/results.md")).unwrap();
    let row = |title: &str| {
        let table = table();
        let row = table.lines().find(|line| line.starts_with(&format!("| {title} |")));
        row.unwrap_or_else(|| panic!("'{title}' is not in {table}")).to_owned()
    };
    assert!(row("naive").contains(" of 100 steps "), "{}", table());
    let alone = row("each width alone");
    let begun = losses(&second);

    let output = experiment(&arms);
    succeeds(&output);
    assert!(stderr(&output).contains("arm alone-0.5 was done before"), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("SlimCLR: all three"));
    let all = losses(&second);
    assert!(all.len() == 100 && all.starts_with(&begun), "the arm did not go on");
    assert_eq!(row("each width alone"), alone);
    let is_figure = |cell: &str| cell.trim().parse::<f64>().is_ok();
    for (title, figures) in [("each width alone", 1), ("slimmable, naive", 2), ("SlimCLR: all three", 2)] {
        assert_eq!(row(title).split('|').filter(|cell| is_figure(cell)).count(), figures, "{}", table());
    }
    assert!(row("slimclr").contains(" done ") && row("images").contains("200 to train on, 1,500 to test"));
    let json = fs::read(folder.path().join("experiment/results.json")).unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["arms"].as_array().unwrap().len(), 3);
    assert_eq!(json["arms"][2]["evaluated"][1]["width"], 0.5);
    let drawn =
        ["report.html", "figures/figure3.svg", "figures/figure4.png", "figures/figure5.svg", "figures/cosines.png"];
    for name in drawn.map(|name| folder.path().join("experiment").join(name)) {
        assert!(name.is_file(), "{} is not there", name.display());
    }
    // An arm is a run like any other.
    succeeds(&slimclr(&["export", &format!("{out}/alone-0.5"), "--width", "1"]));

    let other = experiment(&["--epochs", "5", "--images", "300", "--device", "auto"]);
    refuses(&other, "epochs = 5.0 (it was begun with 4.0), images = 300 (it was begun with 200)");
    refuses(&experiment(&["--arms", "mocov9"]), "there is no arm 'mocov9': choose from alone-1.0, ");
    refuses(&experiment(&["--slow-start", "0.2"]), "each arm sets --slow-start itself");
    refuses(&experiment(&["--images", "4000"]), "images = 4000: there are only 3050");
    refuses(&experiment(&["--data", "/no/such/folder"]), "slimclr data cifar10");
}

#[test]
fn an_arm_that_fails_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("experiment"));
    // The supervised arm has a rate of its own.
    let small = ["--data", "embedded", "--images", "100", "--widths", "1.0,0.5", "--epochs", "1", "--out", &out];
    let arms = ["--learning-rate", "1e30", "--warmup", "0", "--arms", "naive,supervised"];
    let output = slimclr(&[&["experiment", "cifar10"], TINY, &small, &arms].concat());
    refuses(&output, "1 of 2 arms failed: naive; results.md says why");
    let table = fs::read_to_string(folder.path().join("experiment/results.md")).unwrap();
    assert!(table.contains("| slimmable, naive | failed | failed |"), "{table}");
    assert!(table.contains("| naive | failed: the loss of width"), "{table}");
    assert!(table.contains("| supervised | done |"), "{table}");
}

#[test]
fn options_that_cannot_be_are_named() {
    refuses(&pretrain(&["--queue", "20"]), "queue = 20 is not divisible by batch = 8");
    refuses(&pretrain(&["--widths", "1.0,1.5"]), "width 1.5 is outside (0, 1]");
    refuses(&pretrain(&["--widths", "1.0,0.0"]), "width 0 is outside (0, 1]");
    refuses(&pretrain(&["--widths", "1.0,0.01"]), "width 0.01 leaves none of a layer's 16 channels");
    refuses(&pretrain(&["--multiplier", "0.05"]), "multiplier 0.05 leaves none of a layer's 16 channels");
    refuses(&pretrain(&["--multiplier", "0"]), "multiplier = 0 must be above 0 and at most 64");
    refuses(&pretrain(&["--depth", "21"]), "no depth 21");
    refuses(
        &pretrain(&["--batch", "4000", "--queue", "4000"]),
        "batch = 4000 is larger than the data set of 3050 images",
    );
    refuses(&pretrain(&["--temperature", "0"]), "temperature = 0 must be above 0");
    refuses(&pretrain(&["--bn-splits", "3"]), "does not divide into bn_splits = 3");
    refuses(&pretrain(&["--reweighting", "4"]), "there is no loss reweighting 4");
    refuses(&pretrain(&["--device", "abacus"]), "choose auto, cpu, vulkan, webgpu or cuda");
    refuses(&pretrain(&["--device", "cpu:x"]), "'x' is no number");
    refuses(&pretrain(&["--data", "/no/such/folder"]), "there is no such folder");
    refuses(&slimclr(&["evaluate", "/no/such/run"]), "there is no /no/such/run");
    refuses(&slimclr(&["profile", "/no/such/run"]), "there is no /no/such/run");
    refuses(&slimclr(&["profile", "/no/such/run", "--depth", "8"]), "cannot be used with");
    refuses(&slimclr(&["demo", "--minutes", "-1"]), "error");
    refuses(&slimclr(&["evaluate", "runs/any", "--probe-rate", "0"]), "probe-rate = 0 must be above 0");
    refuses(&slimclr(&["evaluate", "runs/any", "--ridge-lambda", "0"]), "--ridge-lambda 0 must be above 0");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    fs::write(&file, "batchsize = 3").unwrap();
    refuses(&pretrain(&["--config", &text(&file)]), "there is no option 'batchsize'");
    fs::write(&file, "epochs = \"many\"").unwrap();
    refuses(&pretrain(&["--config", &text(&file)]), "wrong kind");
    fs::write(&file, "epochs = ").unwrap();
    refuses(&pretrain(&["--config", &text(&file)]), "not valid TOML");
}

#[test]
fn damaged_images_are_skipped_and_hopeless_folders_refused() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    let out = folder.path().join("run");
    fs::create_dir_all(&images).unwrap();
    let train = || pretrain(&["--data", &text(&images), "--epochs", "1", "--out", &text(&out)]);
    refuses(&train(), "no class folders");

    image_folder(&images, &["a", "b"], 12, 12);
    fs::write(images.join("a/000.png"), b"no picture").unwrap();
    let whole = fs::read(images.join("a/003.png")).unwrap();
    fs::write(images.join("a/003.png"), &whole[..whole.len() - 40]).unwrap();
    RgbImage::new(2, 2).save(images.join("b/000.png")).unwrap();
    let output = train();
    succeeds(&output);
    // Two headers are bad; the third file's header is whole, and its damage shows when it is decoded.
    assert!(stderr(&output).contains("warning: 2 unreadable images were skipped"), "{}", stderr(&output));
    assert!(stderr(&output).contains("warning: 1 unreadable image was skipped"), "{}", stderr(&output));

    fs::create_dir(images.join("c")).unwrap();
    refuses(&train(), "/c is empty");
    fs::write(images.join("c/x.png"), b"no picture").unwrap();
    refuses(&train(), "/c has no readable image");
}

#[test]
fn an_export_is_one_width_and_protected() {
    let folder = tempfile::tempdir().unwrap();
    let run = text(&folder.path().join("run"));
    succeeds(&pretrain(&["--epochs", "0.01", "--out", &run]));
    let export = |width: &str, flags: &[&str]| slimclr(&[&["export", &run, "--width", width], flags].concat());
    refuses(&export("0.3", &[]), "has no width 0.3: choose from 1, 0.75, 0.5, 0.25");
    let output = export("0.5", &[]);
    succeeds(&output);

    let out = folder.path().join("run/export");
    let card: Value = serde_json::from_slice(&fs::read(out.join("cifar-resnet8-w0.5.json")).unwrap()).unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    for (line, ending) in said.lines().zip(["safetensors", "onnx", "json"]) {
        assert!(line.contains(&format!("cifar-resnet8-w0.5.{ending}  ")), "{said}");
    }
    let bytes = fs::read(out.join("cifar-resnet8-w0.5.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let trained = tensors.iter().filter(|(name, _)| !name.contains("running"));
    let count: usize = trained.map(|(_, tensor)| tensor.shape().iter().product::<usize>()).sum();
    assert_eq!(card["parameters"].as_u64(), Some(count as u64));
    assert_eq!(tensors.tensor("layer3.0.downsample.1.running_var").unwrap().shape(), [32]);
    assert_eq!(card["outputs"]["features"], 32);
    assert_eq!(card["training"]["options"]["seed"], 0);
    assert!((0.0..=1.0).contains(&card["evaluation"]["knn"].as_f64().unwrap()), "{card}");

    refuses(&export("0.5", &[]), "is there already: replace it by --force");
    succeeds(&export("0.5", &["--force"]));
    succeeds(&export("0.5", &["--out", &text(&folder.path().join("elsewhere"))]));
}

/// Writes `state`'s encoder where `run` keeps its snapshots.
fn write_snapshot(run: &Path, state: &Trainer, config: &Config) {
    fs::create_dir_all(run.join("snapshots")).unwrap();
    let bytes = block_on(Snapshot::save(state, config)).unwrap();
    fs::write(run.join(format!("snapshots/{:08}.safetensors", state.steps)), bytes).unwrap();
}

#[test]
fn a_landscape_shows_the_path_of_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    image_folder(&folder.path().join("images"), &["a", "b"], 22, 12);
    let images = text(&folder.path().join("images"));
    for method in ["mocov2", "mocov3", "simclr", "supervised"] {
        let out = folder.path().join(method);
        let run = text(&out);
        let landscape = |flags: &[&str]| slimclr(&[&["landscape", &run], flags].concat());
        let options = ["--method", method, "--hidden", "16", "--data", &images, "--epochs", "3", "--out", &run];
        succeeds(&pretrain(&options));
        // On to what are no numbers.
        let bytes = fs::read(out.join("checkpoint.safetensors")).unwrap();
        let checkpoint = Checkpoint::read(&bytes).unwrap();
        let mut state = checkpoint.resume(&Device::flex()).unwrap();
        let nowhere = state.query.clone();
        state.query.ema_update(&nowhere, f64::NAN);
        state.steps = 20;
        write_snapshot(&out, &state, checkpoint.config());
        let read = || -> Landscape { serde_json::from_slice(&fs::read(out.join("landscape.json")).unwrap()).unwrap() };
        let output = landscape(&["--cells", "5"]);
        succeeds(&output);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
        assert!(said.contains("lowest loss") && said.contains("slimclr report"), "{said}");
        let pca = read();
        // Of 44 images, 5 whole batches of 8 are an epoch.
        assert_eq!((pca.directions, pca.images), (Directions::Pca, 40));
        assert_eq!(pca.surfaces.iter().map(|surface| surface.width).collect::<Vec<_>>(), [1.0, 0.25]);
        for surface in &pca.surfaces {
            assert!(surface.loss.len() == 5 && surface.loss.iter().flatten().all(Option::is_some), "{surface:?}");
            assert!(surface.explained.iter().sum::<f64>() > 0.8, "{:?}", surface.explained);
            let epochs: Vec<f64> = surface.path.iter().map(|point| point.epoch).collect();
            assert_eq!(epochs, [0.0, 1.0, 2.0, 3.0, 4.0]);
            assert_eq!((surface.path[3].at, surface.path[4].at), (Some([0.0, 0.0]), None));
            assert!(surface.path[3].loss.is_some() && surface.path[4].loss.is_none(), "{:?}", surface.path);
        }

        let some = ["--widths", "0.5,1.0", "--directions", "random", "--cells", "3", "--images", "10"];
        let with_seed = |seed| {
            succeeds(&landscape(&[&some[..], &["--seed", seed]].concat()));
            read()
        };
        let random = with_seed("1");
        assert_eq!((random.directions, random.images), (Directions::Random, 8));
        for (of_random, of_pca) in random.surfaces.iter().zip([1.0, 0.5]) {
            assert_eq!((of_random.width, &of_random.x), (of_pca, &vec![-1.0, 0.0, 1.0]));
            let [origin, own] = [of_random.loss[1][1], of_random.path[3].loss].map(Option::unwrap);
            assert!((origin - own).abs() < 1e-4 * own.abs(), "{of_random:?}");
        }
        assert_eq!(with_seed("1"), random);
        assert_ne!(with_seed("2"), random);
    }
}

#[test]
fn a_landscape_says_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let run = text(&out);
    let landscape = |flags: &[&str]| slimclr(&[&["landscape", &run, "--images", "8"], flags].concat());
    refuses(&landscape(&[]), "name one that training has made");
    succeeds(&pretrain(&["--epochs", "0.01", "--interference", "false", "--out", &run]));
    refuses(&landscape(&[]), "is trained with --interference");

    let bytes = fs::read(out.join("checkpoint.safetensors")).unwrap();
    let checkpoint = Checkpoint::read(&bytes).unwrap();
    let (state, config) = (checkpoint.resume(&Device::flex()).unwrap(), checkpoint.config());
    write_snapshot(&out, &state, config);
    refuses(&landscape(&["--widths", "1.0,0.3"]), "there is no width 0.3: choose from 1, 0.75, 0.5, 0.25");
    refuses(&landscape(&["--cells", "2"]), "2 is not in 3..=201");
    refuses(&landscape(&["--cells", "202"]), "202 is not in 3..=201");
    refuses(&slimclr(&["landscape", &run, "--images", "3051"]), "must be between 2 and the 3048 images of an epoch");
    refuses(&slimclr(&["landscape", &run, "--images", "1"]), "must be between 2 and");

    let other = Config { depth: 14, ..config.clone() };
    let mut deeper = Trainer::new(&other, other.encoder().unwrap().build().unwrap(), &Device::flex());
    deeper.steps = 99;
    write_snapshot(&out, &deeper, &other);
    refuses(&landscape(&[]), "00000099.safetensors cannot be used: the tensors do not fit the network");
    fs::write(out.join("snapshots/00000099.safetensors"), &bytes[..1000]).unwrap();
    refuses(&landscape(&[]), "00000099.safetensors cannot be used: this is no intact safetensors file");
    fs::remove_file(out.join("snapshots/00000099.safetensors")).unwrap();
    // A single snapshot is a path too, that goes nowhere.
    succeeds(&landscape(&["--cells", "3", "--widths", "0.25"]));

    fs::write(out.join("checkpoint.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    refuses(&landscape(&[]), "checkpoint.safetensors cannot be used");
    fs::remove_file(out.join("checkpoint.safetensors")).unwrap();
    refuses(&landscape(&[]), "has no checkpoint");
}

#[test]
fn a_checkpoint_is_protected() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("run"));
    succeeds(&pretrain(&["--epochs", "0.01", "--out", &out]));
    refuses(&pretrain(&["--epochs", "0.01", "--out", &out]), "already holds a run");
    refuses(
        &slimclr(&["pretrain", "--resume", &out, "--temperature", "0.5"]),
        "temperature = 0.5 (it was begun with 0.2)",
    );

    let path = folder.path().join("run/checkpoint.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    refuses(&slimclr(&["evaluate", &out]), "no intact safetensors file");
    refuses(&slimclr(&["pretrain", "--resume", &out]), "no intact safetensors file");
}

#[test]
fn diverged_runs_stop_and_keep_the_last_good_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    // The first step's rate is next to nothing, the second's ruins the weights.
    let rates = ["--learning-rate", "1e30", "--warmup", "1", "--slow-start", "0"];
    let lengths = ["--epochs", "1", "--checkpoint-every", "0.001", "--out", &text(&out)];
    let output = pretrain(&[&rates[..], &lengths].concat());
    refuses(&output, "training has diverged");
    assert!(stderr(&output).contains("the loss of width"), "{}", stderr(&output));
    let bytes = fs::read(out.join("checkpoint.safetensors")).unwrap();
    assert_eq!(Checkpoint::read(&bytes).unwrap().step(), 1);
    // What is kept is sound: it evaluates to numbers, and lies in a landscape.
    succeeds(&slimclr(&["evaluate", &text(&out), "--probe-epochs", "1"]));
    succeeds(&slimclr(&["landscape", &text(&out), "--cells", "3", "--images", "8"]));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_one_sentence() {
    // The file size limit stands in for the disk's; the signal that would come with it is ignored.
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
fn profile_reproduces_the_papers_costs() {
    let small = ["--depth", "18", "--widths", "1.0"];
    let b0 = ["--backbone", "efficientnet-b0", "--widths", "1.0"];
    for (network, figures) in [
        (&[][..], &["25.6 M  4.09 G", "14.8 M  2.32 G", "6.92 M  1.05 G", "1.99 M   278 M"][..]),
        (&small, &["11.7 M  1.81 G"]),
        (&b0, &["5.29 M   386 M"]),
    ] {
        let preset = ["profile", "--preset", "imagenet-mocov2", "--classes", "1000"];
        let output = slimclr(&[&preset[..], network].concat());
        succeeds(&output);
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        let total = table.lines().last().unwrap();
        assert!(total.trim_start().starts_with("total") && figures.iter().all(|f| total.contains(f)), "{table}");
        assert!(table.contains("stem") && table.lines().all(|line| line.len() <= 100), "{table}");
    }
    refuses(&slimclr(&["profile", "--backbone", "efficientnet-b0"]), "EfficientNet-B0 comes in one size only");
}
