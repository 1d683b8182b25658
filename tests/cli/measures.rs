//! Measures that need no labels, and accuracies that cannot be measured.

use std::{fs, path::Path};

use image::RgbImage;
use serde_json::Value;

use crate::program::{events, image_folder, pretrain, refuses, slimclr, stderr, succeeds, text};

/// Accuracies and what belongs to them.
const ACCURACIES: [&str; 8] =
    ["knn", "knn_standard_error", "probe", "probe_slimmable", "probe_recipe", "ridge", "ridge_lambda", "classifier"];

fn evaluated(run: &Path) -> Vec<Value> {
    events(run).into_iter().filter(|event| event["event"] == "evaluated").collect()
}

/// Asserts that an evaluation has all measures, within their limits.
#[track_caller]
fn assert_measured(event: &Value) {
    let number = |key: &str| event[key].as_f64().unwrap_or_else(|| panic!("{key} is not in {event}"));
    let [alignment, same] = ["alignment", "cosine_same_image"].map(number);
    assert!((alignment - (2.0 - 2.0 * same)).abs() < 1e-9, "{event}");
    assert!((-8.0..=0.0).contains(&number("uniformity")), "{event}");
    assert!((-1.0..=1.0).contains(&number("cosine_different_images")), "{event}");
    assert!(number("rankme") >= 1.0, "{event}");
    // Embeddings have 8 dimensions.
    assert!((0.0..=8.0_f64.sqrt().recip()).contains(&number("spread")), "{event}");
}

#[test]
fn images_without_labels_are_trained_on_evaluated_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let [images, run] = ["images", "run"].map(|name| folder.path().join(name));
    image_folder(folder.path(), &["images"], 40, 12);
    let trained = pretrain(&["--data", &text(&images), "--epochs", "2", "--out", &text(&run)]);
    succeeds(&trained);
    let during = evaluated(&run);
    let table = String::from_utf8_lossy(&trained.stdout).into_owned();
    let evaluation = slimclr(&["evaluate", &text(&run)]);
    succeeds(&evaluation);
    let all = evaluated(&run);
    // The same weights, images and views.
    let measures =
        ["width", "rankme", "spread", "alignment", "uniformity", "cosine_same_image", "cosine_different_images"];
    let of = |event: &Value| measures.map(|measure| event[measure].clone());
    let [last, again] =
        [&during[during.len() - 4..], &all[all.len() - 4..]].map(|four| four.iter().map(of).collect::<Vec<_>>());
    assert_eq!(last, again);
    for event in &all {
        assert_measured(event);
        assert_eq!(event["no_accuracy"], "no_labels");
        assert!(ACCURACIES.iter().all(|accuracy| event.get(accuracy).is_none()), "{event}");
    }
    for table in [table, String::from_utf8_lossy(&evaluation.stdout).into_owned()] {
        assert!(table.contains("the images have no labels") && table.contains("RankMe"), "{table}");
        assert!(!table.contains('±') && table.lines().all(|line| line.chars().count() <= 100), "{table}");
    }

    // The report has pictures of neighbours, without classes; the second one is made from the cached features.
    succeeds(&slimclr(&["report", &text(&run), "--figures", &text(&folder.path().join("figures"))]));
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    for part in ["There is no accuracy, because the images have no labels.", r#"alt="neighbour 6">"#, "Uniformity"] {
        assert!(report.contains(part), "'{part}' is not in the report");
    }
    assert_eq!(report.matches(r#"alt="test image">"#).count(), 4, "as many as there are test images");
    assert!(!report.contains("kNN") && !report.contains("same class"));
    assert!(
        folder.path().join("figures/measures.png").exists() && !folder.path().join("figures/accuracy.png").exists()
    );

    let supervised =
        pretrain(&["--data", &text(&images), "--method", "supervised", "--out", &text(&folder.path().join("no"))]);
    refuses(&supervised, "method = supervised needs labels, but the images have none");
}

#[test]
fn test_images_of_one_class_have_no_accuracy_but_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let [images, run] = ["images", "run"].map(|name| folder.path().join(name));
    image_folder(&images.join("train"), &["a", "b"], 12, 12);
    image_folder(&images.join("val"), &["a"], 6, 12);
    let trained = pretrain(&["--data", &text(&images), "--epochs", "1", "--out", &text(&run)]);
    succeeds(&trained);
    succeeds(&slimclr(&["evaluate", &text(&run)]));
    for event in evaluated(&run) {
        assert_measured(&event);
        assert_eq!(event["no_accuracy"], "one_test_class");
        assert!(ACCURACIES.iter().all(|accuracy| event.get(accuracy).is_none()), "{event}");
    }
    let table = String::from_utf8_lossy(&trained.stdout).into_owned();
    assert!(table.contains("all test images are of one class") && !table.contains('±'), "{table}");
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("There is no accuracy, because all test images are of one class."));
}

