use std::fs;

use crate::program::{TINY, interrupted, pretrain, refuses, slimclr, succeeds, text};

#[test]
fn the_folder_of_another_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name));
    let train =
        |run: &str, board: &str| pretrain(&["--epochs", "0.01", "--out", &path(run), "--tensorboard", &path(board)]);
    succeeds(&train("first", "board"));
    refuses(&train("second", "board"), "is a folder with TensorBoard files of the run");
    assert!(!folder.path().join("second").exists());
    fs::create_dir(path("notes")).unwrap();
    fs::write(folder.path().join("notes/mine.txt"), "").unwrap();
    refuses(&train("second", "notes"), "is a folder that is not empty: choose another one");
    refuses(&train("second", "notes/mine.txt"), "is a file: name a folder");
    refuses(&train("second", "notes/mine.txt/board"), "cannot create the folder");
    assert!(!folder.path().join("second").exists());

    let third = path("third");
    interrupted(&[&["pretrain"], TINY, &["--epochs", "50", "--out", &third]].concat(), &folder.path().join("third"));
    refuses(&slimclr(&["pretrain", "--resume", &third, "--tensorboard", &path("board")]), "of the run");
}
