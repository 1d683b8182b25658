//! `slimclr embed`: writes the features of any images to files that other programs read.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Result, ensure};
use clap::Args;
use futures::executor::block_on;
use slimclr_core::{
    data::folder::Purpose,
    eval::features::{Extractor, FeatureChunk},
    train::{Split, TrainError},
};

use crate::{
    data::{self, loader::LoadError},
    feature_cache::extract,
    feature_files::{Columns, FeatureFiles, FeaturePaths},
    interrupt,
    network::Network,
    terminal::{self, Progress},
    width_choice::WidthChoice,
};

/// Flags of `slimclr embed`.
#[derive(Args)]
#[command(after_help = "\
Examples: the full network's features, a sub-network's, and those of all widths
  slimclr embed runs/c10 --data photos --out photos.npy
  slimclr embed runs/c10 --data photos --out photos.npy --width 0.5
  slimclr embed runs/c10 --data photos --out photos.safetensors --width all

In Python:
  features = numpy.load('photos.npy')           [images, features]
  images = pandas.read_csv('photos.csv')        path, label and class of each row")]
pub struct EmbedFlags {
    /// A run's folder, a checkpoint or snapshot, or a PyTorch or safetensors file of another program
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Images, as for pretrain: a folder, shards, or 'embedded'
    #[arg(long)]
    data: String,
    /// File to write: .npy or .safetensors. A .csv file beside it lists the images
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Width of the network. 'all' writes a tensor for each width to .safetensors, or a .npy file for each
    #[arg(long, value_name = "W|all", default_value = "1")]
    width: WidthChoice,
    /// Device, as for pretrain [default: the run's]
    #[arg(long)]
    device: Option<String>,
    /// Overwrite files of an earlier call
    #[arg(long)]
    force: bool,
}

/// Computes the features of all images, training and test images, and writes them as they come.
///
/// # Errors
/// If the network, its data or the device cannot be used, or the files exist or cannot be written.
pub fn run(flags: &EmbedFlags) -> Result<ExitCode> {
    let mut network = Network::open(&flags.run, flags.device.as_deref())?;
    let widths = network.encoder.layout().widths();
    let indices = flags.width.indices(widths, &flags.run)?;
    let features = |index| network.encoder.backbone().features().at(widths, index);
    let columns = match flags.width {
        WidthChoice::One(_) => Columns::One(features(indices.start)),
        WidthChoice::All => Columns::All(indices.clone().map(|index| (widths.get(index), features(index))).collect()),
    };
    // Before the images are looked at, which may take long.
    let paths = FeaturePaths::new(&flags.out, &columns, flags.force)?;
    let loader = network.loader(data::open_for(Purpose::Features, &flags.data)?)?;
    let mut files = FeatureFiles::create(paths, &columns, loader.images())?;

    let _commands = interrupt::listen("stopping, without the features so far; press Ctrl-C again to exit at once");
    let start = Instant::now();
    let images = |split| loader.images().len(split);
    let total = images(Split::Train) + images(Split::Test);
    let progress = Progress::new(total as u64, "images", "computing features");
    let extractor = Extractor::new(&network.encoder, &mut network.parameters, &network.device);
    let mut extractor = extractor.at_widths(indices);
    let mut left_out: Vec<(Split, usize)> = Vec::new();
    let written = block_on(async {
        for split in [Split::Train, Split::Test] {
            let mut expected = 0;
            let chunks = async |chunk| loader.all(split, chunk).await;
            let add = async |chunk: FeatureChunk| {
                ensure!(!interrupt::has_stopped(), "stopped");
                for index in &chunk.indices {
                    left_out.extend((expected..*index).map(|damaged| (split, damaged)));
                    expected = index + 1;
                }
                files.append(loader.images(), split, chunk).await
            };
            extract(&mut extractor, &progress, chunks, add).await?;
            left_out.extend((expected..images(split)).map(|damaged| (split, damaged)));
        }
        anyhow::Ok(())
    });
    if interrupt::has_stopped() {
        // The temporary files are removed as `files` is dropped.
        return Ok(ExitCode::from(interrupt::EXIT_CODE));
    }
    written?;
    if left_out.len() == total {
        return Err(TrainError::<LoadError>::NoImages(Split::Train).into());
    }
    let lines = files.finish()?;
    drop(progress);
    lines.iter().for_each(|line| terminal::print(line));
    let seconds = start.elapsed().as_secs_f64();
    let done = total - left_out.len();
    terminal::note(&format!("{done} images in {seconds:.1} s ({:.0} images/s)", done as f64 / seconds));
    for (split, index) in left_out {
        terminal::note(&format!("left out, damaged: {}", loader.images().image_name(split, index)));
    }
    Ok(ExitCode::SUCCESS)
}
