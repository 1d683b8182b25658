use super::*;

/// Creates files: images, unless the name says otherwise.
fn files(paths: &[&str]) -> Vec<File> {
    let look = |path: &str| match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("heic" | "toml" | "jsonl" | "md") => Look::Other,
        Some("bad") => Look::Damaged,
        Some("small") => Look::TooSmall,
        Some("link") => Look::DanglingLink,
        Some("empty") => Look::EmptyFolder,
        _ => Look::Image,
    };
    paths.iter().map(|path| File { path: path.as_bytes().to_vec(), size: 9, look: look(path) }).collect()
}

/// Names of `count` images in a folder.
fn images(folder: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{folder}{number:03}.jpg")).collect()
}

fn of<S: AsRef<str>>(parts: &[&[S]]) -> Vec<File> {
    files(&parts.iter().flat_map(|part| part.iter().map(AsRef::as_ref)).collect::<Vec<&str>>())
}

#[track_caller]
fn says(files: &[File], line: &str) -> Contents {
    let contents = contents(files).unwrap();
    assert_eq!(contents.to_string(), line);
    contents
}

#[track_caller]
fn refuses(files: &[File], sentence: &str) {
    let error = contents(files).unwrap_err().to_string();
    assert!(error.contains(sentence), "{error}");
}

#[test]
fn class_folders_are_read_at_any_depth() {
    let nested = of(&[
        &images("cats/", 10),
        &images("cats/2023/", 10),
        &images("cats/2024/06/", 10),
        &images("dogs/raw/images/", 20),
    ]);
    let contents = says(&nested, "45 images in 2 classes to train on, 5 held out to test");
    assert_eq!(contents.classes, ["cats", "dogs"]);
    let labels = |split: &[(usize, u32)]| split.iter().map(|(_, label)| *label).sum::<u32>();
    assert_eq!([labels(&contents.train), labels(&contents.test)], [18, 2]);
}

#[test]
fn the_order_is_that_of_paths_component_by_component() {
    // As characters, '-' comes before '/'.
    let files = of(&[&["b/2.jpg", "b/1.jpg", "a-b/1.jpg", "a-b/2.jpg", "a/1.jpg", "a/z/3.jpg", "a/2.jpg"]]);
    let contents = contents(&files).unwrap();
    assert_eq!(contents.classes, ["a", "a-b", "b"]);
    assert_eq!(contents.train, [(4, 0), (6, 0), (2, 1), (1, 2)]);
    assert_eq!(contents.test, [(5, 0), (3, 1), (0, 2)]);
}

#[test]
fn test_folders_have_many_names() {
    for (train, test) in [
        ("train", "val"),
        ("train", "valid"),
        ("Train", "Val"),
        ("TRAIN", "validation"),
        ("Training", "Testing"),
        ("archive/train", "archive/test"),
    ] {
        let [train, test] = [train, test].map(|split| [format!("{split}/a/"), format!("{split}/b/")]);
        let files = of(&[&images(&train[0], 5), &images(&train[1], 5), &images(&test[0], 2), &images(&test[1], 1)]);
        says(&files, "10 images in 2 classes to train on, 3 to test");
    }
    // Roboflow's three.
    let three = of(&[
        &images("train/a/", 5),
        &images("train/b/", 5),
        &images("valid/a/", 2),
        &images("valid/b/", 2),
        &images("test/a/", 3),
        &images("docs/", 2),
    ]);
    says(&three, "10 images in 2 classes to train on, 4 to test; not used: 5 images in 2 folders (docs, test)");
}

#[test]
fn a_class_may_be_called_train() {
    let vehicles = of(&[&images("car/", 2), &images("plane/", 2), &images("train/", 2)]);
    assert_eq!(contents(&vehicles).unwrap().classes, ["car", "plane", "train"]);
    let others = of(&[&images("train/cat/", 2), &images("train/dog/", 2), &images("unlabeled/", 3)]);
    says(&others, "2 images in 2 classes to train on, 2 held out to test; not used: 3 images in unlabeled");
}

