//! What a run leaves for people: the table and the report.

use anyhow::Result;
use slimclr_report::Neighbours;

use crate::{
    run_folder::{RunFolder, write_atomically},
    terminal,
};

/// Prints the table of `folder`'s run and writes its report.
///
/// # Errors
/// If the run's events or its landscape cannot be read, or the report cannot be written.
pub fn present(folder: &RunFolder, neighbours: &[Neighbours]) -> Result<()> {
    let report = folder.report(neighbours.to_vec())?;
    terminal::print(&terminal::table_of(&report.events));
    let path = folder.report_path();
    write_atomically(&path, slimclr_report::html(&[report]).as_bytes())?;
    terminal::print(&format!("report: {}", path.display()));
    Ok(())
}
