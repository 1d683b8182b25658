use std::{fs, process::Command};

use crate::program::{events, image_folder, pretrain, refuses, slimclr, stderr, succeeds, text};

#[test]
fn features_are_cached_between_evaluations() {
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
    let cache = out.join("features.safetensors");
    let features = fs::read(&cache).unwrap();
    let written = fs::metadata(&cache).unwrap().modified().unwrap();
    assert_eq!(evaluate(&[]), first);
    assert_ne!(evaluate(&["--probe-recipe", "mocov3", "--probe-rate", "1e-9", "--ridge-lambda", "1e9"]), first);
    assert_eq!(fs::metadata(&cache).unwrap().modified().unwrap(), written, "the cache was not used");

    // A changed byte, a truncated file, another file.
    let mut flipped = features.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for damaged in [&flipped[..], &features[..features.len() - 1], b"features"] {
        fs::write(&cache, damaged).unwrap();
        assert_eq!(evaluate(&[]), first);
        assert!(fs::read(&cache).unwrap() == features, "the damaged cache was used");
    }
    // An image has changed.
    fs::copy(images.join("b/003.png"), images.join("a/000.png")).unwrap();
    evaluate(&[]);
    assert!(fs::read(&cache).unwrap() != features, "the stale cache was used");
}

#[test]
fn features_of_other_images_are_removed_and_damaged_images_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let [images, others, out, cache] = ["images", "others", "run", "cache"].map(|name| folder.path().join(name));
    image_folder(&images, &["a", "b"], 12, 12);
    image_folder(&others, &["a", "b"], 20, 12);
    succeeds(&pretrain(&["--data", &text(&images), "--epochs", "1", "--out", &text(&out)]));
    let evaluate = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slimclr"));
        let arguments = ["evaluate", &text(&out), "--data", &text(&others), "--probe-epochs", "2"];
        command.args(arguments).env("SLIMCLR_CACHE", &cache).output().unwrap()
    };
    // Its header is intact, its pixels are not.
    let damaged = others.join("a/000.png");
    let bytes = fs::read(&damaged).unwrap();
    fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    succeeds(&evaluate());
    assert!(!out.join("features.safetensors").exists());
    // Those that a killed process has left are removed, too.
    let left = out.join(".slimclr-Ab3xYz");
    fs::write(&left, "features").unwrap();
    succeeds(&slimclr(&["evaluate", &text(&out), "--probe-epochs", "2"]));
    assert!(!left.exists() && out.join("features.safetensors").exists());
    assert!(cache.read_dir().unwrap().all(|entry| entry.unwrap().path().is_dir()), "features were left behind");
    fs::remove_dir_all(&cache).unwrap();
    fs::write(&cache, "no folder").unwrap();
    refuses(&evaluate(), "cannot create the folder");
}

#[cfg(unix)]
#[test]
fn a_log_that_cannot_be_written_is_noticed_first() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    succeeds(&pretrain(&["--epochs", "0.01", "--out", &text(&run)]));
    let log = run.join("events.jsonl");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o444)).unwrap();
    if fs::OpenOptions::new().append(true).open(&log).is_ok() {
        // The administrator can write all files.
        return;
    }
    let refused = slimclr(&["evaluate", &text(&run)]);
    refuses(&refused, "the result cannot be recorded; to only print it: slimclr evaluate");
    assert!(!stderr(&refused).contains("computing features"), "{}", stderr(&refused));
    succeeds(&slimclr(&["evaluate", &text(&run.join("checkpoint.safetensors")), "--probe-epochs", "1"]));
}
