//! Runs the program and reads what it writes.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use image::{Rgb, RgbImage};
use serde_json::Value;

/// Options with which a run takes seconds.
pub const TINY: &[&str] = &[
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

/// The program, with its caches apart from the user's.
pub fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_slimclr"));
    program.env("SLIMCLR_CACHE", env!("CARGO_TARGET_TMPDIR"));
    program
}

pub fn slimclr(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

pub fn pretrain(arguments: &[&str]) -> Output {
    slimclr(&[&["pretrain"], TINY, arguments].concat())
}

pub fn text(path: &Path) -> String {
    path.to_str().unwrap().into()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts exit code 2 and a single error that contains `sentence`.
#[track_caller]
pub fn refuses(output: &Output, sentence: &str) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains(sentence), "'{sentence}' is not in: {message}");
    assert!(!message.contains("panicked"), "{message}");
    assert_eq!(message.lines().filter(|line| line.starts_with("error")).count(), 1, "{message}");
}

#[track_caller]
pub fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
}

/// Writes a folder of images, all different, with one sub-folder per class.
pub fn image_folder(root: &Path, classes: &[&str], images_each: usize, side: u32) {
    for (label, class) in classes.iter().enumerate() {
        fs::create_dir_all(root.join(class)).unwrap();
        for number in 0..images_each {
            let image = RgbImage::from_fn(side, side, |x, y| {
                let shade = (x * 7 + y * 13 + number as u32 * 29) as u8;
                Rgb([shade, shade.wrapping_mul(3), (label * 90) as u8])
            });
            let extension = ["png", "jpg", "webp"][number % 3];
            image.save(root.join(class).join(format!("{number:03}.{extension}"))).unwrap();
        }
    }
}

pub fn events(run: &Path) -> Vec<Value> {
    let lines = fs::read_to_string(run.join("events.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn losses(run: &Path) -> Vec<Value> {
    events(run).into_iter().filter(|event| event["event"] == "step").map(|event| event["losses"].clone()).collect()
}

/// Starts the program, interrupts it once `run` has taken a step, and returns its standard error.
pub fn interrupted(arguments: &[&str], run: &Path) -> String {
    let mut child = program().args(arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let log = run.join("events.jsonl");
    let start = Instant::now();
    while !fs::read_to_string(&log).is_ok_and(|log| log.contains("\"event\":\"step\"")) {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it was interrupted");
        assert!(start.elapsed() < Duration::from_secs(120), "no step was taken");
        std::thread::sleep(Duration::from_millis(2));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let status = child.wait().unwrap();
    let stderr: Vec<String> = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap).collect();
    assert_eq!(status.code(), Some(130), "{stderr:?}");
    stderr.join("\n")
}
