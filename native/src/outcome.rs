//! What a run leaves for people: the table and the report.

use anyhow::Result;

use crate::{
    report::{self, Neighbours, Report},
    run_folder::{RunFolder, write_atomically},
    terminal,
};

/// Prints the table of `folder`'s run and writes its report.
///
/// # Errors
/// If the run's events cannot be read, or the report cannot be written.
pub fn present(folder: &RunFolder, neighbours: &[Neighbours]) -> Result<()> {
    let events = folder.events()?;
    terminal::print(&terminal::table_of(&events));
    let name = folder.path().file_name().unwrap_or(folder.path().as_os_str());
    let report = Report { name: name.to_string_lossy().into_owned(), events, neighbours: neighbours.to_vec() };
    let path = folder.report_path();
    write_atomically(&path, report::html(&report).as_bytes())?;
    terminal::print(&format!("report: {}", path.display()));
    Ok(())
}
