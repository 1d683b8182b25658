//! `slimclr evaluate`: kNN and a switchable linear probe on a run's latest checkpoint, for every width.

use std::path::PathBuf;

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor};
use clap::Args;
use futures::executor::block_on;
use slimclr_core::{
    checkpoint::Checkpoint,
    config::Config,
    eval::{
        features::{Extractor, Features},
        knn::{knn, nearest},
        probe::{ProbeConfig, probe},
    },
    event::{Evaluated, Event},
    train::{Split, features},
};

use crate::{
    data::{Dataset, loader::Loader},
    device, outcome,
    report::Neighbours,
    run_folder::RunFolder,
    terminal,
};

/// Test images whose neighbours the report shows: of as many classes.
const SHOWN_QUERIES: usize = 6;
/// Neighbours shown of each.
const SHOWN_NEIGHBOURS: usize = 6;

/// Flags of `slimclr evaluate`.
#[derive(Args)]
pub struct Evaluate {
    /// The run's folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Images, if others than the run's
    #[arg(long)]
    data: Option<String>,
    /// Where to compute, if elsewhere than the run
    #[arg(long)]
    device: Option<String>,
    /// Neighbours that vote, if others than the run's
    #[arg(long)]
    knn: Option<usize>,
    #[command(flatten)]
    probe: ProbeConfig,
}

/// Evaluates, prints the table and rewrites the report.
///
/// # Errors
/// If the run, its data or the device cannot be used.
pub fn run(flags: &Evaluate) -> Result<()> {
    flags.probe.check()?;
    let folder = RunFolder::open(&flags.run)?;
    let bytes = folder.checkpoint()?;
    let mut config = Checkpoint::read(&bytes).with_context(|| folder.blame_checkpoint())?.config().clone();
    config.data = flags.data.clone().unwrap_or(config.data);
    config.device = flags.device.clone().unwrap_or(config.device);
    config.knn = flags.knn.unwrap_or(config.knn);
    config.check()?;
    let (device, _) = device::open(&config.device)?;
    let loader = Loader::new(Dataset::open(&config.data)?, &config, None)?;
    let (evaluations, neighbours) = evaluate(&folder, &config, &device, loader, &flags.probe)?;
    if flags.data.is_some() || flags.knn.is_some() {
        // Not the run's own measure: shown, but not written into its record.
        terminal::print(&terminal::table_of(&folder.events()?, &evaluations));
        return Ok(());
    }
    folder.append(&evaluations)?;
    outcome::present(&folder, &neighbours)
}

/// Evaluates every width of the latest checkpoint. Returns the figures, and the nearest neighbours of a few test
/// images.
///
/// # Errors
/// If the checkpoint, the data or the device cannot be used.
pub fn evaluate(
    folder: &RunFolder,
    config: &Config,
    device: &Device,
    mut loader: Loader,
    probe_config: &ProbeConfig,
) -> Result<(Vec<Event>, Vec<Neighbours>)> {
    let bytes = folder.checkpoint()?;
    let checkpoint = Checkpoint::read(&bytes).with_context(|| folder.blame_checkpoint())?;
    let encoder = checkpoint.encoder()?;
    let mut parameters = checkpoint.query(&encoder, device).with_context(|| folder.blame_checkpoint())?;
    let events = folder.events()?;
    let steps_per_epoch = Event::latest_start(&events).map(|started| started.steps_per_epoch);
    let epoch = checkpoint.step() as f64 / steps_per_epoch.unwrap_or(1) as f64;

    let spinner = terminal::spinner("computing features");
    let measured = block_on(async {
        let mut of_split = async |split| {
            let extractor = Extractor::new(&encoder, &mut parameters, device);
            features(&mut loader, split, extractor).await
        };
        let (bank, test) = (of_split(Split::Train).await?, of_split(Split::Test).await?);
        spinner.set_message("training the linear probe");
        let probes = probe(&bank, &test, probe_config, config.seed).await?;
        spinner.set_message("looking for neighbours");
        let mut evaluations = Vec::new();
        for (((bank, test), probe), width) in bank.iter().zip(&test).zip(probes).zip(&config.widths) {
            let accuracy = knn(bank, test, config.knn).await?;
            evaluations.push(Event::Evaluated(Evaluated {
                step: checkpoint.step(),
                epoch,
                width: *width,
                knn: accuracy.fraction,
                knn_standard_error: accuracy.standard_error,
                probe: Some(probe.top1.fraction),
                probe_top5: Some(probe.top5.fraction),
            }));
        }
        anyhow::Ok((evaluations, neighbours(loader.dataset(), &config.widths, &bank, &test).await?))
    });
    spinner.finish_and_clear();
    measured
}

/// For the first test image of each of a few classes, the most similar training images at each width.
async fn neighbours(
    dataset: &Dataset,
    widths: &[f64],
    bank: &[Features],
    test: &[Features],
) -> Result<Vec<Neighbours>> {
    let Some(of_test) = test.first() else { return Ok(Vec::new()) };
    let queries: Vec<usize> = (0..dataset.classes.len() as u32)
        .filter_map(|class| of_test.labels.iter().position(|label| *label == class))
        .take(SHOWN_QUERIES)
        .collect();
    let class = |split, index| dataset.classes[dataset.label(split, index) as usize].clone();
    let mut shown: Vec<Neighbours> = Vec::with_capacity(queries.len());
    for query in &queries {
        let index = of_test.indices[*query];
        shown.push(Neighbours {
            query: dataset.image(Split::Test, index)?.into_owned(),
            class: class(Split::Test, index),
            per_width: Vec::with_capacity(widths.len()),
        });
    }
    for ((bank, test), width) in bank.iter().zip(test).zip(widths) {
        let unit = test.normalized();
        let rows = queries.iter().map(|query| unit.clone().narrow(0, *query, 1)).collect();
        let found = nearest(bank.normalized(), Tensor::cat(rows, 0), SHOWN_NEIGHBOURS).await?;
        for (shown, found) in shown.iter_mut().zip(found) {
            let images = found
                .iter()
                .map(|neighbour| {
                    let index = bank.indices[neighbour.image];
                    Ok((dataset.image(Split::Train, index)?.into_owned(), class(Split::Train, index)))
                })
                .collect::<Result<_>>()?;
            shown.per_width.push((*width, images));
        }
    }
    Ok(shown)
}
