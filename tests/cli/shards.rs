use std::{
    fs::{self, File},
    io::Cursor,
    path::Path,
};

use image::{ImageFormat, Rgb, RgbImage};

use crate::program::{
    TINY, events, image_folder, interrupted, losses, pretrain, program, refuses, slimclr, stderr, succeeds, text,
};

/// An encoded image, different for each number.
fn picture(number: usize, format: ImageFormat) -> Vec<u8> {
    let pixels = RgbImage::from_fn(12, 12, |x, y| {
        let shade = (x * 7 + y * 13 + number as u32 * 29) as u8;
        Rgb([shade, shade.wrapping_mul(3), (number % 2 * 90) as u8])
    });
    let mut file = Cursor::new(Vec::new());
    pixels.write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// Writes a shard as Python's `tarfile` does in the given format: `ustar`, `gnu` or `pax`.
fn shard(path: &Path, format: &str, members: &[(String, Vec<u8>)]) {
    let mut shard = tar::Builder::new(File::create(path).unwrap());
    for (name, bytes) in members {
        let mut header = if format == "gnu" { tar::Header::new_gnu() } else { tar::Header::new_ustar() };
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        if format == "pax" {
            shard.append_pax_extensions([("mtime", &b"1700000000.25"[..]), ("path", name.as_bytes())]).unwrap();
            header.set_path("truncated").unwrap();
            header.set_cksum();
            shard.append(&header, &bytes[..]).unwrap();
        } else {
            shard.append_data(&mut header, name, &bytes[..]).unwrap();
        }
    }
    shard.finish().unwrap();
}

/// The members of `images` samples from number `first` on, of two classes.
fn samples(first: usize, images: usize) -> Vec<(String, Vec<u8>)> {
    let sample = |number: usize| {
        let (extension, format) = [("jpg", ImageFormat::Jpeg), ("png", ImageFormat::Png)][number % 2];
        [
            (format!("{number:05}.{extension}"), picture(number, format)),
            (format!("{number:05}.cls"), (number / 2 % 2).to_string().into_bytes()),
            (format!("{number:05}.json"), b"{}".to_vec()),
        ]
    };
    (first..first + images).flat_map(sample).collect()
}

/// Writes six shards of sixteen images each, and returns the pattern that names them.
fn six_shards(folder: &Path) -> String {
    fs::create_dir_all(folder).unwrap();
    for number in 0..6 {
        let format = ["ustar", "gnu", "pax"][number % 3];
        shard(&folder.join(format!("x-{number:03}.tar")), format, &samples(16 * number, 16));
    }
    text(&folder.join("x-{000..005}.tar"))
}

#[test]
fn a_resumed_run_on_shards_is_bit_identical() {
    let folder = tempfile::tempdir().unwrap();
    let data = six_shards(&folder.path().join("shards"));
    let options = ["--data", &data, "--epochs", "8", "--checkpoint-every", "1"];
    let [uninterrupted, resumed] = ["uninterrupted", "resumed"].map(|name| folder.path().join(name));
    let mut one_thread = program();
    one_thread.arg("pretrain").args(TINY).args(options).args(["--out", &text(&uninterrupted)]);
    succeeds(&one_thread.env("RAYON_NUM_THREADS", "1").output().unwrap());
    interrupted(&[&["pretrain"], TINY, &options, &["--out", &text(&resumed)]].concat(), &resumed);
    assert!(losses(&resumed).len() < 80, "the run was over before it was interrupted");
    succeeds(&slimclr(&["pretrain", "--resume", &text(&resumed)]));
    let checkpoint = |run: &Path| fs::read(run.join("checkpoint.safetensors")).unwrap();
    assert!(checkpoint(&uninterrupted) == checkpoint(&resumed), "the checkpoints differ");
    assert_eq!(losses(&uninterrupted), losses(&resumed));
    // Every tenth image of a class is held out: 88 of 96 images are 11 batches of 8.
    assert_eq!(losses(&uninterrupted).len(), 88);
    succeeds(&slimclr(&["evaluate", &text(&resumed), "--probe-epochs", "1"]));
}

#[test]
fn a_packed_folder_is_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let [images, shards, again] = ["images", "shards", "again"].map(|name| folder.path().join(name));
    image_folder(&images.join("train"), &["cat", "dog"], 12, 12);
    image_folder(&images.join("val"), &["cat", "dog"], 4, 12);
    let output = slimclr(&["data", "pack", &text(&images), "--out", &text(&shards)]);
    succeeds(&output);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("wrote 24 training and 8 test images into 2 shards"), "{said}");
    assert_eq!(fs::read_to_string(shards.join("classes.txt")).unwrap(), "cat\ndog\n");
    // The files are copied as they are, and the same images make the same shards.
    let mut tar = tar::Archive::new(File::open(shards.join("val-000000.tar")).unwrap());
    let names: Vec<String> = tar.entries().unwrap().map(|it| text(&it.unwrap().path().unwrap())).collect();
    assert_eq!(names[..4], ["00000000.png", "00000000.cls", "00000001.jpg", "00000001.cls"]);
    let packed = fs::read(shards.join("val-000000.tar")).unwrap();
    let first = fs::read(images.join("val/cat/000.png")).unwrap();
    assert_eq!(packed[512..512 + first.len()], first);
    succeeds(&slimclr(&["data", "pack", &text(&images), "--out", &text(&again)]));
    for name in ["train-000000.tar", "val-000000.tar"] {
        assert!(fs::read(shards.join(name)).unwrap() == fs::read(again.join(name)).unwrap(), "{name} differs");
    }
    refuses(&slimclr(&["data", "pack", &text(&images), "--out", &text(&again)]), "the folder is not empty");

    // The folder and the pattern name the same images.
    let runs = ["by-folder", "by-pattern"].map(|name| folder.path().join(name));
    let pattern = text(&shards.join("{train,val}-000000.tar"));
    for (run, data) in runs.iter().zip([text(&shards), pattern]) {
        succeeds(&pretrain(&["--data", &data, "--epochs", "2", "--out", &text(run)]));
    }
    assert_eq!(losses(&runs[0]).len(), 6);
    assert_eq!(losses(&runs[0]), losses(&runs[1]));
    let started = &events(&runs[0])[0];
    assert_eq!(started["images"], 24);
}

