//! A run knows its images, and what belongs to its folder.

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use safetensors::{SafeTensors, serialize};
use serde_json::Value;
use slimclr_core::checkpoint::Checkpoint;
use tempfile::TempDir;

use crate::program::{TINY, events, image_folder, interrupted, losses, refuses, slimclr, stderr, succeeds, text};

const PROGRAM: &str = env!("CARGO_BIN_EXE_slimclr");

/// Six steps an epoch on the images of [`images`].
const OPTIONS: [&str; 6] = ["--epochs", "10", "--evaluate-every", "5", "--interference", "false"];

/// Writes 54 training and 6 test images of three classes.
fn images(root: &Path) {
    image_folder(root, &["a", "b", "c"], 20, 12);
}

/// Starts a run in `folder` and stops it after a few steps. Returns its path.
fn stopped_run(folder: &Path, name: &str) -> PathBuf {
    let run = folder.join(name);
    let paths = ["--data", &text(&folder.join("images")), "--out", &text(&run)];
    interrupted(&[&["pretrain"], TINY, &OPTIONS, &paths].concat(), &run);
    run
}

/// Generates images and a run on them that was stopped after a few steps.
fn images_and_run() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    images(&folder.path().join("images"));
    let run = stopped_run(folder.path(), "run-1");
    (folder, run)
}

fn resume(run: &Path, options: &[&str]) -> Output {
    slimclr(&[&["pretrain", "--resume", &text(run)], options].concat())
}

fn log(run: &Path) -> Vec<u8> {
    fs::read(run.join("events.jsonl")).unwrap()
}

fn latest_start(run: &Path) -> Value {
    events(run).into_iter().rfind(|event| event["event"] == "started").unwrap()
}

/// Runs the program in another working directory.
fn slimclr_in(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).current_dir(folder).args(arguments).output().unwrap()
}

/// Runs the command that `output` ends with, as if it was pasted into a shell.
fn paste(output: &Output, folder: &Path) -> Output {
    let message = stderr(output);
    let command = &message[message.rfind("slimclr ").unwrap()..];
    let path = format!("{}:{}", Path::new(PROGRAM).parent().unwrap().display(), env::var("PATH").unwrap());
    Command::new("bash").args(["-c", command]).current_dir(folder).env("PATH", path).output().unwrap()
}

#[test]
fn changed_images_are_refused_and_accepted_by_a_flag() {
    let (folder, run) = images_and_run();
    let planned = latest_start(&run);
    let control = folder.path().join("control");
    let uninterrupted = ["--data", &text(&folder.path().join("images")), "--out", &text(&control)];
    succeeds(&slimclr(&[&["pretrain"], TINY, &OPTIONS, &uninterrupted].concat()));

    fs::remove_dir_all(folder.path().join("images/c")).unwrap();
    image_folder(&folder.path().join("images"), &["a", "d"], 60, 12);
    let before = log(&run);
    let refused = resume(&run, &[]);
    refuses(
        &refused,
        "54 training images then, 126 now; 6 test images then, 14 now; class 'c' is gone; class 'd' is new",
    );
    assert!(stderr(&refused).contains("--accept-changed-images"), "{}", stderr(&refused));
    assert!(log(&run) == before, "a refused run was changed");
    refuses(&slimclr(&["evaluate", &text(&run)]), "class 'c' is gone");

    // The schedule stays as it was planned.
    let accepted = paste(&refused, folder.path());
    succeeds(&accepted);
    assert!(stderr(&accepted).contains("an epoch has 6 steps, as planned"), "{}", stderr(&accepted));
    let started = latest_start(&run);
    assert_eq!(started["images"], 126);
    for key in ["steps", "steps_per_epoch", "slow_start_step"] {
        assert_eq!(started[key], planned[key], "{key}");
    }
    let plan = |run: &Path| -> Vec<[Value; 4]> {
        let steps = events(run).into_iter().filter(|event| event["event"] == "step");
        let trains = |step: &Value| step["losses"][1] != 0.0;
        steps
            .map(|step| {
                [&step["step"], &step["epoch"], &step["learning_rate"], &trains(&step).into()].map(Value::clone)
            })
            .collect()
    };
    assert_eq!(plan(&run), plan(&control));

    // From now on these are the run's images; another change is refused again.
    succeeds(&slimclr(&["evaluate", &text(&run), "--probe-epochs", "1"]));
    succeeds(&resume(&run, &[]));
    assert_eq!(latest_start(&run)["steps_per_epoch"], 6);
    fs::rename(folder.path().join("images/d"), folder.path().join("images/e")).unwrap();
    refuses(&resume(&run, &[]), "class 'd' is gone; class 'e' is new");
}

