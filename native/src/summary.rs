//! A run's result for the user: a table in the terminal and a report.

use anyhow::Result;
use slimclr_report::Neighbours;

use crate::{files::write_atomically, run_folder::RunFolder, table, terminal};

/// Prints the table of the run in `folder` and writes its report.
///
/// # Errors
/// If the run's events or landscape cannot be read, or the report cannot be written.
pub fn show(folder: &RunFolder, neighbours: &[Neighbours]) -> Result<()> {
    let report = folder.report(neighbours.to_vec())?;
    terminal::print(&table::of_run(&report.events));
    let path = folder.report_path();
    write_atomically(&path, slimclr_report::html(&[report]).as_bytes())?;
    terminal::print(&format!("report: {}", path.display()));
    Ok(())
}
