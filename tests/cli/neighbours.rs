//! `slimclr neighbours`.

use std::fs;

use crate::program::{image_folder, pretrain, refuses, slimclr, stderr, succeeds, text};

#[test]
fn similar_images_are_listed_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name));
    let [run, images, sheet] = ["run", "images", "sheet.png"].map(path);
    succeeds(&pretrain(&["--epochs", "0.01", "--out", &run]));
    image_folder(&folder.path().join("images"), &["cat", "dog"], 12, 12);
    // One is an image of the folder, the other a copy of one.
    let [inside, copy] = ["images/cat/003.png", "copy.png"].map(path);
    fs::copy(path("images/dog/006.png"), &copy).unwrap();
    let neighbours = |more: &[&str]| slimclr(&[&["neighbours", &run, "--data", &images], more].concat());

    let output = neighbours(&[&inside, &copy, "--count", "3", "--width", "0.5", "--out", &sheet]);
    succeeds(&output);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 2 * (1 + 3) + 1, "{stdout}");
    assert_eq!([lines[0], lines[4]], [&inside, &copy]);
    assert!(lines[1..4].iter().all(|line| !line.contains("cat/003.png") && line.ends_with(')')), "{stdout}");
    assert_eq!(lines[5], "  1.000  dog/006.png  (dog)");
    let drawn = image::open(&sheet).unwrap();
    assert!(drawn.width() > 900 && drawn.height() > 500, "{} x {}", drawn.width(), drawn.height());

    refuses(&neighbours(&[&copy, "--out", &sheet]), "sheet.png already exists: overwrite it with --force");
    succeeds(&neighbours(&[&copy, "--out", &sheet, "--force"]));
    refuses(&neighbours(&[&copy, "--out", &path("sheet.jpg")]), "sheet.jpg: name a .png file");
    let missing = neighbours(&[&path("nowhere.png"), "--out", &path("new/sheet.png")]);
    refuses(&missing, "nowhere.png");
    assert!(!stderr(&missing).contains("computing features"), "{}", stderr(&missing));
    succeeds(&neighbours(&[&copy, "--out", &path("new/sheet.png")]));
    refuses(&neighbours(&[&copy, "--out", &path("new"), "--force"]), "name a .png file");
    refuses(&neighbours(&[&copy, "--least", "0.5"]), "cannot be used with");
    refuses(&neighbours(&[&path("run/config.toml")]), "config.toml");
    refuses(&neighbours(&[&copy, "--width", "0.3"]), "has no width 0.3: choose from 1, 0.75, 0.5, 0.25");
    refuses(&neighbours(&[]), "<QUERY>");
}

#[test]
fn near_duplicates_are_listed_most_similar_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name));
    let [run, images] = ["run", "images"].map(path);
    succeeds(&pretrain(&["--epochs", "0.01", "--out", &run]));
    image_folder(&folder.path().join("images"), &["cat", "dog"], 12, 12);
    fs::copy(path("images/cat/000.png"), path("images/dog/copy.png")).unwrap();
    let output = slimclr(&["neighbours", &run, "--data", &images, "--duplicates", "--least", "0.99999"]);
    succeeds(&output);
    for least in ["nan", "1.5"] {
        let refused = slimclr(&["neighbours", &run, "--data", &images, "--duplicates", "--least", least]);
        refuses(&refused, "a cosine is between -1 and 1");
    }
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let pair =
        |line: &str| line.contains("cat/000.png") && line.contains("dog/copy.png") && line.starts_with("1.0000  ");
    assert!(stdout.lines().any(pair), "{stdout}");
    assert!(stderr(&output).contains("pairs of 25 images have a cosine of 0.99999 or more"), "{}", stderr(&output));
    let similarities: Vec<f64> = stdout.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert!(similarities.is_sorted_by(|a, b| a >= b), "{stdout}");
}