#[test]
fn renamed_and_additional_images_have_changed() {
    let (folder, run) = images_and_run();
    let images = folder.path().join("images");
    fs::rename(images.join("a/000.png"), images.join("a/100.png")).unwrap();
    refuses(&resume(&run, &[]), "the 54 training images have other names");
    fs::rename(images.join("a/100.png"), images.join("a/000.png")).unwrap();
    fs::copy(images.join("b/000.png"), images.join("a/new.png")).unwrap();
    refuses(&resume(&run, &[]), "54 training images then, 55 now");
    fs::remove_file(images.join("a/new.png")).unwrap();
    succeeds(&resume(&run, &[]));
}

#[test]
fn the_classes_of_a_supervised_network_cannot_change() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (folder.path().join("images"), folder.path().join("run"));
    images(&data);
    let options = ["--method", "supervised", "--data", &text(&data), "--out", &text(&run)];
    interrupted(&[&["pretrain"], TINY, &OPTIONS, &options].concat(), &run);
    fs::rename(data.join("c"), data.join("0")).unwrap();
    let refused = resume(&run, &["--accept-changed-images"]);
    refuses(&refused, "class 'c' is gone; class '0' is new. A supervised network's classes cannot change");
}

#[test]
fn the_same_images_under_another_path_are_the_same() {
    let (folder, run) = images_and_run();
    let other = stopped_run(folder.path(), "run-2");
    let control = folder.path().join("control");
    let [images, moved, away] = ["images", "moved", "away"].map(|name| folder.path().join(name));
    succeeds(&slimclr(
        &[&["pretrain"], TINY, &OPTIONS, &["--data", &text(&images), "--out", &text(&control)]].concat(),
    ));
    fs::rename(&images, &moved).unwrap();
    let gone = resume(&run, &[]);
    refuses(&gone, "there is no such folder");
    assert!(stderr(&gone).contains("change `data` in"), "{}", stderr(&gone));
    succeeds(&resume(&run, &["--data", &text(&moved)]));
    assert_eq!(losses(&run), losses(&control));
    // The run remembers the path.
    let first = slimclr(&["evaluate", &text(&run), "--probe-epochs", "1"]);
    succeeds(&first);
    let recorded = events(&run).len();
    fs::rename(&moved, &away).unwrap();
    refuses(&slimclr(&["evaluate", &text(&run)]), "there is no such folder");
    let again = slimclr(&["evaluate", &text(&run), "--probe-epochs", "1", "--data", &text(&away)]);
    succeeds(&again);
    assert_eq!(again.stdout, first.stdout);
    assert!(events(&run).len() > recorded, "an evaluation on the run's images is recorded");

    // An edited path.
    let config = fs::read_to_string(other.join("config.toml")).unwrap();
    fs::write(other.join("config.toml"), config.replace(&text(&images), &text(&away))).unwrap();
    succeeds(&resume(&other, &[]));
    assert_eq!(losses(&other), losses(&control));
}

#[test]
fn relative_paths_are_found_from_another_working_directory() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("elsewhere");
    images(&folder.path().join("images"));
    // Other images under the same name.
    image_folder(&elsewhere.join("images"), &["x", "y"], 20, 12);
    let arguments = [&["pretrain"], TINY, &OPTIONS, &["--epochs", "1", "--data", "images", "--out", "run"]].concat();
    succeeds(&slimclr_in(folder.path(), &arguments));
    for arguments in [
        vec!["pretrain", "--resume", "../run"],
        vec!["evaluate", "../run", "--probe-epochs", "1"],
        vec!["report", "../run"],
    ] {
        succeeds(&slimclr_in(&elsewhere, &arguments));
    }
    let config = fs::read_to_string(folder.path().join("run/config.toml")).unwrap();
    assert!(config.contains("data = \"images\""), "{config}");
    // A path on the command line is relative to the working directory.
    refuses(
        &slimclr_in(&elsewhere, &["pretrain", "--resume", "../run", "--data", "images"]),
        "classes 'a', 'b' and 'c' are gone",
    );
}

