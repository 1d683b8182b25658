//! Folders of images as people have them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use image::RgbImage;
use slimclr_core::checkpoint::Checkpoint;

use crate::program::{TINY, image_folder, pretrain, refuses, slimclr, stderr, succeeds, text};

/// A folder for images and one for runs.
struct Folders {
    parent: tempfile::TempDir,
    images: PathBuf,
}

impl Folders {
    fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let images = parent.path().join("images");
        fs::create_dir(&images).unwrap();
        Self { parent, images }
    }

    fn run(&self, name: &str) -> PathBuf {
        self.parent.path().join(name)
    }

    /// Trains a new run for an epoch.
    fn train(&self, name: &str) -> Output {
        pretrain(&["--data", &text(&self.images), "--epochs", "1", "--out", &text(&self.run(name))])
    }

    /// Starts a long run, and returns once it has taken a step.
    fn start(&self, name: &str) -> Child {
        let run = self.run(name);
        let child = Command::new(env!("CARGO_BIN_EXE_slimclr"))
            .arg("pretrain")
            .args(TINY)
            .args(["--data", &text(&self.images), "--epochs", "100000", "--out", &text(&run)])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_until(|| fs::read_to_string(run.join("events.jsonl")).is_ok_and(|log| log.contains("\"step\":20,")));
        child
    }
}

fn wait_until(is_true: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn says(output: &Output, line: &str) {
    succeeds(output);
    let message = stderr(output);
    assert!(message.lines().any(|found| found == line), "'{line}' is not in: {message}");
}

fn picture(side: u32) -> RgbImage {
    RgbImage::from_fn(side, side, |x, y| image::Rgb([(x * 9) as u8, (y * 7) as u8, (x * y) as u8]))
}

#[cfg(unix)]
#[test]
fn everything_that_is_an_image_is_read_and_the_rest_is_counted() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    let folders = Folders::new();
    let root = &folders.images;
    image_folder(root, &["tea", "coffee/2023", "coffee/2024/june"], 10, 12);
    let coffee = root.join("coffee");
    for (name, format) in [
        ("a.jfif", image::ImageFormat::Jpeg),
        ("b.jpe", image::ImageFormat::Jpeg),
        ("c.jpg?size=large", image::ImageFormat::Jpeg),
        ("no extension", image::ImageFormat::Png),
        ("e.bmp", image::ImageFormat::Bmp),
        ("f.gif", image::ImageFormat::Gif),
        ("h.ppm", image::ImageFormat::Pnm),
        ("wrong.png", image::ImageFormat::WebP),
        ("i\x1b[31m.jpg", image::ImageFormat::Jpeg),
    ] {
        picture(12).save_with_format(coffee.join(name), format).unwrap();
    }
    let latin1 = root.join(OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&latin1).unwrap();
    for number in 0..10 {
        picture(8 + number).save(latin1.join(format!("{number}.png"))).unwrap();
    }
    fs::write(coffee.join("x.heic"), b"\0\0\0\x18ftypheic").unwrap();
    fs::write(coffee.join("y.tif"), b"II*\0\x08\0\0\0").unwrap();
    fs::write(coffee.join("\x1b[31m.jpg"), b"").unwrap();
    picture(7).save(coffee.join("small.png")).unwrap();
    std::os::unix::fs::symlink("/nowhere/milk", root.join("milk")).unwrap();
    fs::create_dir_all(root.join("__MACOSX/tea")).unwrap();
    fs::write(root.join("__MACOSX/tea/._000.png"), b"").unwrap();
    fs::create_dir(root.join("water")).unwrap();
    let line = "45 images in 3 classes to train on, 4 held out to test; not used: 1 damaged image \
                (coffee/\\u{1b}[31m.jpg), 1 image under 8 pixels (coffee/small.png), 1 folder without images (water), \
                1 link to nothing (milk), 1 .heic file, 1 .tif file";
    says(&folders.train("run"), line);
}

#[test]
fn a_run_inside_the_images_is_not_trained_on() {
    let folders = Folders::new();
    image_folder(&folders.images, &["a", "b"], 12, 12);
    let inside = |arguments: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_slimclr"));
        program.current_dir(&folders.images).arg("pretrain").args(arguments).output().unwrap()
    };
    let line = "22 images in 2 classes to train on, 2 held out to test";
    says(&inside(&[TINY, &["--data", ".", "--epochs", "1"]].concat()), line);
    let with_run = format!("{line}; not used: 1 folder of a run (runs/mini-1)");
    says(&inside(&[TINY, &["--data", ".", "--epochs", "1"]].concat()), &with_run);
    let resumed = inside(&["--resume", "runs/mini-1"]);
    assert!(stderr(&resumed).contains("22 images in 2 classes"), "{}", stderr(&resumed));
    refuses(&pretrain(&["--data", &text(&folders.images.join("runs/mini-1"))]), "this is the folder of a run");
}

#[test]
fn images_without_labels_train() {
    let folders = Folders::new();
    image_folder(&folders.images, &["."], 30, 12);
    says(&folders.train("flat"), "27 images without labels to train on, 3 held out to test");
    fs::remove_dir_all(&folders.images).unwrap();
    image_folder(&folders.images, &["train", "valid"], 10, 12);
    says(&folders.train("train"), "10 images without labels to train on, 10 to test");
}

