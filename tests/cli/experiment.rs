use std::fs;

use serde_json::Value;

use crate::program::{TINY, interrupted, losses, refuses, slimclr, stderr, succeeds, text};

#[test]
fn an_experiment_is_interrupted_resumed_and_tabulated() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("experiment"));
    let small = ["--data", "embedded", "--images", "200", "--widths", "1.0,0.5", "--out", &out];
    let common = [&["experiment", "cifar10"], TINY, &small].concat();
    let experiment = |options: &[&str]| slimclr(&[&common[..], options].concat());
    let arms = ["--epochs", "4", "--arms", "naive,slimclr,alone-0.5"];

    // Interrupts the second arm, because then the Ctrl-C handler is that of an earlier run.
    let second = folder.path().join("experiment/naive-seed0");
    let stopped = interrupted(&[&common[..], &arms].concat(), &second);
    assert!(
        stopped.contains("arm 1 of 3: alone-0.5-seed0") && stopped.contains("arm 2 of 3: naive-seed0"),
        "{stopped}"
    );
    assert!(stopped.contains("resume with: slimclr experiment cifar10 --preset mini"), "{stopped}");
    let table = || fs::read_to_string(folder.path().join("experiment/results.md")).unwrap();
    let row = |title: &str| {
        let table = table();
        let row = table.lines().find(|line| line.starts_with(&format!("| {title} |")));
        row.unwrap_or_else(|| panic!("'{title}' is not in {table}")).to_owned()
    };
    assert!(row("naive-seed0").contains(" of 100 steps "), "{}", table());
    let alone = row("each width alone");
    let before = losses(&second);

    let output = experiment(&arms);
    succeeds(&output);
    assert!(stderr(&output).contains("arm alone-0.5-seed0 is already done"), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("SlimCLR: all three"));
    let all = losses(&second);
    assert!(all.len() == 100 && all.starts_with(&before), "the arm did not resume");
    assert_eq!(row("each width alone"), alone);
    let is_number = |cell: &str| cell.trim().parse::<f64>().is_ok();
    for (title, numbers) in [("each width alone", 1), ("slimmable, naive", 2), ("SlimCLR: all three", 2)] {
        assert_eq!(row(title).split('|').filter(|cell| is_number(cell)).count(), numbers, "{}", table());
    }
    assert!(row("slimclr-seed0").contains(" done ") && row("images").contains("200 training, 1,500 test"));
    let json = fs::read(folder.path().join("experiment/results.json")).unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["arms"].as_array().unwrap().len(), 3);
    assert_eq!(json["arms"][2]["evaluated"][1]["width"], 0.5);
    let networks = json["networks"].as_array().unwrap();
    let slimclr_network = networks.iter().find(|it| it["variant"] == "slimclr" && it["width"] == 0.5).unwrap();
    let measures = ["probe", "probe_slimmable", "knn", "ridge", "cross_entropy", "contrastive_top1", "rankme"];
    assert!(measures.iter().all(|it| slimclr_network["measures"][it]["mean"].is_f64()), "{slimclr_network}");
    assert!(slimclr_network["minus_naive"]["knn"]["mean"].is_f64(), "{slimclr_network}");
    let gradients = json["gradients"].as_array().unwrap();
    assert_eq!(gradients.iter().map(|it| &it["variant"]).collect::<Vec<_>>(), ["naive", "slimclr"]);
    assert!(gradients.iter().all(|it| it["winding"][1]["mean"].is_f64()), "{gradients:?}");
    let files = [
        "report.html",
        "figures/figure3.svg",
        "figures/figure4.png",
        "figures/figure5.svg",
        "figures/cosines.png",
        "recordings/alone-0.5-seed0.jsonl.gz",
    ];
    for path in files.map(|name| folder.path().join("experiment").join(name)) {
        assert!(path.is_file(), "{} is missing", path.display());
    }
    // An arm is an ordinary run.
    succeeds(&slimclr(&["export", &format!("{out}/alone-0.5-seed0"), "--width", "1"]));

    // Another seed adds to the first.
    succeeds(&experiment(&["--epochs", "4", "--arms", "alone-0.5", "--seeds", "1"]));
    assert!(row("each width alone").contains(" ± "), "{}", table());
    assert!(row("slimmable, naive").contains("(1 of 2 seeds)"), "{}", table());

    let other = experiment(&["--epochs", "5", "--images", "300", "--device", "auto"]);
    refuses(&other, "epochs = 5.0 (it was started with 4.0), images = 300 (it was started with 200)");
    refuses(&experiment(&["--arms", "mocov9"]), "there is no arm 'mocov9': choose from untrained, alone-1.0, ");
    refuses(&experiment(&["--seed", "1"]), "each arm sets --seed itself");
    refuses(&experiment(&["--slow-start", "0.2"]), "each arm sets --slow-start itself");
    refuses(&experiment(&["--images", "4000"]), "--images 4000 is more than the 3050 training images");
    refuses(&experiment(&["--data", "/no/such/folder"]), "slimclr data cifar10");
}

