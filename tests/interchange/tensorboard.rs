use std::fs;

use crate::{
    program::{TINY, image_folder, interrupted, slimclr, succeeds, text},
    python,
};

#[test]
#[ignore = "needs TensorBoard: cargo xtask test"]
fn tensorboard_reads_each_step_of_a_resumed_run_once() {
    let folder = tempfile::tempdir().unwrap();
    let (run, images, board) = (folder.path().join("run"), folder.path().join("images"), folder.path().join("board"));
    image_folder(&images, &["a", "b"], 60, 12);
    let [out, data, written] = [&run, &images, &board].map(|path| text(path));
    let arguments = ["--data", &data, "--epochs", "60", "--interference", "--out", &out, "--tensorboard", &written];
    interrupted(&[&["pretrain"], TINY, &arguments].concat(), &run);
    succeeds(&slimclr(&["pretrain", "--resume", &out, "--tensorboard", &written]));
    python("check_tensorboard.py", &[board, run.join("events.jsonl")]);

    // The folder of a run that began without: what is in its log comes first.
    let (run, out) = (folder.path().join("later"), text(&folder.path().join("later")));
    interrupted(&[&["pretrain"], TINY, &["--data", &data, "--epochs", "60", "--out", &out]].concat(), &run);
    succeeds(&slimclr(&["pretrain", "--resume", &out, "--tensorboard"]));
    assert!(fs::read_dir(run.join("tensorboard")).unwrap().count() > 4);
    python("check_tensorboard.py", &[run.join("tensorboard"), run.join("events.jsonl")]);
}
