//! The listing of a large folder, which the user's cache keeps.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use crate::program::{image_folder, stderr, succeeds, text};

/// Options with which a run on a thousand images takes an instant.
const FEW_STEPS: [&str; 18] = [
    "--preset",
    "mini",
    "--multiplier",
    "1",
    "--widths",
    "1",
    "--device",
    "cpu",
    "--image-size",
    "8",
    "--batch",
    "256",
    "--queue",
    "256",
    "--dim",
    "8",
    "--epochs",
    "1",
];

#[test]
fn the_next_start_opens_only_new_and_changed_files() {
    let folder = tempfile::tempdir().unwrap();
    let [images, cache] = ["images", "cache"].map(|name| folder.path().join(name));
    image_folder(&images, &["a", "b"], 1, 8);
    let odd = images.join("a/odd.png");
    let good = fs::read(images.join("a/000.png")).unwrap();
    let old = SystemTime::now() - Duration::from_secs(3600);
    let set_time = |file: &Path, time| File::options().write(true).open(file).unwrap().set_modified(time).unwrap();
    let write = |bytes: &[u8], time| {
        fs::write(&odd, bytes).unwrap();
        set_time(&odd, time);
    };
    for class in ["a", "b"] {
        let first = images.join(class).join("000.png");
        set_time(&first, old);
        (1..550).for_each(|number| fs::hard_link(&first, images.join(class).join(format!("{number:03}.png"))).unwrap());
    }
    let names_it = |run: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slimclr"));
        command.arg("pretrain").args(FEW_STEPS).env("SLIMCLR_CACHE", &cache);
        command.args(["--data", &text(&images), "--out", &text(&folder.path().join(run))]);
        let output = command.output().unwrap();
        succeeds(&output);
        stderr(&output).contains("odd.png")
    };
    write(&vec![0; good.len()], old);
    assert!(names_it("first"), "a damaged file is not named");
    write(&good, old);
    assert!(names_it("second"), "a file of the same size and time was opened");
    write(&good, old + Duration::from_secs(10));
    assert!(!names_it("third"), "a file of another time was not opened");

    // A listing that is damaged is ignored.
    let listings: Vec<_> = fs::read_dir(cache.join("listings")).unwrap().collect();
    assert_eq!(listings.len(), 1);
    fs::write(listings[0].as_ref().unwrap().path(), "damaged").unwrap();
    write(&vec![0; good.len()], old);
    assert!(names_it("fourth"));
}
