//! `slimclr landscape`: the loss around a run's weights, with their path through it (paper figure 5).

use std::{fs, ops::ControlFlow, path::PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use clap::Args;
use futures::executor::block_on;
use slimclr_core::{
    checkpoint::{Checkpoint, Snapshot},
    interference::landscape::{Directions, Landscape, Surface, Survey, Surveyor},
    train::{Host, Split},
    width::Widths,
};

use crate::{
    data::{Dataset, loader::Loader},
    device,
    run_folder::{RunFolder, write_atomically},
    terminal,
};

/// Images that losses are averaged over, unless it is said or there are fewer.
const IMAGES: usize = 256;

/// Flags of `slimclr landscape`.
#[derive(Args)]
#[command(after_long_help = "\
The loss is the method's own, contrastive or cross-entropy, of one width alone, without distillation. It is computed \
on fixed views of training images, with norms that use the batch's statistics and with the keys and the queue of the \
run's checkpoint, so that nothing varies but the weights of the convolutions and linear layers that the width uses. \
The origin of a plane is the last snapshot; the path is that of all snapshots, each projected onto the plane.

With `--directions pca` a plane shows as much of the path as a plane can, and coordinates are distances between \
weights. With `--directions random` it shows what the loss is like around the last snapshot: at 1, each filter has \
moved by its own length. The path hardly shows there: two random directions out of so many see next to nothing of it.

It takes a forward pass of the images for each cell and each snapshot. All snapshots are held in main memory, at 4 \
bytes a parameter: 1 MB each for a ResNet-20, 110 MB for a ResNet-50.")]
pub struct LandscapeFlags {
    /// A run's folder; the run was trained with --interference, which keeps snapshots of the weights
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Widths, separated by commas, each of which gets a plane of its own [default: the full network and the narrowest]
    #[arg(long, value_name = "W,…", value_delimiter = ',')]
    widths: Vec<f64>,
    /// What spans a plane
    #[arg(long, value_enum, default_value = "pca")]
    directions: Directions,
    /// Places along each direction at which the loss is computed, 3 to 201
    #[arg(long, value_name = "N", default_value_t = 21, value_parser = clap::value_parser!(u16).range(3..=201))]
    cells: u16,
    /// Training images that the loss is averaged over, rounded down to whole batches (parts of them, where the run has
    /// accumulate) or, if fewer than one, to whole groups of bn_splits [default: 256, or as many as there are]
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Seed of random directions
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute, if elsewhere than the run
    #[arg(long)]
    device: Option<String>,
}

impl LandscapeFlags {
    /// Of the run in `folder`, on `device`, with so many cells; the rest as it is by default.
    pub fn new(folder: &RunFolder, device: &str, cells: u16) -> Self {
        Self {
            run: folder.path().to_owned(),
            widths: Vec::new(),
            directions: Directions::Pca,
            cells,
            images: None,
            seed: 0,
            device: Some(device.to_owned()),
        }
    }
}

/// Computes the landscape, writes it into the run's folder, and prints what it is like.
///
/// # Errors
/// Those of [`compute`].
pub fn run(flags: &LandscapeFlags) -> Result<()> {
    let folder = RunFolder::open(&flags.run)?;
    terminal::print(&summary(&compute(&folder, flags)?));
    terminal::print(&format!("landscape: {}", folder.landscape_path().display()));
    eprintln!("next, the figure: slimclr report {}", flags.run.display());
    Ok(())
}

/// Computes the landscape and writes it into the run's folder.
///
/// # Errors
/// If the run has no snapshots or no checkpoint, they are of other networks or not whole, the run lacks a width, or its
/// images or the device cannot be used.
pub fn compute(folder: &RunFolder, flags: &LandscapeFlags) -> Result<Landscape> {
    let name = flags.run.display();
    let snapshots = folder.snapshots()?;
    if snapshots.is_empty() {
        bail!(
            "{name} has no snapshots of its weights, through which a landscape is laid: a run keeps them if it is \
             trained with --interference, as by `slimclr pretrain --interference`"
        );
    }
    if !folder.has_checkpoint() {
        bail!(
            "{name} has no checkpoint, whose keys and queue the loss is computed with: the run has diverged or ended \
             before its first one. Go on with it by `slimclr pretrain --resume {name}`, or train again with a lower \
             --learning-rate or a smaller --checkpoint-every"
        );
    }
    let bytes = folder.checkpoint()?;
    let checkpoint = Checkpoint::read(&bytes).with_context(|| folder.blame_checkpoint())?;
    let config = checkpoint.config();
    let widths = chosen(&flags.widths, &config.network_widths()?)
        .with_context(|| format!("{name} cannot be drawn at these widths"))?;
    let dataset = Dataset::open(&config.data)?;
    let schedule = config.schedule(dataset.len(Split::Train))?;
    let there_are = schedule.steps_per_epoch as usize * config.batch;
    let images = flags.images.unwrap_or(IMAGES.min(there_are));
    if !(2..=there_are).contains(&images) {
        bail!("--images {images} must be between 2 and the {there_are} images of an epoch");
    }

    let (device, device_name) = device::open(flags.device.as_ref().unwrap_or(&config.device))?;
    let trainer = checkpoint.resume(&device).with_context(|| folder.blame_checkpoint())?;
    let mut surveyor = {
        let mut loader = Loader::new(dataset, config, None)?;
        let batches = schedule
            .unseen(images, config.batch)
            .map(|step| Ok(block_on(loader.batch(step, &device))?))
            .collect::<Result<Vec<_>>>()?;
        Surveyor::new(trainer, &batches, images, schedule.steps_per_epoch)
    };
    for (_, path) in &snapshots {
        let mut read = || -> Result<()> {
            // In main memory, where hundreds of them find a place.
            Ok(surveyor.add(Snapshot::read(&fs::read(path)?, &Device::flex())?)?)
        };
        read().with_context(|| format!("the snapshot {} cannot be used", path.display()))?;
    }

    let cells = usize::from(flags.cells);
    let losses = widths.len() * (cells * cells + snapshots.len());
    let bar = terminal::bar(losses as u64, "losses", "computing");
    bar.println(format!("{} images, {} snapshots, on {device_name}", surveyor.images(), snapshots.len()));
    let survey = Survey { directions: flags.directions, cells, seed: flags.seed };
    let computed = async |losses| {
        bar.inc(losses as u64);
        ControlFlow::Continue(())
    };
    let surface = |width| block_on(surveyor.surface(width, survey, computed));
    let surfaces = widths.into_iter().map(surface).collect::<Result<_, _>>();
    bar.finish_and_clear();
    let landscape = Landscape { directions: flags.directions, images: surveyor.images(), surfaces: surfaces? };
    write_atomically(&folder.landscape_path(), &serde_json::to_vec(&landscape)?)?;
    Ok(landscape)
}

/// The places of the `wanted` widths among `widths`, widest first; of the full and the narrowest if none is.
fn chosen(wanted: &[f64], widths: &Widths) -> Result<Vec<usize>> {
    let mut chosen = if wanted.is_empty() { vec![0, widths.len() - 1] } else { Vec::with_capacity(wanted.len()) };
    for width in wanted {
        let Some(index) = widths.position(*width) else {
            let widths: Vec<String> = widths.iter().map(|width| width.to_string()).collect();
            bail!("there is no width {width}: choose from {}", widths.join(", "));
        };
        chosen.push(index);
    }
    chosen.sort_unstable();
    chosen.dedup();
    Ok(chosen)
}

/// A table of one line a width.
fn summary(landscape: &Landscape) -> String {
    let heads = ["width", "lowest loss", "highest loss", "cells without a value", "path's variance\non the two axes"];
    let row = |Surface { width, loss, explained, .. }: &Surface| {
        let cells = || loss.iter().flatten();
        let losses: Vec<f64> = cells().flatten().copied().collect();
        let number = |found: Option<f64>| found.map_or_else(|| "-".into(), |loss| format!("{loss:.3}"));
        let missing = match cells().count() - losses.len() {
            0 => "-".into(),
            missing => format!("{missing} of {}", cells().count()),
        };
        let [first, second] = explained.map(|share| format!("{:.1}%", 100.0 * share));
        vec![
            width.to_string(),
            number(losses.iter().copied().reduce(f64::min)),
            number(losses.iter().copied().reduce(f64::max)),
            missing,
            format!("{first} + {second}"),
        ]
    };
    terminal::aligned(&heads, &landscape.surfaces.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_looked_up_and_sorted() {
        let widths = Widths::try_from(vec![1.0, 0.75, 0.5]).unwrap();
        assert_eq!(chosen(&[], &widths).unwrap(), [0, 2]);
        assert_eq!(chosen(&[], &Widths::full()).unwrap(), [0]);
        assert_eq!(chosen(&[0.5, 1.0, 0.5], &widths).unwrap(), [0, 2]);
        let error = chosen(&[0.25], &widths).unwrap_err().to_string();
        assert_eq!(error, "there is no width 0.25: choose from 1, 0.75, 0.5");
    }

    #[test]
    fn the_summary_counts_cells_without_a_value() {
        let surface = |width, loss| Surface {
            width,
            x: vec![-1.0, 1.0],
            y: vec![-1.0, 1.0],
            loss,
            path: Vec::new(),
            explained: [0.875, 0.0625],
        };
        let whole = surface(1.0, vec![vec![Some(2.0), Some(4.5)], vec![Some(1.25), Some(3.0)]]);
        let holes = surface(0.5, vec![vec![None, Some(7.0)], vec![None, None]]);
        let none = surface(0.25, vec![vec![None; 2]; 2]);
        let landscape = Landscape { directions: Directions::Pca, images: 8, surfaces: vec![whole, holes, none] };
        let table = summary(&landscape);
        let lines: Vec<Vec<&str>> = table.lines().skip(3).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["1", "1.250", "4.500", "-", "87.5%", "+", "6.2%"]);
        assert_eq!(lines[1][1..6], ["7.000", "7.000", "3", "of", "4"]);
        assert_eq!(lines[2][1..6], ["-", "-", "4", "of", "4"]);
        assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    }
}
