//! `slimclr runs`: lists the runs of a folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use slimclr_core::event::Event;

use crate::{
    run_folder::{RunFolder, numbered},
    terminal::{self, aligned, warn},
};

/// How far below the folder runs are looked for: those of an experiment are one level further down.
const DEPTH: usize = 2;

const HEADS: [&str; 7] =
    ["run", "method", "state", "step", "of", "best kNN,\nfull width", "best kNN,\nnarrowest width"];

/// Flags of `slimclr runs`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  slimclr runs                   the runs in the folder 'runs'
  slimclr runs runs/experiment   those of an experiment")]
pub struct RunsFlags {
    /// Folder that holds the runs, directly or in sub-folders; or one run's folder
    #[arg(value_name = "FOLDER", default_value = "runs")]
    folder: PathBuf,
}

/// Prints a table with a row for each run: its method, its state, its steps, and the best kNN accuracy of its widest and
/// of its narrowest network after any training.
///
/// # Errors
/// If there is no such folder, or no run in it that can be read.
pub fn run(flags: &RunsFlags) -> Result<()> {
    let folder = &flags.folder;
    if !folder.is_dir() {
        bail!(
            "there is no folder {}: train a run with `slimclr pretrain`, or name a folder that holds runs",
            folder.display()
        );
    }
    let mut found = Vec::new();
    find(folder, DEPTH, &mut found)?;
    if found.is_empty() {
        bail!("there is no run in {}: train one with `slimclr pretrain`, or name another folder", folder.display());
    }
    found.sort_by_cached_key(|path| {
        let name = path.to_string_lossy();
        let (stem, number) = numbered(&name);
        (stem.to_owned(), number)
    });
    let rows: Vec<[String; HEADS.len()]> = found
        .iter()
        .filter_map(|path| row(path, folder).inspect_err(|error| warn(&format!("{error:#}"))).ok())
        .collect();
    if rows.is_empty() {
        bail!("no run in {} can be read", folder.display());
    }
    terminal::print(&aligned(&HEADS, &rows));
    Ok(())
}

/// Collects the folders of runs in `folder`, at most `depth` levels below it.
fn find(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    if RunFolder::is_begun(folder) {
        found.push(folder.to_path_buf());
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    let unreadable = || format!("cannot read the folder {}", folder.display());
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.is_dir()
            && let Err(error) = find(&path, depth - 1, found)
        {
            warn(&format!("{error:#}"));
        }
    }
    Ok(())
}

/// Describes the run in `path`, which is named relative to `root`.
fn row(path: &Path, root: &Path) -> Result<[String; HEADS.len()]> {
    let folder = RunFolder::open(path)?;
    let (config, events) = (folder.config()?, folder.events()?);
    let below = path.strip_prefix(root).unwrap_or(path);
    let name = if below.as_os_str().is_empty() { folder.name() } else { below.display().to_string() };
    let method = config.method.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let step = events.iter().map(Event::step).max().unwrap_or(0);
    let steps = Event::latest_start(&events).map(|started| started.steps.to_string());
    let best = |width: Option<&f64>| {
        let accuracies = events.iter().filter_map(|event| match event {
            Event::Evaluated(it) if it.step > 0 && Some(&it.width) == width => it.knn,
            _ => None,
        });
        accuracies.reduce(f64::max).map(|best| format!("{:.1}%", 100.0 * best))
    };
    let narrowest = if config.widths.len() > 1 { config.widths.last() } else { None };
    let cells = [steps, best(config.widths.first()), best(narrowest)];
    let [steps, full, narrowest] = cells.map(|cell| cell.unwrap_or_else(|| "-".into()));
    Ok([name, method, folder.state(&events).to_string(), step.to_string(), steps, full, narrowest])
}