#[test]
fn a_lost_checkpoint_erases_nothing() {
    let (folder, run) = images_and_run();
    let (checkpoint, kept) = (run.join("checkpoint.safetensors"), folder.path().join("kept"));
    fs::rename(&checkpoint, &kept).unwrap();
    let before = log(&run);
    let refused = resume(&run, &[]);
    refuses(&refused, "checkpoint.safetensors is gone: events.jsonl says that it was saved after step");
    refuses(&slimclr(&["evaluate", &text(&run)]), "is gone");
    assert!(log(&run) == before, "events were erased");
    succeeds(&paste(&refused, folder.path()));
    assert_eq!(losses(&folder.path().join("run-2")).len(), 60);

    // A checkpoint that is older than the log.
    fs::rename(&kept, &checkpoint).unwrap();
    let step = Checkpoint::read(&fs::read(&checkpoint).unwrap()).unwrap().step();
    fs::copy(&checkpoint, &kept).unwrap();
    succeeds(&resume(&run, &[]));
    let before = log(&run);
    fs::copy(&kept, &checkpoint).unwrap();
    refuses(
        &resume(&run, &[]),
        &format!("is from step {step}, but events.jsonl says that one was saved after step 60"),
    );
    assert!(log(&run) == before, "events were erased");
}

#[test]
fn a_run_without_its_options_is_not_begun_anew() {
    let (folder, run) = images_and_run();
    fs::remove_file(run.join("config.toml")).unwrap();
    let before = log(&run);
    let data = text(&folder.path().join("images"));
    let begun = slimclr(&[&["pretrain"], TINY, &OPTIONS, &["--data", &data, "--out", &text(&run)]].concat());
    for output in [begun, resume(&run, &[])] {
        refuses(&output, "holds a run whose config.toml is gone");
    }
    assert!(log(&run) == before);
}

#[test]
fn a_run_that_saved_no_checkpoint_begins_anew() {
    let (folder, run) = images_and_run();
    fs::remove_file(run.join("checkpoint.safetensors")).unwrap();
    let log = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let lines = log.lines().filter(|line| !line.contains("\"event\":\"checkpoint\""));
    fs::write(run.join("events.jsonl"), lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    succeeds(&slimclr_in(folder.path(), &["pretrain", "--resume", "run-1"]));
    assert_eq!(losses(&run).len(), 60);
}

#[test]
fn more_epochs_are_a_new_run_from_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    images(&folder.path().join("images"));
    let options = ["--epochs", "2", "--interference", "false", "--data", "images", "--out", "my runs/mini-1"];
    succeeds(&slimclr_in(folder.path(), &[&["pretrain"], TINY, &options].concat()));
    let longer = ["pretrain", "--resume", "my runs/mini-1", "--epochs", "4", "--widths", "1.0,0.75,0.5,0.25"];
    let refused = slimclr_in(folder.path(), &longer);
    refuses(&refused, "epochs = 4.0 (it was started with 2.0)");
    assert!(stderr(&refused).contains("--init 'my runs/mini-1'"), "{}", stderr(&refused));
    succeeds(&paste(&refused, folder.path()));
    let run = folder.path().join("my runs/mini-2");
    assert_eq!(losses(&run).len(), 24);
    assert_eq!(latest_start(&run)["config"]["init"], "my runs/mini-1");
}