#[test]
fn test_classes_are_those_of_training() {
    let files = of(&[
        &images("train/a/", 5),
        &images("train/b/", 5),
        &images("val/b/", 2),
        &images("val/c/", 3),
        &images("val/", 1),
    ]);
    let line = "10 images in 2 classes to train on, 2 to test; not used: 1 image outside the class folders \
                (val/000.jpg), 3 test images of classes without training images (c)";
    assert_eq!(says(&files, line).test, [(10, 1), (11, 1)]);
    let others =
        of(&[&images("train/a/", 5), &images("train/b/", 5), &images("val/kitten/", 2), &images("val/puppy/", 2)]);
    refuses(&others, "4 images in 'val' are not of the training images' classes: its folders are kitten, puppy; sort");
    refuses(&of(&[&images("val/a/", 2), &images("test/a/", 2)]), "images to test in test, val, but none to train on");
}

/// A list of the classes of test images.
fn list(path: &str, text: &str) -> File {
    File { path: path.into(), size: text.len() as u64, look: Look::Labels(text.into()) }
}

#[test]
fn flat_test_images_take_their_classes_from_a_list() {
    let mut tiny = of(&[
        &["train/n01/images/n01_0.JPEG", "train/n02/images/n02_0.JPEG"],
        &["val/images/val_0.JPEG", "val/images/val_1.JPEG", "test/images/test_0.JPEG"],
    ]);
    refuses(&tiny, "2 images in 'val' are not of the training images' classes");
    refuses(&tiny, "there are no class folders and no list of classes");
    for lines in [
        "val_0.JPEG\tn02\t0\t0\t62\t57\nval_1.JPEG\tn01\t3\t3\t60\t60\n",
        "ImageId,Prediction\nval_1,n01 8 9\nval_0,n02 1 2",
        "n02\nn01\n",
    ] {
        tiny.push(list("val/val_annotations.txt", lines));
        let contents = says(&tiny, "2 images in 2 classes to train on, 2 to test; not used: 1 image in test");
        assert_eq!(contents.test, [(2, 1), (3, 0)]);
        tiny.pop();
    }
    tiny.push(list("val/val.csv", "val_1,n01"));
    let line = "2 images in 2 classes to train on, 1 to test; not used: 1 image in test, 1 test image without a class in \
                the list (val/images/val_0.JPEG)";
    assert_eq!(says(&tiny, line).test, [(3, 0)]);
    tiny.pop();
    tiny.push(list("ILSVRC2012_validation_ground_truth.txt", "490\n361\n"));
    refuses(&tiny, "ILSVRC2012_validation_ground_truth.txt has numbers of classes, whose order it does not tell");
}

#[test]
fn flat_folders_are_unlabelled() {
    let flat = says(&of(&[&images("", 20)]), "18 images without labels to train on, 2 held out to test");
    assert!(flat.classes.is_empty() && flat.train.iter().all(|(_, label)| *label == 0));
    says(&of(&[&images("train/", 20)]), "18 images without labels to train on, 2 held out to test");
    says(&of(&[&images("train/", 20), &images("val/", 5)]), "20 images without labels to train on, 5 to test");
    let coco = of(&[&images("train2017/", 20), &images("val2017/", 5), &images("test2017/", 2)]);
    says(&coco, "20 images without labels to train on, 5 to test; not used: 2 images in test2017");
    // A single folder tells nothing about its images.
    says(
        &of(&[&images("photos/", 10), &images("photos/old/", 10)]),
        "18 images without labels to train on, 2 held out to test",
    );
    says(&of(&[&images("a/b/c/", 10)]), "9 images without labels to train on, 1 held out to test");
}

#[test]
fn images_beside_class_folders_are_told_unless_they_are_most() {
    let strays = of(&[&images("", 3), &images("a/", 5), &images("b/", 5)]);
    says(
        &strays,
        "8 images in 2 classes to train on, 2 held out to test; not used: 3 images outside the class folders (000.jpg, 001.jpg, 002.jpg)",
    );
    let mostly_flat = of(&[&images("", 30), &images("a/", 5), &images("b/", 5)]);
    says(&mostly_flat, "36 images without labels to train on, 4 held out to test");
    let cover = of(&[&["cover.png".to_owned()], &images("data/a/", 9), &images("data/b/", 9)]);
    says(
        &cover,
        "16 images in 2 classes to train on, 2 held out to test; not used: 1 image outside the class folders (cover.png)",
    );
}

