//! `slimclr embed`.

use std::{fs, path::Path};

use safetensors::SafeTensors;

use crate::program::{image_folder, pretrain, refuses, slimclr, stderr, succeeds, text};

/// Returns the shape and the values' bytes of an array in a NumPy file.
fn numpy(path: &Path) -> (String, Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00");
    let header = String::from_utf8(bytes[10..128].to_vec()).unwrap();
    assert!(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': ("), "{header}");
    let (_, shape) = header.split_once("'shape': ").unwrap();
    (shape.trim_end_matches([',', ' ', '}', '\n']).to_owned(), bytes[128..].to_vec())
}

#[test]
fn features_are_those_that_evaluations_use() {
    let folder = tempfile::tempdir().unwrap();
    let [run, out] = ["run", "all.safetensors"].map(|name| text(&folder.path().join(name)));
    succeeds(&pretrain(&["--epochs", "0.01", "--out", &run]));
    succeeds(&slimclr(&["evaluate", &run, "--probe-epochs", "1"]));
    succeeds(&slimclr(&["embed", &run, "--data", "embedded", "--width", "all", "--out", &out]));
    let [evaluated, embedded] =
        [folder.path().join("run/features.safetensors"), out.into()].map(|path| fs::read(path).unwrap());
    let [evaluated, embedded] = [&evaluated, &embedded].map(|bytes| SafeTensors::deserialize(bytes).unwrap());
    for (index, name) in ["w1", "w0.75", "w0.5", "w0.25"].into_iter().enumerate() {
        let parts = ["train", "test"].map(|split| evaluated.tensor(&format!("{split}.{index}")).unwrap());
        let [train, test] = parts.each_ref().map(|part| part.data());
        let tensor = embedded.tensor(name).unwrap();
        assert_eq!(tensor.shape(), [4550, parts[0].shape()[1]]);
        assert!(tensor.data() == [train, test].concat(), "{name} differs");
    }
    assert_eq!(embedded.tensor("labels").unwrap().shape(), [4550]);
}

#[test]
fn a_folder_is_embedded_without_its_damaged_images() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let [run, images] = ["run", "images"].map(|name| text(&path(name)));
    succeeds(&pretrain(&["--epochs", "0.01", "--out", &run]));
    image_folder(&path("images"), &["a, b", "c"], 12, 12);
    let damaged = path("images/c/003.png");
    let bytes = fs::read(&damaged).unwrap();
    fs::write(&damaged, &bytes[..bytes.len() - 60]).unwrap();
    let embed = |out: &str, flags: &[&str]| {
        slimclr(&[&["embed", &run, "--data", &images, "--out", &text(&path(out))], flags].concat())
    };

    let output = embed("half.npy", &["--width", "0.5"]);
    succeeds(&output);
    assert!(stderr(&output).contains("left out, damaged: c/003.png"), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("half.npy  3.07 kB  23 x 32"), "{output:?}");
    let (shape, half) = numpy(&path("half.npy"));
    assert_eq!((shape.as_str(), half.len()), ("(23, 32)", 23 * 32 * 4));
    let list = fs::read_to_string(path("half.csv")).unwrap();
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!((lines[0], lines.len()), ("split,index,path,label,class", 24));
    assert!(lines.contains(&"train,0,\"a, b/000.png\",0,\"a, b\"") && !list.contains("c/003.png"), "{list}");

    succeeds(&embed("each.npy", &["--width", "all"]));
    assert_eq!(numpy(&path("each-w0.5.npy")), ("(23, 32)".into(), half));
    assert_eq!(numpy(&path("each-w1.npy")).0, "(23, 64)");
    succeeds(&embed("one.safetensors", &[]));
    let one = fs::read(path("one.safetensors")).unwrap();
    let full = SafeTensors::deserialize(&one).unwrap().tensor("features").unwrap().data().to_vec();
    assert_eq!(numpy(&path("each-w1.npy")).1, full);

    refuses(&embed("half.npy", &[]), "half.npy already exists: overwrite it with --force");
    refuses(&embed("half.safetensors", &[]), "half.csv already exists: overwrite it with --force");
    succeeds(&embed("half.npy", &["--force"]));
    assert_eq!(numpy(&path("half.npy")).1, full);
    refuses(&embed("half.parquet", &[]), "name a .npy or a .safetensors file");
    for taken in ["taken.npy", "list.csv"] {
        fs::create_dir(path(taken)).unwrap();
        let out = Path::new(taken).with_extension("npy");
        refuses(&embed(&text(&out), &["--force"]), &format!("{taken} is a folder: name a file with --out"));
    }
    assert!(!path("list.npy").exists(), "features without their list are left");
    refuses(&embed("new.npy", &["--width", "0.3"]), "has no width 0.3: choose from 1, 0.75, 0.5, 0.25");
    // Most of these are damaged: one has no pixel, and the first bytes of others are intact.
    image_folder(&path("few"), &[""], 4, 12);
    fs::write(path("few/000.png"), "").unwrap();
    for file in ["few/001.jpg", "few/003.png"].map(&path) {
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() - 60]).unwrap();
    }
    let few = slimclr(&["embed", &run, "--data", &text(&path("few")), "--out", &text(&path("few.npy"))]);
    succeeds(&few);
    assert_eq!(numpy(&path("few.npy")).0, "(1, 64)", "{}", stderr(&few));
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().starts_with(".slimclr-")), "a temporary file is left");
}

#[test]
fn a_network_of_another_program_embeds_unlabelled_images() {
    let folder = tempfile::tempdir().unwrap();
    image_folder(&folder.path().join("images"), &[""], 20, 12);
    let network = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/pytorch/lightning.ckpt");
    let [images, out] = ["images", "features.npy"].map(|name| text(&folder.path().join(name)));
    let output = slimclr(&["embed", &text(&network), "--data", &images, "--out", &out, "--device", "cpu"]);
    succeeds(&output);
    let (shape, _) = numpy(Path::new(&out));
    assert!(shape.starts_with("(20, "), "{shape}");
    let list = fs::read_to_string(folder.path().join("features.csv")).unwrap();
    assert!(list.contains("train,0,000.png,,\n"), "{list}");
}
