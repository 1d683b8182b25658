//! `slimclr completions`: a script that completes commands and options in a shell.

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use crate::terminal;

/// Flags of `slimclr completions`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  source <(slimclr completions bash)            for this shell only
  slimclr completions bash > ~/.local/share/bash-completion/completions/slimclr
  slimclr completions zsh > ~/.zfunc/_slimclr   with fpath+=~/.zfunc in ~/.zshrc
  slimclr completions fish > ~/.config/fish/completions/slimclr.fish")]
pub struct CompletionsFlags {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script of `program`.
pub fn run(flags: &CompletionsFlags, mut program: Command) {
    let mut script = Vec::new();
    let name = program.get_name().to_owned();
    generate(flags.shell, &mut program, name, &mut script);
    terminal::write(&script);
}