#[test]
fn what_is_not_used_is_counted_by_kind() {
    let files = of(&[
        &images("a/", 30),
        &images("b/", 30),
        &["a/x.bad".into(), "b/y.small".into(), "c.link".into(), "d.empty".into(), "e/README.md".into()],
        &(0..40).map(|number| format!("b/{number}.heic")).collect::<Vec<_>>(),
        &["__MACOSX/a/._000.jpg".into(), ".cache/1.jpg".into(), "a/.DS_Store".into(), "b/Thumbs.db".into()],
    ]);
    says(
        &files,
        "54 images in 2 classes to train on, 6 held out to test; not used: 1 damaged image (a/x.bad), 1 image under 8 \
         pixels (b/y.small), 2 folders without images (d.empty, e), 1 link to nothing (c.link), 40 .heic files, 1 .md file",
    );
    refuses(
        &of(&[&["a/1.heic", "a/2.heic", "b.link"]]),
        "no image that can be read, but 1 link to nothing (b.link), 2 .heic files: name",
    );
}

#[test]
fn folders_of_runs_are_not_data() {
    let run = |folder: &str| ["config.toml", "events.jsonl", "figures/1.png"].map(|name| format!("{folder}{name}"));
    let files = of(&[
        &images("a/", 10),
        &images("b/", 10),
        &run("runs/mini-1/"),
        &run("runs/paper/full/"),
        &["runs/paper/experiment.toml".into(), "runs/paper/figures/4.png".into()],
    ]);
    let contents = says(
        &files,
        "18 images in 2 classes to train on, 2 held out to test; not used: 2 folders of runs (runs/mini-1, runs/paper)",
    );
    assert_eq!(contents.classes, ["a", "b"]);
    refuses(&of(&[&run(""), &images("a/", 3)]), "this is the folder of a run");
}

#[test]
fn names_of_any_bytes_are_classes() {
    let file = |path: &[u8]| File { path: path.into(), size: 9, look: Look::Image };
    let files: Vec<File> =
        [&b"caf\xe9/1"[..], b"caf\xe9/2", b"caf\xe8/1", b"caf\xe8/2", b"tea\n/1", b"tea\n/2"].map(file).into();
    assert_eq!(contents(&files).unwrap().classes, ["caf\u{fffd}", "caf\u{fffd}", "tea\\n"]);
}

#[test]
fn folders_without_enough_images_are_refused() {
    refuses(&[], "the folder is empty");
    refuses(&of(&[&["a.empty"]]), "the folder is empty");
    refuses(&of(&[&["a/1.jpg"]]), "there is only one image, a/1.jpg");
    refuses(&of(&[&["a/1.jpg", "b/1.jpg"]]), "no class has more than one image");
    says(&of(&[&["a/1.jpg", "a/2.jpg", "b.empty"]]), "1 image without labels to train on, 1 held out to test");
    let damaged = of(&[&images("a/", 8), &["a/x.bad".to_owned()]]);
    refuses(&damaged, "1 of 9 images are damaged (a/x.bad)");
}

#[test]
fn a_trained_network_takes_few_images_and_damaged_ones() {
    let says = |files: &[&str], line: &str| {
        assert_eq!(contents_for(Purpose::Features, &of(&[files])).unwrap().to_string(), line);
    };
    says(&["a/1.jpg"], "1 image without labels");
    says(&["a/1.jpg", "b/1.jpg"], "2 images in 2 classes");
    says(
        &["1.jpg", "2.jpg", "x.bad"],
        "1 image without labels to train on, 1 held out to test; not used: 1 damaged image (x.bad)",
    );
    assert_eq!(contents_for(Purpose::Features, &[]), Err(ContentsError::Empty));
}

#[test]
fn a_test_image_of_each_class_is_held_out() {
    let of_sizes = |sizes: &[usize]| -> Vec<(usize, u32)> {
        let mut train: Vec<(usize, u32)> =
            sizes.iter().zip(0..).flat_map(|(size, label)| (0..*size).map(move |image| (image, label))).collect();
        hold_out(&mut train)
    };
    assert_eq!(of_sizes(&[20, 19]), [(9, 0), (19, 0), (9, 1)]);
    assert_eq!(of_sizes(&[90, 9, 3, 2, 1])[9..], [(8, 1), (2, 2), (1, 3)]);
    let mut interleaved: Vec<(usize, u32)> = (0..40).map(|image| (image, (image % 2) as u32)).collect();
    assert_eq!(hold_out(&mut interleaved), [(18, 0), (19, 1), (38, 0), (39, 1)]);
    assert_eq!(interleaved.len(), 36);
}
