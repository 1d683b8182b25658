//! `slimclr report`: writes an HTML report of one or several runs.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use slimclr_report::{FigureFile, Report};

use super::evaluate::cached_neighbours;
use crate::{
    files::{create_folder, write_atomically},
    raster,
    run_folder::{REPORT, RunFolder},
    terminal::{self, Progress},
};

/// Flags of `slimclr report`.
#[derive(Args)]
pub struct ReportFlags {
    /// Runs' folders; several runs are drawn side by side, with the same axes and colours
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// HTML file to write [default: report.html in the run's folder or, for several runs, in the current folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Folder to write the figures to, as SVG and PNG: losses, accuracy, measures (those that need no labels), figure3
    /// (gradient norms), stages (each width's gradient norm by stage of the network), cosines, figure4 (gradient
    /// directions) and figure5 (loss landscapes)
    #[arg(long, value_name = "FOLDER")]
    figures: Option<PathBuf>,
}

/// Writes the report, and the figures if asked for. Prints what cannot be drawn, and why.
///
/// # Errors
/// If a path is not a run's folder, no run has started, or a file cannot be written.
pub fn run(flags: &ReportFlags) -> Result<()> {
    let report = match (&flags.out, flags.runs.as_slice()) {
        (Some(out), _) => out.clone(),
        (None, [run]) => RunFolder::open(run)?.report_path(),
        (None, _) => REPORT.into(),
    };
    let reports = read(&flags.runs)?;
    let blank = slimclr_report::blank(&reports);
    if blank.len() == reports.len() {
        bail!(
            "events.jsonl of {} has no `started` event, so there is nothing to report: train first",
            blank.join(", ")
        );
    }
    for name in blank {
        terminal::warn(&format!("{name} is left out: events.jsonl has no `started` event"));
    }
    write(&reports, &report)?;
    let figures = slimclr_report::figures(&reports);
    note_missing(&figures);
    flags.figures.as_ref().map_or(Ok(()), |folder| write_figures(&figures, folder))
}

/// Reads what is reported of runs.
///
/// # Errors
/// If a path is not a run's folder, or cannot be read.
pub fn read(runs: &[PathBuf]) -> Result<Vec<Report>> {
    let folders = runs.iter().map(|path| RunFolder::open(path)).collect::<Result<Vec<_>>>()?;
    // Nearest neighbours are shown only in the report of a single run.
    let neighbours = |folder: &RunFolder| if runs.len() == 1 { cached_neighbours(folder) } else { Vec::new() };
    let read = |folder: &RunFolder| folder.report(neighbours(folder));
    let mut reports = folders.iter().map(read).collect::<Result<Vec<_>>>()?;
    make_names_unique(&mut reports, runs);
    Ok(reports)
}

/// Writes the report of runs to the file `out`.
///
/// # Errors
/// If it cannot be written.
pub fn write(reports: &[Report], out: &Path) -> Result<()> {
    let _progress = Progress::spinner("drawing the report");
    if let Some(folder) = out.parent() {
        create_folder(folder)?;
    }
    write_atomically(out, slimclr_report::html(reports).as_bytes())?;
    terminal::print(&format!("report: {}", out.display()));
    Ok(())
}

/// Names all runs by their paths if several have the same name.
fn make_names_unique(reports: &mut [Report], paths: &[PathBuf]) {
    let mut names: Vec<&str> = reports.iter().map(|report| report.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() < reports.len() {
        for (report, path) in reports.iter_mut().zip(paths) {
            report.name = path.display().to_string();
        }
    }
}

/// Says what is missing from figures, and why.
pub fn note_missing(figures: &[FigureFile]) {
    for FigureFile { name, missing, .. } in figures {
        missing.iter().for_each(|missing| terminal::note(&format!("{name}: {missing}")));
    }
}

/// Writes the figures that are drawn into `folder`, as SVG and PNG.
///
/// # Errors
/// If a file cannot be written.
pub fn write_figures(figures: &[FigureFile], folder: &Path) -> Result<()> {
    create_folder(folder)?;
    for FigureFile { name, svg, .. } in figures {
        let Some(svg) = svg else { continue };
        let path = folder.join(name);
        write_atomically(&path.with_extension("svg"), svg.as_bytes())?;
        write_atomically(&path.with_extension("png"), &raster::png(svg)?)?;
        terminal::print(&format!("{name}: {} and .png", path.with_extension("svg").display()));
    }
    Ok(())
}
