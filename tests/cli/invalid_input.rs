use std::fs;

use crate::program::{pretrain, refuses, slimclr, succeeds, text};

#[test]
fn invalid_options_are_named() {
    refuses(&pretrain(&["--queue", "20"]), "queue = 20 is not divisible by batch = 8");
    refuses(&pretrain(&["--widths", "1.0,1.5"]), "width 1.5 must be above 0 and at most 1");
    refuses(&pretrain(&["--widths", "1.0,0.0"]), "width 0 must be above 0 and at most 1");
    refuses(&pretrain(&["--widths", "1.0,0.01"]), "width 0.01 leaves none of a layer's 16 channels");
    refuses(&pretrain(&["--multiplier", "0.05"]), "multiplier 0.05 leaves none of a layer's 16 channels");
    refuses(&pretrain(&["--multiplier", "0"]), "multiplier = 0, but it must be above 0 and at most 64");
    refuses(&pretrain(&["--depth", "21"]), "no depth 21");
    refuses(
        &pretrain(&["--batch", "4000", "--queue", "4000"]),
        "batch = 4000 is larger than the data set of 3050 images",
    );
    refuses(&pretrain(&["--temperature", "0"]), "temperature = 0, but it must be above 0");
    refuses(&pretrain(&["--bn-splits", "3"]), "cannot be divided into bn_splits = 3");
    refuses(&pretrain(&["--reweighting", "4"]), "there is no loss reweighting 4");
    refuses(&pretrain(&["--device", "abacus"]), "choose auto, cpu, vulkan, webgpu or cuda");
    refuses(&pretrain(&["--device", "cpu:x"]), "'x' is not a number");
    refuses(&pretrain(&["--data", "/no/such/folder"]), "there is no such folder");
    refuses(&slimclr(&["evaluate", "/no/such/run"]), "/no/such/run does not exist");
    refuses(&slimclr(&["profile", "/no/such/run"]), "/no/such/run does not exist");
    refuses(&slimclr(&["profile", "/no/such/run", "--depth", "8"]), "cannot be used with");
    refuses(&pretrain(&["--accept-changed-images", "--out", "/no/such/run"]), "cannot be used with");
    refuses(&slimclr(&["evaluate", "runs/any", "--probe-rate", "0"]), "probe-rate = 0, but it must be above 0");
    refuses(&slimclr(&["evaluate", "runs/any", "--ridge-lambda", "0"]), "--ridge-lambda 0 must be a number above 0");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    fs::write(&file, "batchsize = 3").unwrap();
    refuses(&pretrain(&["--config", &text(&file)]), "there is no option 'batchsize'");
    fs::write(&file, "epochs = \"many\"").unwrap();
    refuses(
        &pretrain(&["--config", &text(&file)]),
        "run.toml: epochs = \"many\", but it must be a number, such as 200.0",
    );
    fs::write(&file, "learning-rate = 0.1").unwrap();
    refuses(
        &pretrain(&["--config", &text(&file)]),
        "run.toml: there is no option 'learning-rate': did you mean learning_rate?",
    );
    fs::write(&file, "epochs = ").unwrap();
    refuses(&pretrain(&["--config", &text(&file)]), "not valid TOML");
}

#[test]
fn numbers_are_refused_in_plain_words() {
    for (option, value, sentence) in [
        ("--learning-rate", "-0.1", "learning_rate = -0.1, but it must be 0 or more"),
        ("--learning-rate", "fast", "this is not a number; write one such as 0.5"),
        ("--learning-rate", "nan", "learning_rate = NaN, but it must be 0 or more"),
        ("--learning-rate", "1e999", "learning_rate = inf, but it must be finite"),
        ("--temperature", "inf", "temperature = inf, but it must be finite"),
        ("--epochs", "-1", "epochs = -1, but it must be above 0"),
        ("--epochs", "1e18", "epochs = 1000000000000000000, but it must be at most 1000000000"),
        ("--epochs", "", "this is not a number"),
        ("--evaluate-every", "-1", "evaluate_every = -1, but it must be 0 or more"),
        ("--batch", "many", "this is not a whole number; write one such as 256"),
        ("--batch", "0.5", "this is not a whole number"),
        ("--batch", "-8", "it must be 0 or more"),
        ("--batch", "0", "batch = 0, but it must be between 1 and 65536"),
        ("--batch", "100000", "batch = 100000, but it must be between 1 and 65536"),
        ("--batch", "100000000000000000000", "it is too large"),
        ("--seed", "-1", "it must be 0 or more"),
        ("--widths", "1.0,x", "this is not a number"),
        ("--widths", "1.0 0.5", "this is not a number"),
        ("--widths", "", "this is not a number"),
        ("--widths", "0", "width 0 must be above 0 and at most 1"),
        ("--widths", "1.0,-0.5", "width -0.5 must be above 0 and at most 1"),
        ("--widths", "1.0,0.5,0.5", "widths must descend without repeats, but 0.5 follows 0.5"),
        ("--milestones", "1,-2", "milestones = -2, but it must be 0 or more"),
    ] {
        refuses(&pretrain(&[option, value]), sentence);
    }
    refuses(&slimclr(&["demo", "--minutes", "-1"]), "--minutes -1 must be a number above 0");
    refuses(&slimclr(&["landscape", "runs/any", "--cells", "many"]), "this is not a whole number");
    succeeds(&slimclr(&["profile", "--widths", "1.0, 0.5"]));
}

#[test]
fn a_file_is_no_folder_for_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = text(&folder.path().join("file"));
    fs::write(&file, "").unwrap();
    refuses(&pretrain(&["--out", &file]), "file is a file: choose another folder with --out");
    refuses(&pretrain(&["--out", &format!("{file}/run")]), "cannot create the folder");
    refuses(&pretrain(&["--out", ""]), "a value is required for '--out <FOLDER>'");
    refuses(&pretrain(&["--preset", "cifar"]), "possible values: mini, cifar10, ");
}
