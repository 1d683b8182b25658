//! `slimclr man`: the manual.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_mangen::{Man, generate_to};

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
    let Some(folder) = &flags.out else {
        let mut page = Vec::new();
        Man::new(program.disable_help_subcommand(true)).render(&mut page)?;
        terminal::write(&page);
        return Ok(());
    };
    create_folder(folder)?;
    generate_to(program, folder).with_context(|| format!("cannot write the manual to {}", folder.display()))?;
    terminal::print(&format!("wrote the manual to {}", folder.display()));
    Ok(())
}