#[test]
fn tiny_imagenets_layout_trains() {
    let folders = Folders::new();
    image_folder(&folders.images, &["Train/n01/images", "Train/n02/images", "Val/images", "test/images"], 8, 12);
    refuses(&folders.train("refused"), "8 images in 'Val' are not of the training images' classes: there are no");
    let list: String = (0..8).map(|number| format!("{number:03}.png\tn0{}\t0\t0\t9\t9\n", 1 + number % 2)).collect();
    fs::write(folders.images.join("Val/val_annotations.txt"), list).unwrap();
    let names = ["png", "jpg", "webp"];
    for (number, extension) in (0..8).map(|number| (number, names[number % 3])) {
        let folder = folders.images.join("Val/images");
        let named = format!("{number:03}.{extension}");
        fs::rename(folder.join(named), folder.join(format!("{number:03}.png"))).unwrap();
    }
    let line = "16 images in 2 classes to train on, 8 to test; not used: 8 images in test";
    says(&folders.train("run"), line);
}

#[test]
fn folders_that_cannot_be_trained_on_are_described() {
    let folders = Folders::new();
    refuses(&folders.train("run"), "images: the folder is empty: name a folder of JPEG, PNG, WebP, GIF, BMP or PNM");
    fs::write(folders.images.join("notes.txt"), "").unwrap();
    refuses(&folders.train("run"), "there is no image that can be read, but 1 .txt file");
    let file = pretrain(&["--data", &text(&folders.images.join("notes.txt"))]);
    refuses(&file, "notes.txt' is a file: name a folder of images");
    picture(12).save(folders.images.join("only.png")).unwrap();
    refuses(&folders.train("run"), "there is only one image, only.png");
    image_folder(&folders.images, &["a"], 2, 12);
    fs::create_dir(folders.images.join("b")).unwrap();
    refuses(&folders.train("run"), "batch = 8 is larger than the data set of 2 images");
    assert!(!folders.run("run").exists());
}

/// Cuts a file to a part of its bytes.
fn cut(path: &Path, percent: usize) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() * percent / 100]).unwrap();
}

#[test]
fn a_damaged_image_is_named_at_once_and_replaced() {
    let folders = Folders::new();
    image_folder(&folders.images, &["a", "b"], 15, 24);
    cut(&folders.images.join("a/001.jpg"), 90);
    let progressive = include_bytes!("../fixtures/progressive.jpg");
    fs::write(folders.images.join("b/progressive.jpg"), &progressive[..progressive.len() * 9 / 10]).unwrap();
    let output = folders.train("run");
    succeeds(&output);
    let message = stderr(&output);
    let told: Vec<&str> = message.lines().filter(|line| line.starts_with("warning: ")).collect();
    let [first, all] = told[..] else { panic!("{message}") };
    assert!(first.starts_with("warning: an image is damaged and left out: "), "{message}");
    assert!(all.starts_with("warning: 2 images are damaged and were left out: "), "{message}");
    for name in ["a/001.jpg: the file is cut short", "b/progressive.jpg: the file is cut short"] {
        assert!(all.contains(name), "{message}");
    }
}

#[test]
fn a_run_with_too_many_damaged_images_stops() {
    let folders = Folders::new();
    image_folder(&folders.images, &["a", "b"], 15, 24);
    for number in [1, 4, 7, 10] {
        cut(&folders.images.join(format!("a/{number:03}.jpg")), 90);
    }
    refuses(&folders.train("run"), "4 of 30 images are damaged: replace these files, then resume (a/0");
    // Cut within the header, they are found before anything is written.
    for number in [1, 4, 7, 10] {
        cut(&folders.images.join(format!("a/{number:03}.jpg")), 10);
    }
    refuses(&folders.train("other"), "4 of 30 images are damaged (a/001.jpg, a/004.jpg, a/007.jpg, …)");
    assert!(!folders.run("other").exists());
}

#[test]
fn a_class_that_is_removed_stops_a_run_with_a_checkpoint() {
    let folders = Folders::new();
    image_folder(&folders.images, &["a", "b"], 12, 12);
    let child = folders.start("run");
    fs::remove_dir_all(folders.images.join("b")).unwrap();
    let output = child.wait_with_output().unwrap();
    refuses(&output, "3 of 24 images are damaged: replace these files, then resume (b/0");
    let checkpoint = fs::read(folders.run("run").join("checkpoint.safetensors")).unwrap();
    assert!(Checkpoint::read(&checkpoint).unwrap().step() >= 20);
}

#[cfg(unix)]
#[test]
fn a_folder_that_goes_away_for_a_moment_is_waited_for() {
    let folders = Folders::new();
    image_folder(&folders.images, &["a", "b"], 12, 12);
    let child = folders.start("run");
    let away = folders.run("away");
    fs::rename(&folders.images, &away).unwrap();
    let log = folders.run("run/events.jsonl");
    let length = || fs::metadata(&log).unwrap().len();
    // It waits once no line has been added for a while.
    wait_until(|| {
        let before = length();
        std::thread::sleep(Duration::from_millis(500));
        length() == before
    });
    let waiting = length();
    fs::rename(&away, &folders.images).unwrap();
    wait_until(|| length() > waiting);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let message = stderr(&output);
    assert!(message.contains("are gone: waiting 60 seconds") && message.contains("are back"), "{message}");
    assert!(!message.contains("damaged"), "{message}");
}

#[test]
fn a_bad_data_folder_of_evaluate_is_described() {
    let folders = Folders::new();
    image_folder(&folders.images, &["a", "b"], 12, 12);
    succeeds(&folders.train("run"));
    fs::remove_dir_all(folders.images.join("a")).unwrap();
    fs::remove_dir_all(folders.images.join("b")).unwrap();
    refuses(&slimclr(&["evaluate", &text(&folders.run("run"))]), "images: the folder is empty");
}
