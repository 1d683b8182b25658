//! Runs that distil a trained teacher.

#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
use std::{fs, path::Path};

use crate::program::{events, image_folder, losses, pretrain, refuses, slimclr, stderr, succeeds, text};

#[test]
fn every_system_trains_from_a_teacher_that_the_run_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name));
    image_folder(&folder.path().join("images/train"), &["cat", "dog", "owl"], 10, 12);
    image_folder(&folder.path().join("images/test"), &["cat", "dog", "owl"], 3, 12);
    let data = ["--data", &path("images"), "--epochs", "2"];
    succeeds(&pretrain(&[&data[..], &["--out", &path("teacher"), "--widths", "1.0"]].concat()));
    let train = |method: &str, options: &[&str]| {
        let student = ["--method", method, "--hidden", "16", "--widths", "1.0,0.5", "--distill", "none", "--bag", "2"];
        pretrain(&[&data[..], &student, options, &["--out", &path(method)]].concat())
    };
    for method in ["seed", "kd", "disco", "bingo", "compress"] {
        refuses(&train(method, &[]), "the method needs a trained teacher: name a run's folder or a file of weights");
        succeeds(&train(method, &["--teacher", &path("teacher")]));
        let run = folder.path().join(method);
        assert_eq!(losses(&run).len(), 6, "{method}");
        #[cfg(unix)]
        assert!(fs::metadata(run.join("teacher")).unwrap().nlink() > 1, "{method}: the teacher takes space twice");
        assert!(run.join("teacher").is_file() && run.join("bags.safetensors").is_file() == (method == "bingo"));
        succeeds(&slimclr(&["evaluate", &text(&run), "--probe-epochs", "2"]));
    }
    succeeds(&train("swav", &["--prototypes", "4", "--queue", "0", "--small-crops", "1", "--small-size", "8"]));
    succeeds(&train("simdis", &["--targets", "sema-dv"]));
    // CompRess compares with features that it has computed once, also when it is resumed.
    let cached =
        [&data[..], &["--method", "compress", "--widths", "1.0", "--distill", "none", "--cached-teacher"]].concat();
    let of_views = pretrain(
        &[&cached[..], &["--cached-teacher=false", "--teacher", &path("teacher"), "--out", &path("views")]].concat(),
    );
    succeeds(&of_views);
    succeeds(&pretrain(&[&cached[..], &["--teacher", &path("teacher"), "--out", &path("cached")]].concat()));
    let [views, cached] = ["views", "cached"].map(|name| folder.path().join(name));
    assert_ne!(losses(&cached), losses(&views));
    let features = cached.join("teacher_features.safetensors");
    let written = fs::metadata(&features).unwrap().modified().unwrap();
    succeeds(&slimclr(&["pretrain", "--resume", &text(&cached)]));
    assert_eq!(fs::metadata(&features).unwrap().modified().unwrap(), written, "they were computed again");
    let with_seed = ["--method", "seed", "--cached-teacher", "--teacher", &path("teacher"), "--out", &path("seeded")];
    refuses(&pretrain(&[&data[..], &with_seed].concat()), "cached_teacher is an option of compress alone");
    // Offline, from a teacher that was trained so, with its moving average.
    let offline = ["--method", "simdis", "--hidden", "16", "--widths", "1.0", "--distill", "none"];
    let teacher = ["--teacher", &path("simdis"), "--targets", "sema-dv,tema-dv", "--out", &path("offline")];
    succeeds(&pretrain(&[&data[..], &offline, &teacher].concat()));
    // Or from a file of its authors, which has the moving average under another name.
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/pytorch/simdis.pth");
    let teacher = ["--teacher", &text(&file), "--dim", "10", "--targets", "tema-dv", "--out", &path("published")];
    succeeds(&pretrain(&[&data[..], &offline, &teacher].concat()));

    refuses(&train("mocov3", &["--teacher", &path("teacher")]), "the method uses no teacher: leave --teacher out");
    let other = ["--teacher", &path("teacher"), "--dim", "16"];
    let refused = pretrain(&[&data[..], &["--method", "seed", "--out", &path("other")], &other].concat());
    refuses(&refused, "cannot be the teacher: its embeddings have 8 dimensions, but the student's have 16");
    let large_bags = ["--method", "bingo", "--teacher", &path("teacher"), "--bag", "30", "--distill", "none"];
    for how in [&["--dry-run"][..], &["--out", &path("other")]] {
        let refused = pretrain(&[&data[..], &large_bags, how].concat());
        refuses(&refused, "bag = 30 needs more than 30 training images, but there are 30");
    }
    assert!(!folder.path().join("other").exists());

    // The run has its own copy.
    fs::remove_dir_all(folder.path().join("teacher")).unwrap();
    let longer = path("longer");
    let copy = path("seed/teacher");
    succeeds(&pretrain(&[&data[..], &["--method", "seed", "--teacher", &copy, "--out", &longer]].concat()));
    let resumed = slimclr(&["pretrain", "--resume", &path("bingo")]);
    succeeds(&resumed);
    assert_eq!(events(&folder.path().join("bingo")).iter().filter(|event| event["event"] == "started").count(), 2);
    assert!(!stderr(&resumed).contains("making the bags"), "{}", stderr(&resumed));
    fs::remove_file(folder.path().join("seed/teacher")).unwrap();
    refuses(&slimclr(&["pretrain", "--resume", &path("seed")]), "the run's copy of its teacher, is gone");
}