#[test]
fn images_with_labels_have_the_measures_too_and_errors_above_zero() {
    let folder = tempfile::tempdir().unwrap();
    let [images, run] = ["images", "run"].map(|name| folder.path().join(name));
    // Classes of different colours, so that kNN is right about all of the few test images.
    image_folder(&images, &["a", "b"], 20, 12);
    let trained = pretrain(&["--data", &text(&images), "--epochs", "1", "--out", &text(&run)]);
    succeeds(&trained);
    for event in evaluated(&run) {
        assert_measured(&event);
        assert!(event.get("no_accuracy").is_none());
        assert!(event["knn_standard_error"].as_f64().unwrap() > 0.05, "{event}");
    }
    let table = String::from_utf8_lossy(&trained.stdout).into_owned();
    assert!(table.contains("kNN after") && table.contains("uniformity"), "{table}");
}

#[test]
fn a_single_test_image_is_not_compared_but_training_images_are() {
    let folder = tempfile::tempdir().unwrap();
    let [images, run] = ["images", "run"].map(|name| folder.path().join(name));
    image_folder(folder.path(), &["images"], 12, 12);
    succeeds(&pretrain(&["--data", &text(&images), "--epochs", "1", "--out", &text(&run)]));
    let evaluated = evaluated(&run);
    assert_eq!(evaluated.len(), 8, "four widths, before and after training");
    evaluated.iter().for_each(|event| assert_measured(event));
    succeeds(&slimclr(&["evaluate", &text(&run)]));
}

/// All images are black, so that all views are alike, and belong to one prototype.
#[test]
fn a_collapse_is_said_once_and_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let [images, run] = ["images", "run"].map(|name| folder.path().join(name));
    for (class, number) in ["a", "b"].iter().flat_map(|class| (0..12).map(move |number| (class, number))) {
        fs::create_dir_all(images.join(class)).unwrap();
        RgbImage::new(12, 12).save(images.join(class).join(format!("{number:02}.png"))).unwrap();
    }
    let swav = ["--method", "swav", "--prototypes", "4", "--queue", "0", "--widths", "1.0", "--distill", "none"];
    let epochs = ["--data", &text(&images), "--epochs", "3", "--evaluate-every", "1", "--out", &text(&run)];
    let trained = pretrain(&[&swav[..], &epochs].concat());
    succeeds(&trained);
    let sentence = "all images belong to one prototype at width 1: the prototypes have collapsed";
    assert_eq!(stderr(&trained).matches(sentence).count(), 1, "{}", stderr(&trained));
    let collapsed: Vec<_> = events(&run).into_iter().filter(|event| event["event"] == "collapsed").collect();
    assert_eq!(collapsed.len(), 1, "{collapsed:?}");
    assert_eq!((collapsed[0]["sign"].as_str(), collapsed[0]["width"].as_f64()), (Some("prototypes"), Some(1.0)));
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("The run has collapsed"));

    // Bags of such a teacher are of arbitrary images.
    let teacher = ["--method", "bingo", "--teacher", &text(&run), "--widths", "1.0", "--epochs", "1"];
    let student =
        pretrain(&[&teacher[..], &["--data", &text(&images), "--out", &text(&folder.path().join("student"))]].concat());
    succeeds(&student);
    assert!(stderr(&student).contains("the teacher's features of all images are alike"), "{}", stderr(&student));
}
