//! Networks of other programs, and files that are none.

use std::{fs, path::PathBuf};

use crate::program::{image_folder, pretrain, refuses, slimclr, stderr, succeeds, text};

/// Returns the path of a network that PyTorch wrote.
fn fixture(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/pytorch");
    text(&folder.join(name))
}

/// Options of the fixtures' ResNet-50, of one channel.
const RESNET50: &[&str] = &["--backbone", "resnet", "--depth", "50", "--multiplier", "0.015625", "--widths", "1.0"];

#[test]
fn a_network_opens_whatever_its_file_is_called() {
    let folder = tempfile::tempdir().unwrap();
    for (fixture_name, name, description) in [
        ("resnet50.safetensors", "resnet50.pth", "resnet50.pth: ResNet-50 x0.015625 below its root"),
        ("resnet50.safetensors", "X.SAFETENSORS", "X.SAFETENSORS: ResNet-50 x0.015625 below its root"),
        ("lightning.ckpt", "weights.safetensors", "weights.safetensors: ResNet-18 x0.015625 below state_dict.model"),
        ("mocov2.pth.tar", "weights", "weights: CIFAR ResNet-8 x0.125 below state_dict.encoder_q"),
    ] {
        let path = folder.path().join(name);
        fs::copy(fixture(fixture_name), &path).unwrap();
        let output = slimclr(&["profile", &text(&path)]);
        succeeds(&output);
        assert!(stderr(&output).contains(description), "{}", stderr(&output));
    }
}

#[test]
fn files_that_are_no_networks_are_refused_by_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let intact = fs::read(fixture("resnet50.safetensors")).unwrap();
    let cut = format!("it was cut short at 30000 of {} bytes", intact.len());
    for (name, bytes, sentence) in [
        ("a.pth", &b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 97781949\n"[..], "`git lfs pull`"),
        ("b.safetensors", b"<!DOCTYPE html><html></html>", "it is an HTML page: "),
        ("c.pth", b"\x1f\x8b\x08\0", "it is compressed with gzip: unpack it with gunzip"),
        ("d.pth", b"", "it is empty: copy or download it again"),
        ("e.safetensors", &intact[..30000], &cut),
        ("f.pth", &fs::read(fixture("mocov2.pth.tar")).unwrap()[..40000], "it was cut short at 40000 bytes"),
    ] {
        let path = text(&folder.path().join(name));
        fs::write(&path, bytes).unwrap();
        let output = slimclr(&["evaluate", &path]);
        refuses(&output, &format!("{path} cannot be used: "));
        refuses(&output, sentence);
    }
    let pointer = text(&folder.path().join("a.pth"));
    refuses(&slimclr(&["export", &pointer, "--width", "1"]), "it is a Git LFS pointer");
    refuses(&pretrain(&["--init", &pointer]), "it is a Git LFS pointer");
}

#[test]
fn a_run_starts_from_a_plain_network() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("run"));
    let init = fixture("resnet50.safetensors");
    let start = |options: &[&str]| pretrain(&[&["--epochs", "0.01", "--init", &init, "--out", &out], options].concat());
    refuses(&start(&[]), "is ResNet-50 x0.015625: choose another file, or set --backbone resnet --depth 50");
    let output = start(RESNET50);
    succeeds(&output);
    let line = "resnet50.safetensors: backbone; the head has other layers, so it starts anew";
    assert!(stderr(&output).contains(line), "{}", stderr(&output));
}

#[test]
fn a_plain_network_is_evaluated_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    image_folder(&images, &["a", "b"], 12, 12);
    let network = fixture("lightning.ckpt");
    let options = ["--data", &text(&images), "--device", "cpu", "--knn", "3", "--probe-epochs", "1"];
    let output = slimclr(&[&["evaluate", &network], &options[..]].concat());
    succeeds(&output);
    assert!(String::from_utf8_lossy(&output.stdout).contains("kNN"));
    succeeds(&slimclr(&["export", &network, "--width", "1", "--out", &text(folder.path())]));
    // What was exported opens too.
    let exported = text(&folder.path().join("resnet18x0.015625-w1.safetensors"));
    succeeds(&slimclr(&["profile", &exported]));
}