#[test]
fn an_arm_that_fails_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("experiment"));
    // The supervised arm has another learning rate, so it does not diverge.
    let small = ["--data", "embedded", "--images", "100", "--widths", "1.0,0.5", "--epochs", "1", "--out", &out];
    let arms = ["--learning-rate", "1e30", "--warmup", "0", "--arms", "naive,supervised"];
    let output = slimclr(&[&["experiment", "cifar10"], TINY, &small, &arms].concat());
    refuses(&output, "1 of 2 arms failed: naive-seed0; see why in ");
    let table = fs::read_to_string(folder.path().join("experiment/results.md")).unwrap();
    assert!(table.contains("| slimmable, naive | failed | failed |"), "{table}");
    assert!(table.contains("| naive-seed0 | failed: training has diverged: the loss of width"), "{table}");
    assert!(table.contains("| supervised-seed0 | done |"), "{table}");
}

#[test]
fn methods_are_interrupted_resumed_and_tabulated() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("experiment"));
    let small = ["--data", "embedded", "--images", "64", "--widths", "1.0,0.5", "--epochs", "2", "--out", &out];
    let students = ["--students", "0.5", "--teacher-multiplier", "2"];
    let common = [&["experiment", "methods"], TINY, &small, &students].concat();
    let experiment = |options: &[&str]| slimclr(&[&common[..], options].concat());
    let tables = || fs::read_to_string(folder.path().join("experiment/results.md")).unwrap();
    let rows = |start: &str| -> Vec<String> {
        let tables = tables();
        tables.lines().filter(|line| line.starts_with(start)).map(String::from).collect()
    };

    // Interrupts a student, which must resume with its teacher.
    let student = folder.path().join("experiment/seed-0.5-seed0");
    let stopped = interrupted(&common, &student);
    assert!(stopped.contains("arm 1 of 13: teacher") && stopped.contains("arm 2 of 13: seed-0.5-seed0"), "{stopped}");
    assert!(stopped.contains("resume with: slimclr experiment methods --preset mini"), "{stopped}");
    let before = losses(&student);

    let output = experiment(&[]);
    succeeds(&output);
    assert!(stderr(&output).contains("arm teacher is already done"), "{}", stderr(&output));
    let all = losses(&student);
    assert!(all.len() == 16 && all.starts_with(&before), "the arm did not resume");
    for title in ["SEED", "DisCo", "BINGO", "CompRess", "SimDis", "BYOL", "KD", "Shi et al.", "SwAV"] {
        // Accuracy, time, and other measures; no student of width 1.0 was asked for.
        assert_eq!(rows(&format!("| {title} |")).len(), 3, "{}", tables());
    }
    let slimclr_rows = rows("| SlimCLR-MoCo v2 |");
    assert_eq!(slimclr_rows.len(), 5, "{}", tables());
    assert!(slimclr_rows[0].starts_with("| SlimCLR-MoCo v2 | CIFAR ResNet-8 | – | "), "{}", slimclr_rows[0]);
    let seed = &rows("| SEED |")[0];
    assert!(seed.starts_with("| SEED | CIFAR ResNet-8 x0.5 | CIFAR ResNet-8 x2 | "), "{seed}");
    assert!(!tables().contains("failed"), "{}", tables());
    let json = fs::read(folder.path().join("experiment/results.json")).unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["networks"].as_array().unwrap().len(), 2 + 11);
    assert_eq!(json["arms"].as_array().unwrap().len(), 13);
    for file in ["accuracy-by-time.svg", "accuracy-by-time.png"] {
        assert!(folder.path().join("experiment/figures").join(file).is_file(), "{file}");
    }

    // Another seed adds to the first.
    succeeds(&experiment(&["--arms", "slimclr-mocov2", "--seeds", "1"]));
    assert!(rows("| SlimCLR-MoCo v2 |")[0].contains(" ± "), "{}", tables());
    assert!(rows("| SEED |")[0].contains("(1 of 2 seeds)"), "{}", tables());

    refuses(&experiment(&["--arms", "seed,moco"]), "there is no arm 'moco': choose from seed, disco, ");
    refuses(&experiment(&["--students", "0.3"]), "--students 0.3 is not among the widths: choose from 1.0, 0.5");
    refuses(&experiment(&["--seeds", "1,1"]), "--seeds has 1 twice");
    refuses(&experiment(&["--learning-rate", "0.1"]), "each arm sets --learning-rate itself");
    // The teacher's embeddings have 8 dimensions.
    let teacher = format!("{out}/teacher");
    let other = text(&folder.path().join("other"));
    let with_teacher = ["--teacher", &teacher, "--arms", "kd", "--out", &other];
    refuses(&experiment(&[&with_teacher[..], &["--dim", "4"]].concat()), "set --dim 8");
    assert!(!folder.path().join("other").exists());
    succeeds(&experiment(&with_teacher));
    let tables = fs::read_to_string(folder.path().join("other/results.md")).unwrap();
    assert!(tables.contains(&format!("The teacher is a CIFAR ResNet-8 x2, trained before: {teacher}.")), "{tables}");
    refuses(&experiment(&["--teacher", &teacher]), "holds an experiment with other options: teacher = ");
}
