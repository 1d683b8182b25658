use std::{fs, path::Path};

use crate::program::{image_folder, pretrain, refuses, slimclr, stderr, succeeds, text};

#[test]
fn reports_and_figures_are_written_to_the_given_paths() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    image_folder(&images, &["a", "b"], 12, 12);
    let runs = ["first", "second"].map(|name| folder.path().join(name));
    for run in &runs {
        succeeds(&pretrain(&["--data", &text(&images), "--epochs", "1", "--out", &text(run)]));
    }
    let [first, second] = runs.each_ref().map(|run| text(run));
    fs::remove_file(runs[0].join("report.html")).unwrap();
    succeeds(&slimclr(&["report", &first]));
    assert!(fs::read_to_string(runs[0].join("report.html")).unwrap().contains("Loss of each width"));

    let [report, figures] = ["pages/page.html", "deep/figures"].map(|name| folder.path().join(name));
    let output = slimclr(&["report", &first, &second, "--out", &text(&report), "--figures", &text(&figures)]);
    succeeds(&output);
    assert!(fs::read_to_string(&report).unwrap().contains("2 runs compared"));
    assert!(stderr(&output).contains("figure5: Not drawn for first and second: there is no loss landscape"));
    let written: Vec<String> =
        fs::read_dir(&figures).unwrap().map(|entry| text(Path::new(&entry.unwrap().file_name()))).collect();
    assert!(written.iter().any(|name| name == "figure3.png") && written.iter().any(|name| name == "figure3.svg"));
    assert!(!written.iter().any(|name| name.starts_with("figure5")), "{written:?}");

    refuses(&slimclr(&["report", &first, "/no/such/run"]), "there is no folder /no/such/run: name a run's folder");
    refuses(&slimclr(&["report", &text(&images)]), "is not a run's folder: it has no config.toml");
    fs::write(runs[1].join("landscape.json"), "{}").unwrap();
    refuses(&slimclr(&["report", &second]), "landscape.json is not a loss landscape: remove it, or compute it again");
    fs::remove_file(runs[1].join("landscape.json")).unwrap();
    fs::remove_file(runs[1].join("events.jsonl")).unwrap();
    refuses(&slimclr(&["report", &second]), "events.jsonl of second has no `started` event");
}
