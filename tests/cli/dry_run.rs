use std::fs;

use crate::program::{pretrain, refuses, slimclr, stderr, succeeds, text};

#[test]
fn a_dry_run_says_what_a_run_takes_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = pretrain(&["--epochs", "2", "--dry-run", "--out", &text(&folder.path().join("run"))]);
    succeeds(&output);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{}", stderr(&output));
    let plan = String::from_utf8(output.stdout).unwrap();
    for part in [
        "3050 training images",
        "762: 2 epochs of 381 steps, 8 images each",
        "width",
        "time here",
        "whole run",
        "B of main memory",
    ] {
        assert!(plan.contains(part), "{part} is not in: {plan}");
    }
    succeeds(&pretrain(&["--epochs", "1e9", "--dry-run"]));
    refuses(&slimclr(&["pretrain", "--resume", "runs/none", "--dry-run"]), "cannot be used with");
}
