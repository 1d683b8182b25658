//! `slimclr report`: draws what runs have recorded.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use slimclr_report::{FigureFile, Report};

use super::evaluate::kept_neighbours;
use crate::{
    raster,
    run_folder::{REPORT, RunFolder, write_atomically},
    terminal,
};

/// Flags of `slimclr report`.
#[derive(Args)]
pub struct ReportFlags {
    /// Folders of runs; several are drawn side by side, with the same axes and colours
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// The page to write [default: 'report.html', of one run in its folder, of several in the current one]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Folder to write the figures to as well, as SVG and PNG: losses, accuracy, figure3 (gradient magnitudes), stages
    /// (the same by stage), cosines, figure4 (directions) and figure5 (loss landscapes)
    #[arg(long, value_name = "DIR")]
    figures: Option<PathBuf>,
}

/// Writes the page, and the figures if they are asked for; says what of which run cannot be drawn.
///
/// # Errors
/// If a path is no run, no run has begun, or a file cannot be written.
pub fn run(flags: &ReportFlags) -> Result<()> {
    let page = match (&flags.out, flags.runs.as_slice()) {
        (Some(out), _) => out.clone(),
        (None, [run]) => RunFolder::open(run)?.report_path(),
        (None, _) => REPORT.into(),
    };
    draw(&flags.runs, &page, flags.figures.as_deref())
}

/// Writes the page of `runs`, and their figures into a folder.
///
/// # Errors
/// If a path is no run, no run has begun, or a file cannot be written.
pub fn draw(runs: &[PathBuf], page: &Path, figures_folder: Option<&Path>) -> Result<()> {
    let folders = runs.iter().map(|path| RunFolder::open(path)).collect::<Result<Vec<_>>>()?;
    // Of several runs, no neighbours are shown.
    let neighbours = |folder: &RunFolder| if runs.len() == 1 { kept_neighbours(folder) } else { Vec::new() };
    let read = |folder: &RunFolder| folder.report(neighbours(folder));
    let mut reports = folders.iter().map(read).collect::<Result<Vec<_>>>()?;
    tell_apart(&mut reports, runs);
    let blank = slimclr_report::blank(&reports);
    if blank.len() == reports.len() {
        bail!("{} has not begun: there are no events to report on; train first", blank.join(", "));
    }
    for name in blank {
        eprintln!("warning: {name} is left out: its events hold no beginning of a run");
    }
    let figures = slimclr_report::figures(&reports);
    for FigureFile { name, missing, .. } in &figures {
        missing.iter().for_each(|missing| eprintln!("{name}: {missing}"));
    }
    if let Some(folder) = page.parent() {
        make(folder)?;
    }
    write_atomically(page, slimclr_report::html(&reports).as_bytes())?;
    terminal::print(&format!("report: {}", page.display()));
    if let Some(folder) = figures_folder {
        write_figures(&figures, folder)?;
    }
    Ok(())
}

/// Runs in different folders may have the same name: then the paths are their names.
fn tell_apart(reports: &mut [Report], paths: &[PathBuf]) {
    let mut names: Vec<&str> = reports.iter().map(|report| report.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() < reports.len() {
        for (report, path) in reports.iter_mut().zip(paths) {
            report.name = path.display().to_string();
        }
    }
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}

fn write_figures(figures: &[FigureFile], folder: &Path) -> Result<()> {
    make(folder)?;
    for FigureFile { name, svg, .. } in figures {
        let Some(svg) = svg else { continue };
        let path = folder.join(name);
        write_atomically(&path.with_extension("svg"), svg.as_bytes())?;
        write_atomically(&path.with_extension("png"), &raster::png(svg)?)?;
        terminal::print(&format!("{name}: {} and .png", path.with_extension("svg").display()));
    }
    Ok(())
}
