//! Standard error and output: closed, full, and not a terminal.

use std::{
    fs::{self, File},
    io::pipe,
    path::Path,
    process::{Command, Stdio},
};

use image::{Rgb, RgbImage};

use crate::program::{TINY, events, image_folder, pretrain, slimclr, stderr, succeeds, text};

/// Writes images with one that cannot be decoded and one that is too small.
fn damaged_images(root: &Path) {
    image_folder(root, &["a", "b"], 22, 12);
    let intact = fs::read(root.join("a/003.png")).unwrap();
    fs::write(root.join("a/003.png"), &intact[..intact.len() - 40]).unwrap();
    fs::write(root.join("a/000.png"), b"not an image").unwrap();
}

/// Returns a pipe whose reader has gone.
fn closed() -> Stdio {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Returns a stream for which there is no space left.
fn full() -> Stdio {
    let device = File::options().write(true).open("/dev/full");
    // Only Linux has it.
    device.map_or_else(|_| closed(), Stdio::from)
}

#[test]
fn streams_that_are_closed_or_full_change_no_result() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    damaged_images(&images);
    let images = text(&images);
    for (name, stream) in [("closed", closed as fn() -> Stdio), ("full", full)] {
        let out = folder.path().join(name);
        let run = text(&out);
        let train = [&["pretrain"], TINY, &["--data", &images, "--epochs", "2", "--out", &run]].concat();
        for (arguments, expected) in [
            (&train[..], 0),
            (&["evaluate", &run, "--probe-epochs", "1"], 0),
            (&["landscape", &run, "--cells", "3", "--images", "8"], 0),
            (&["report", &run], 0),
            (&["export", &run, "--width", "1"], 0),
            (&["profile"], 0),
            (&["--help"], 0),
            (&["--version"], 0),
            (&train, 2),
            (&["pretrain", "--epochs", "many"], 2),
            (&["evaluate", "nowhere"], 2),
            (&["data", "cifar10", "--out", "/dev/null/cifar10"], 2),
        ] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_slimclr"));
            let status = command.args(arguments).stderr(stream()).stdout(stream()).status().unwrap();
            assert_eq!(status.code(), Some(expected), "{name}: {arguments:?}");
        }
        assert_eq!(events(&out).iter().filter(|event| event["event"] == "finished").count(), 1, "{name}");
        assert!(out.join("report.html").is_file() && out.join("landscape.json").is_file(), "{name}");
    }
}

#[test]
fn a_log_shows_how_far_a_run_is() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    image_folder(&images, &["a", "b"], 22, 12);
    let out = text(&folder.path().join("run"));
    let output = pretrain(&["--data", &text(&images), "--epochs", "4", "--out", &out]);
    succeeds(&output);
    let log = stderr(&output);
    let count = |part: &str| log.lines().filter(|line| line.contains(part)).count();
    assert_eq!(count("40 images, 20 steps, widths 1, 0.75, 0.5, 0.25, on CPU"), 1, "{log}");
    let step = log.lines().find(|line| line.starts_with("step 1  loss 1: ")).unwrap_or_else(|| panic!("{log}"));
    assert!(step.ends_with(" images/s"), "{log}");
    assert_eq!(count("step 0 of 20  evaluating the initial network: 32 of 44 images"), 1, "{log}");
    assert_eq!(count("step 20 of 20  evaluating the network: "), 1, "{log}");
    assert_eq!(count("  kNN "), 2 * 4, "{log}");
    // One at the end of each epoch.
    for step in [5, 10, 15, 20] {
        let line = log
            .lines()
            .find(|line| line.starts_with(&format!("step {step} of 20")) && line.ends_with("checkpoint saved"));
        let line = line.unwrap_or_else(|| panic!("no checkpoint of step {step}: {log}"));
        assert!(line.contains("  loss 1: ") && line.contains(" images/s"), "{line}");
    }
    assert!(!log.contains('\u{1b}') && !log.contains('\r'), "{log:?}");

    let output = slimclr(&["evaluate", &out, "--probe-epochs", "1"]);
    succeeds(&output);
    let log = stderr(&output);
    for line in [
        "computing features: 44 images",
        "training the linear probes: 160 feature vectors",
        "computing ridge regression and kNN: 480 feature vectors",
    ] {
        assert!(log.lines().any(|found| found == line), "'{line}' is not in: {log}");
    }
}

#[test]
fn a_run_that_waits_for_images_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    // Decoding these takes far longer than a step.
    for number in 0..12_u8 {
        for class in ["a", "b"] {
            fs::create_dir_all(images.join(class)).unwrap();
            let image = RgbImage::from_fn(1000, 1000, |x, y| Rgb([x as u8, y as u8, number]));
            image.save(images.join(class).join(format!("{number}.png"))).unwrap();
        }
    }
    let out = folder.path().join("run");
    let only_steps = ["--interference", "false", "--evaluate-every", "0", "--checkpoint-every", "10"];
    let options = ["--data", &text(&images), "--epochs", "10", "--out", &text(&out)];
    let output = pretrain(&[&options[..], &only_steps].concat());
    succeeds(&output);
    let log = stderr(&output);
    assert_eq!(log.matches("warning: the run waits for images: ").count(), 1, "{log}");
    assert!(log.contains("  waiting for images "), "{log}");
    let waited: Vec<f64> = events(&out).iter().filter_map(|event| event["waited"].as_f64()).collect();
    assert!(waited.len() == 20 && waited.iter().all(|share| (0.0..=1.0).contains(share)), "{waited:?}");
    assert!(waited[10..].iter().sum::<f64>() > 1.0, "{waited:?}");
}
