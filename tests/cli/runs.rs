use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use crate::program::{TINY, pretrain, program, refuses, slimclr, stderr, succeeds, text};

#[test]
fn runs_are_listed_with_their_state_and_accuracy() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let list = || slimclr(&["runs", &text(&runs)]);
    refuses(&list(), "there is no folder");
    fs::create_dir(&runs).unwrap();
    refuses(&list(), "there is no run in");

    for (run, flags) in [("mini-10", &[][..]), ("arms/mini-2", &["--method", "simclr", "--widths", "1.0"])] {
        let out = text(&runs.join(run));
        succeeds(&pretrain(&[&["--epochs", "0.01", "--hidden", "8", "--out", &out], flags].concat()));
    }
    let damaged = runs.join("damaged");
    fs::create_dir(&damaged).unwrap();
    fs::write(damaged.join("config.toml"), "batch = ").unwrap();
    refuses(&slimclr(&["runs", &text(&damaged)]), "can be read");

    let mut running = program()
        .arg("pretrain")
        .args(TINY)
        .args(["--epochs", "1000", "--evaluate-every", "0", "--out", &text(&runs.join("mini-3"))])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = BufReader::new(running.stderr.take().unwrap()).lines().any(|line| line.unwrap().contains("step 1 "));
    let while_running = list();
    assert!(Command::new("kill").args(["-9", &running.id().to_string()]).status().unwrap().success());
    running.wait().unwrap();
    assert!(started, "the run has not started");

    succeeds(&while_running);
    assert!(stderr(&while_running).contains("config.toml"), "{}", stderr(&while_running));
    let rows = |output: Vec<u8>| -> Vec<Vec<String>> {
        let table = String::from_utf8(output).unwrap();
        table.lines().skip(3).map(|line| line.split_whitespace().map(String::from).collect()).collect()
    };
    let listed = rows(while_running.stdout);
    let firsts = |row: &Vec<String>| row[..3].join(" ");
    let expected = ["arms/mini-2 simclr finished", "mini-3 mocov2 running", "mini-10 mocov2 finished"];
    assert_eq!(listed.iter().map(firsts).collect::<Vec<_>>(), expected);
    // A plain network has no narrower width.
    assert!(listed[0][5].ends_with('%') && listed[0][6] == "-", "{listed:?}");
    assert!(listed[2][3] == listed[2][4] && listed[2][6].ends_with('%'), "{listed:?}");
    assert_eq!(firsts(&rows(list().stdout)[1]), "mini-3 mocov2 stopped");
}
