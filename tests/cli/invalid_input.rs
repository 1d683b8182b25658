use std::fs;

use crate::program::{pretrain, refuses, slimclr, text};

#[test]
fn invalid_options_are_named() {
    refuses(&pretrain(&["--queue", "20"]), "queue = 20 is not divisible by batch = 8");
    refuses(&pretrain(&["--widths", "1.0,1.5"]), "width 1.5 is outside (0, 1]");
    refuses(&pretrain(&["--widths", "1.0,0.0"]), "width 0 is outside (0, 1]");
    refuses(&pretrain(&["--widths", "1.0,0.01"]), "width 0.01 leaves none of a layer's 16 channels");
    refuses(&pretrain(&["--multiplier", "0.05"]), "multiplier 0.05 leaves none of a layer's 16 channels");
    refuses(&pretrain(&["--multiplier", "0"]), "multiplier = 0 must be above 0 and at most 64");
    refuses(&pretrain(&["--depth", "21"]), "no depth 21");
    refuses(
        &pretrain(&["--batch", "4000", "--queue", "4000"]),
        "batch = 4000 is larger than the data set of 3050 images",
    );
    refuses(&pretrain(&["--temperature", "0"]), "temperature = 0 must be above 0");
    refuses(&pretrain(&["--bn-splits", "3"]), "does not divide into bn_splits = 3");
    refuses(&pretrain(&["--reweighting", "4"]), "there is no loss reweighting 4");
    refuses(&pretrain(&["--device", "abacus"]), "choose auto, cpu, vulkan, webgpu or cuda");
    refuses(&pretrain(&["--device", "cpu:x"]), "'x' is not a number");
    refuses(&pretrain(&["--data", "/no/such/folder"]), "there is no such folder");
    refuses(&slimclr(&["evaluate", "/no/such/run"]), "/no/such/run does not exist");
    refuses(&slimclr(&["profile", "/no/such/run"]), "/no/such/run does not exist");
    refuses(&slimclr(&["profile", "/no/such/run", "--depth", "8"]), "cannot be used with");
    refuses(&slimclr(&["demo", "--minutes", "-1"]), "error");
    refuses(&slimclr(&["evaluate", "runs/any", "--probe-rate", "0"]), "probe-rate = 0 must be above 0");
    refuses(&slimclr(&["evaluate", "runs/any", "--ridge-lambda", "0"]), "--ridge-lambda 0 must be a number above 0");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    fs::write(&file, "batchsize = 3").unwrap();
    refuses(&pretrain(&["--config", &text(&file)]), "there is no option 'batchsize'");
    fs::write(&file, "epochs = \"many\"").unwrap();
    refuses(&pretrain(&["--config", &text(&file)]), "wrong type");
    fs::write(&file, "epochs = ").unwrap();
    refuses(&pretrain(&["--config", &text(&file)]), "not valid TOML");
}
