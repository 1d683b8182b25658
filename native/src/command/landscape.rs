//! `slimclr landscape`: the loss around a run's weights, with the training path through it (paper figure 5).

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
    bags,
    data::loader::Loader,
    device,
    files::write_atomically,
    run_folder::RunFolder,
    run_images::RunImages,
    shell, teacher, teacher_features,
    terminal::{self, Progress},
};

/// The default number of images that losses are averaged over.
const IMAGES: usize = 256;

/// Flags of `slimclr landscape`.
#[derive(Args)]
#[command(after_long_help = "\
The loss is the method's own (contrastive or cross-entropy), of one width, without distillation. It is computed on \
fixed views of training images, with batch norm in training mode. The key encoder and the queue are the checkpoint's and \
stay fixed; only the convolution and linear weights that the width uses vary. The origin of the plane is the last snapshot. The path consists of all snapshots, projected onto the plane.

With `--directions pca`, the plane shows as much of the path as a plane can, and its coordinates are distances between \
weights. With `--directions random`, it shows the loss around the last snapshot: at a distance of 1, each filter has \
moved by its own norm. Two random directions show almost nothing of the path.

This takes one forward pass of the images per grid point and per snapshot. All snapshots are held in main memory, at 4 \
bytes per parameter: 1 MB each for a ResNet-20, 110 MB for a ResNet-50.")]
pub struct LandscapeFlags {
    /// A run's folder; the run must have been trained with --interference, which saves snapshots
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Widths, separated by commas, each with a separate plane [default: the widest and the narrowest]
    #[arg(long, value_name = "W,…", value_delimiter = ',')]
    widths: Vec<f64>,
    /// Directions that span the plane
    #[arg(long, value_enum, default_value = "pca")]
    directions: Directions,
    /// Grid points along each direction, 3 to 201
    #[arg(long, value_name = "N", default_value_t = 21)]
    cells: usize,
    /// Training images that the loss is averaged over [default: 256, or all if there are fewer]
    ///
    /// Rounded down to whole batches (micro-batches with --accumulate), or, if it is less than one batch, to whole
    /// batch-norm groups.
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Seed of the random directions
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Device, as for pretrain [default: the run's]
    #[arg(long)]
    device: Option<String>,
}

impl LandscapeFlags {
    /// Returns the flags for the run in `folder` on `device` with `cells` grid points per side, and defaults otherwise.
    pub fn new(folder: &RunFolder, device: &str, cells: usize) -> Self {
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

/// Computes the landscape, writes it into the run's folder, and prints a summary.
///
/// # Errors
/// Those of [`compute`].
pub fn run(flags: &LandscapeFlags) -> Result<()> {
    let folder = RunFolder::open(&flags.run)?;
    terminal::print(&summary(&compute(&folder, flags)?));
    terminal::print(&format!("landscape: {}", folder.landscape_path().display()));
    terminal::note(&format!("next, draw it: slimclr report {}", shell::path(&flags.run)));
    Ok(())
}

/// Computes the landscape and writes it into the run's folder.
///
/// # Errors
/// If the run has no snapshots or no checkpoint, they are damaged or of another network, the run lacks a width, or its
/// images or the device cannot be used.
pub fn compute(folder: &RunFolder, flags: &LandscapeFlags) -> Result<Landscape> {
    let (name, cells) = (flags.run.display(), flags.cells);
    if !(3..=201).contains(&cells) {
        bail!("--cells {cells} must be between 3 and 201");
    }
    let snapshots = folder.snapshots()?;
    if snapshots.is_empty() {
        bail!(
            "{name} has no snapshots of its weights, which a landscape needs: train a new run with \
             `slimclr pretrain --interference`"
        );
    }
    let bytes = folder.latest_checkpoint()?.with_context(|| {
        format!(
            "{name} has no checkpoint, which a landscape needs: the run ended or diverged before it saved one. Resume it \
             with `slimclr pretrain --resume {}`, or train a new run with a lower --learning-rate or a smaller \
             --checkpoint-every",
            shell::path(&flags.run)
        )
    })?;
    let checkpoint = Checkpoint::read(&bytes).map_err(|error| folder.unusable_checkpoint(&error))?;
    let config = checkpoint.config();
    let widths = width_indices(&flags.widths, &config.network_widths()?).with_context(|| name.to_string())?;
    let dataset = RunImages::of(folder)?.open_unchanged(checkpoint.dataset(), |_| {
        format!("continue on these: slimclr pretrain --resume {} --accept-changed-images", shell::path(&flags.run))
    })?;
    let schedule = config.schedule(dataset.len(Split::Train))?;
    let images_per_epoch = schedule.steps_per_epoch as usize * config.batch;
    let images = flags.images.unwrap_or(IMAGES.min(images_per_epoch));
    if !(2..=images_per_epoch).contains(&images) {
        bail!("--images {images} must be between 2 and the {images_per_epoch} images of an epoch");
    }

    let (device, device_name) = device::open(flags.device.as_ref().unwrap_or(&config.device))?;
    let teacher = teacher::of_run(folder, config, &device)?;
    let trainer = checkpoint.resume(&device, teacher).map_err(|error| folder.unusable_checkpoint(&error))?;
    let reading = Progress::spinner("reading the snapshots");
    let mut surveyor = {
        let mut loader = Loader::new(dataset, config, None)?;
        bags::add(&mut loader, folder, config, &device)?;
        teacher_features::add(&mut loader, folder, config, &device)?;
        let batches = schedule
            .unseen(images, config.batch)
            .map(|step| Ok(block_on(loader.batch(step, &device))?))
            .collect::<Result<Vec<_>>>()?;
        Surveyor::new(trainer, &batches, images, schedule.steps_per_epoch)
    };
    for (_, path) in &snapshots {
        let mut read = || -> Result<()> {
            // In main memory, which has room for hundreds of snapshots.
            Ok(surveyor.add(Snapshot::read(&fs::read(path)?, &Device::flex())?)?)
        };
        read().with_context(|| format!("the snapshot {} cannot be used", path.display()))?;
    }
    drop(reading);

    let losses = widths.len() * (cells * cells + snapshots.len());
    let progress = Progress::new(losses as u64, "losses", "computing the landscape");
    terminal::note(&format!("{} images, {} snapshots, on {device_name}", surveyor.images(), snapshots.len()));
    let survey = Survey { directions: flags.directions, cells, seed: flags.seed };
    let computed = async |losses| {
        progress.inc(losses);
        ControlFlow::Continue(())
    };
    let surface = |width| block_on(surveyor.surface(width, survey, computed));
    let surfaces = widths.into_iter().map(surface).collect::<Result<_, _>>()?;
    drop(progress);
    let landscape = Landscape { directions: flags.directions, images: surveyor.images(), surfaces };
    write_atomically(&folder.landscape_path(), &serde_json::to_vec(&landscape)?)?;
    Ok(landscape)
}

/// Returns the indices of the `wanted` widths in `widths`, widest first; of the widest and the narrowest if none is
/// given.
fn width_indices(wanted: &[f64], widths: &Widths) -> Result<Vec<usize>> {
    let mut indices = if wanted.is_empty() { vec![0, widths.len() - 1] } else { Vec::with_capacity(wanted.len()) };
    for width in wanted {
        let Some(index) = widths.position(*width) else {
            let widths: Vec<String> = widths.iter().map(|width| width.to_string()).collect();
            bail!("there is no width {width}: choose from {}", widths.join(", "));
        };
        indices.push(index);
    }
    indices.sort_unstable();
    indices.dedup();
    Ok(indices)
}

/// Formats a table with one row per width.
fn summary(landscape: &Landscape) -> String {
    let heads = ["width", "lowest loss", "highest loss", "NaN or infinite", "variance explained\nby the two axes"];
    let row = |Surface { width, loss, explained, .. }: &Surface| {
        let cells = || loss.iter().flatten();
        let losses: Vec<f64> = cells().flatten().copied().collect();
        let number = |loss: Option<f64>| loss.map_or_else(|| "-".into(), |loss| format!("{loss:.3}"));
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
    fn widths_are_found_and_sorted() {
        let widths = Widths::try_from(vec![1.0, 0.75, 0.5]).unwrap();
        assert_eq!(width_indices(&[], &widths).unwrap(), [0, 2]);
        assert_eq!(width_indices(&[], &Widths::full()).unwrap(), [0]);
        assert_eq!(width_indices(&[0.5, 1.0, 0.5], &widths).unwrap(), [0, 2]);
        let error = width_indices(&[0.25], &widths).unwrap_err().to_string();
        assert_eq!(error, "there is no width 0.25: choose from 1, 0.75, 0.5");
    }

    #[test]
    fn the_summary_counts_losses_that_are_not_finite() {
        let surface = |width, loss| Surface {
            width,
            x: vec![-1.0, 1.0],
            y: vec![-1.0, 1.0],
            loss,
            path: Vec::new(),
            explained: [0.875, 0.0625],
        };
        let all_finite = surface(1.0, vec![vec![Some(2.0), Some(4.5)], vec![Some(1.25), Some(3.0)]]);
        let one_finite = surface(0.5, vec![vec![None, Some(7.0)], vec![None, None]]);
        let none_finite = surface(0.25, vec![vec![None; 2]; 2]);
        let landscape =
            Landscape { directions: Directions::Pca, images: 8, surfaces: vec![all_finite, one_finite, none_finite] };
        let table = summary(&landscape);
        let lines: Vec<Vec<&str>> = table.lines().skip(3).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["1", "1.250", "4.500", "-", "87.5%", "+", "6.2%"]);
        assert_eq!(lines[1][1..6], ["7.000", "7.000", "3", "of", "4"]);
        assert_eq!(lines[2][1..6], ["-", "-", "4", "of", "4"]);
        assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    }
}