/// Starts a run that takes long, and waits for its first step.
fn training(arguments: &[&str], run: &Path) -> Child {
    let mut command = Command::new(PROGRAM);
    let mut child = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while !fs::read_to_string(run.join("events.jsonl")).is_ok_and(|log| log.contains("\"event\":\"checkpoint\"")) {
        assert!(child.try_wait().unwrap().is_none() && start.elapsed() < Duration::from_secs(60), "no checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn two_processes_never_train_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (folder.path().join("images"), folder.path().join("run"));
    images(&data);
    let long =
        ["--epochs", "100000", "--checkpoint-every", "0.1", "--evaluate-every", "100000", "--interference", "false"];
    let paths = ["--data", &text(&data), "--out", &text(&run)];
    let mut child = training(&[&["pretrain"], TINY, &long, &paths].concat(), &run);
    let is_refused = || refuses(&resume(&run, &[]), "is being trained by another process");
    is_refused();
    // An editor replaces the file; somebody takes the lock file for a forgotten one.
    let config = run.join("config.toml");
    fs::copy(&config, run.join("config.toml~")).unwrap();
    fs::rename(run.join("config.toml~"), &config).unwrap();
    is_refused();
    fs::remove_file(run.join(".lock")).unwrap();
    is_refused();
    is_refused();
    child.kill().unwrap();
    child.wait().unwrap();

    // The killed process left half a checkpoint.
    let left = [".slimclr-Ab3xYz", ".slimclr-notes", "snapshots/.slimclr-000000"].map(|name| run.join(name));
    fs::create_dir_all(run.join("snapshots")).unwrap();
    left.iter().for_each(|path| fs::write(path, "half").unwrap());
    let mut resumed = training(&["pretrain", "--resume", &text(&run)], &run);
    let start = Instant::now();
    while left[2].exists() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    resumed.kill().unwrap();
    resumed.wait().unwrap();
    assert_eq!(left.map(|path| path.exists()), [false, true, false]);
}

#[test]
fn printed_commands_can_be_pasted() {
    let folder = tempfile::tempdir().unwrap();
    images(&folder.path().join("images"));
    let run = folder.path().join("it's my\nrun $HOME");
    let paths = ["--data", &text(&folder.path().join("images")), "--out", &text(&run)];
    let stopped = interrupted(&[&["pretrain"], TINY, &OPTIONS, &paths].concat(), &run);
    assert!(stopped.contains(r"it\'s my\x0arun $HOME'"), "{stopped}");
    let stopped = Output { status: Default::default(), stdout: Vec::new(), stderr: stopped.into_bytes() };
    let resumed = paste(&stopped, folder.path());
    succeeds(&resumed);
    assert_eq!(losses(&run).len(), 60);
    succeeds(&paste(&resumed, folder.path()));
    assert!(events(&run).last().unwrap()["probe"].is_number());
}

#[test]
fn paths_cannot_write_to_the_terminal() {
    let output = slimclr(&["report", "runs/\u{1b}[2Jmini-1"]);
    refuses(&output, r"there is no folder runs/\u{1b}[2Jmini-1");
}

/// Removes what versions before this one did not write.
fn make_older(run: &Path) {
    fs::remove_file(run.join("dataset.json")).unwrap();
    let path = run.join("checkpoint.safetensors");
    let bytes = fs::read(&path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut metadata: Value = serde_json::from_str(&header.metadata().as_ref().unwrap()["slimclr"]).unwrap();
    let dataset = metadata.as_object_mut().unwrap().remove("dataset").unwrap();
    metadata["normalisation"] = dataset["normalisation"].clone();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let metadata = HashMap::from([("slimclr".to_owned(), metadata.to_string())]);
    fs::write(path, serialize(tensors, Some(metadata)).unwrap()).unwrap();
}

#[test]
fn a_run_of_an_older_version_is_compared_by_its_number_of_images() {
    let (folder, run) = images_and_run();
    make_older(&run);
    let images = folder.path().join("images");
    fs::copy(images.join("b/000.png"), images.join("a/new.png")).unwrap();
    refuses(&resume(&run, &[]), "54 training images then, 55 now");
    refuses(&slimclr(&["evaluate", &text(&run)]), "54 training images then, 55 now");
    fs::remove_file(images.join("a/new.png")).unwrap();
    succeeds(&resume(&run, &[]));
    let kept: Value = serde_json::from_slice(&fs::read(run.join("dataset.json")).unwrap()).unwrap();
    assert_eq!((&kept["train"]["images"], &kept["classes"]), (&54.into(), &serde_json::json!(["a", "b", "c"])));
    succeeds(&slimclr(&["export", &text(&run), "--width", "0.5"]));
}

#[test]
fn other_images_are_evaluated_on_only_by_name() {
    let (folder, run) = images_and_run();
    let images = folder.path().join("images");
    fs::remove_dir_all(images.join("c")).unwrap();
    let recorded = log(&run);
    for network in [run.clone(), run.join("checkpoint.safetensors")] {
        let refused = slimclr(&["evaluate", &text(&network)]);
        refuses(&refused, "54 training images then, 36 now; 6 test images then, 4 now; class 'c' is gone");
        let evaluated = paste(&refused, folder.path());
        succeeds(&evaluated);
        assert!(String::from_utf8_lossy(&evaluated.stdout).contains(" switchable probe "));
    }
    assert!(log(&run) == recorded && !run.join("features.safetensors").exists(), "they are not the run's");
}
