use std::{fs, process::Command};

use crate::program::{program, slimclr, succeeds, text};

#[test]
fn bash_completes_commands_and_options() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = slimclr(&["completions", shell]);
        succeeds(&output);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains("pretrain") && script.contains("learning-rate"), "{shell}");
        fs::write(folder.path().join(shell), script).unwrap();
    }
    let complete = |words: &str| {
        let script = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _slimclr slimclr \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\"",
            text(&folder.path().join("bash"))
        );
        String::from_utf8(Command::new("bash").args(["-c", &script]).output().unwrap().stdout).unwrap()
    };
    assert_eq!(complete("slimclr pre").trim(), "pretrain");
    assert_eq!(complete("slimclr pretrain --learning-r").trim(), "--learning-rate");
    assert!(complete("slimclr pretrain --method sim").contains("simclr"));
}

#[test]
fn every_command_has_a_page_in_the_manual() {
    let folder = tempfile::tempdir().unwrap();
    let page = slimclr(&["man"]);
    succeeds(&page);
    let page = String::from_utf8(page.stdout).unwrap();
    assert!(page.contains(".TH slimclr 1") && page.contains("slimclr\\-pretrain(1)"), "{page}");
    let examples = page.split_once("\n.nf\n").and_then(|(_, rest)| rest.split_once("\n.fi\n")).unwrap().0;
    assert!(examples.lines().count() > 9 && examples.lines().all(|line| line.starts_with("  ")), "{examples}");

    let man = folder.path().join("man1");
    succeeds(&program().args(["man", "--out", &text(&man)]).output().unwrap());
    assert_eq!(fs::read_to_string(man.join("slimclr.1")).unwrap(), page);
    for (name, option) in [("pretrain", "\\-\\-learning\\-rate"), ("data-pack", "\\-\\-out"), ("runs", "FOLDER")] {
        let page = fs::read_to_string(man.join(format!("slimclr-{name}.1"))).unwrap();
        assert!(page.contains(option), "{name}: {page}");
    }
}
