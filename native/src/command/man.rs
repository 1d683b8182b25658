//! `slimclr man`: the manual.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_mangen::Man;

use crate::{files::create_folder, terminal};

/// Flags of `slimclr man`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  slimclr man | man -l -                        read the page of the program
  slimclr man --out ~/.local/share/man/man1     then, for example: man slimclr-pretrain")]
pub struct ManFlags {
    /// Write a page for each command into this folder, instead of printing that of the program
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Prints the page of `program`, or writes the pages of all its commands.
///
/// # Errors
/// If the folder cannot be written.
pub fn run(flags: &ManFlags, program: Command) -> Result<()> {
    let mut program = program.disable_help_subcommand(true);
    let Some(folder) = &flags.out else {
        terminal::write(page(&Man::new(program))?.as_bytes());
        return Ok(());
    };
    program.build();
    create_folder(folder)?;
    write_pages(&program, folder).with_context(|| format!("cannot write the manual to {}", folder.display()))?;
    terminal::print(&format!("wrote the manual to {}", folder.display()));
    Ok(())
}

/// Writes the pages of a command and of its sub-commands.
fn write_pages(command: &Command, folder: &Path) -> Result<()> {
    let man = Man::new(command.clone());
    fs::write(folder.join(man.get_filename()), page(&man)?)?;
    command.get_subcommands().filter(|it| !it.is_hide_set()).try_for_each(|it| write_pages(it, folder))
}

/// Returns a page in roff. Indented lines keep their columns, which `clap_mangen` lets roff fill.
fn page(man: &Man) -> Result<String> {
    let mut page = Vec::new();
    man.render(&mut page)?;
    let page = String::from_utf8(page)?.replace(".SH EXTRA\n", ".SH NOTES\n");
    let mut lines = Vec::new();
    let mut is_indented = false;
    for line in page.lines() {
        if line.starts_with("  ") != is_indented {
            lines.push(if is_indented { ".fi" } else { ".nf" });
            is_indented = !is_indented;
        }
        lines.push(line);
    }
    Ok(lines.join("\n") + "\n")
}