#[test]
fn shards_may_move_but_not_change() {
    let folder = tempfile::tempdir().unwrap();
    let [shards, moved, run] = ["shards", "moved", "run"].map(|name| folder.path().join(name));
    let data = six_shards(&shards);
    succeeds(&pretrain(&["--data", &data, "--epochs", "1", "--out", &text(&run)]));
    fs::rename(&shards, &moved).unwrap();
    let resume = || slimclr(&["pretrain", "--resume", &text(&run), "--data", &text(&moved)]);
    succeeds(&resume());
    // The same names and classes, but other images.
    let mut members = samples(0, 16);
    members.iter_mut().filter(|(name, _)| name.ends_with("g")).for_each(|(_, image)| image.push(0));
    shard(&moved.join("x-000.tar"), "ustar", &members);
    refuses(&resume(), "images have other names, sizes or classes");
}

#[test]
fn shards_without_labels_are_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let members: Vec<_> = samples(0, 40).into_iter().filter(|(name, _)| !name.ends_with(".cls")).collect();
    let path = folder.path().join("x.tar");
    shard(&path, "ustar", &members);
    let out = folder.path().join("run");
    succeeds(&pretrain(&["--data", &text(&path), "--epochs", "1", "--out", &text(&out)]));
    assert_eq!(events(&out)[0]["images"], 36);
}

#[test]
fn what_of_shards_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let train = |data: &str| pretrain(&["--data", &text(&at(data)), "--epochs", "1", "--out", &text(&at("run"))]);
    six_shards(folder.path());

    refuses(&train("x-{000..007}.tar"), "2 of the 8 shards are missing, the first is");
    assert!(stderr(&train("x-{000..007}.tar")).contains("x-006.tar"));
    refuses(&train("y-{0..3}.tar"), "none of the 4 shards exists");
    refuses(&train("x-*.tar"), "name the shards' folder, or a range");
    refuses(&train("x-{000.005}.tar"), "is neither a range such as {000000..001281}");
    refuses(&train("x-{000..005.tar"), "a brace is not closed");
    refuses(&train("x-{000,000}.tar"), "x-000.tar twice");
    refuses(&slimclr(&["pretrain", "--data", "x-0.tar", "x-1.tar"]), "quote the pattern of shards");
    for (name, bytes, sentence) in [
        ("x.tar.gz", &[0x1f, 0x8b, 8, 0, 0, 0][..], "it is compressed with gzip: decompress it"),
        ("empty.tar", &b""[..], "the file is empty; fetch it again"),
        ("page.tar", &[b'<'; 1024][..], "it is not a tar file"),
        ("nothing.tar", &[0; 1024][..], "there are no images to train on"),
    ] {
        fs::write(at(name), bytes).unwrap();
        refuses(&train(name), sentence);
    }

    // One shard is cut within its last image; in the next, a class is missing, one is no number, one has no image.
    let whole = fs::read(at("x-000.tar")).unwrap();
    fs::write(at("x-000.tar"), &whole[..whole.len() / 2]).unwrap();
    let mut members = samples(16, 16);
    members.remove(1);
    members[3].1 = b"cat".to_vec();
    members.insert(0, ("a/\u{1b}[31mred.cls".into(), b"1".to_vec()));
    shard(&at("x-001.tar"), "ustar", &members);
    let output = train("x-{000..005}.tar");
    succeeds(&output);
    let warning = stderr(&output);
    for part in [
        "1 `.cls` without an image beside it",
        "x-001.tar/a/\\u{1b}[31mred.cls",
        "1 image whose `.cls` is no class number",
        "x-001.tar/00017.cls",
        "1 rest of a shard that is cut short or damaged",
        "1 image without a `.cls` beside it",
        "x-001.tar/00016.jpg",
    ] {
        assert!(warning.contains(part), "'{part}' is not in {warning}");
    }

    // The class of a number that has no name.
    fs::write(at("classes.txt"), "cat\n").unwrap();
    refuses(&train("x-{002..005}.tar"), "classes.txt names 1 classes, but the shards have class number 1");
}
