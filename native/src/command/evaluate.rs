//! `slimclr evaluate`: kNN, linear probes and ridge regression on a run's latest checkpoint, for every width.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor};
use clap::{Args, ValueEnum};
use futures::executor::block_on;
use slimclr_core::{
    checkpoint::Checkpoint,
    config::Config,
    encoder::Encoder,
    eval::{
        features::{Extractor, Features},
        knn::{knn, nearest},
        probe::{ProbeConfig, probe},
        ridge::{self, ridge},
    },
    event::{Evaluated, Event},
    optim::schedule::Decay,
    parameter::Parameters,
    train::{Split, features},
};

use crate::{
    data::{Dataset, loader::Loader},
    device,
    feature_cache::FeatureCache,
    outcome,
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
    probe: ProbeFlags,
    /// Ridge of the ridge-regression probe, relative to the features' mean variance
    #[arg(long, default_value_t = ridge::LAMBDA, help_heading = "Ridge regression")]
    ridge_lambda: f64,
}

/// The linear probes: a recipe, changed by the flags that were given.
#[derive(Args)]
#[command(next_help_heading = "Linear probes")]
struct ProbeFlags {
    /// The paper's recipe to start from
    #[arg(long, default_value = "mocov2")]
    probe_recipe: ProbeRecipe,
    /// Passes over the training features, if others than the recipe's
    #[arg(long)]
    probe_epochs: Option<u64>,
    /// Features per step, if others than the recipe's, whose rate changes in proportion
    #[arg(long)]
    probe_batch: Option<usize>,
    /// Learning rate at that batch, if another than the recipe's
    #[arg(long)]
    probe_rate: Option<f64>,
    /// How the rate falls, if otherwise than the recipe's; milestones are at 60% and 80% of the epochs
    #[arg(long)]
    probe_decay: Option<Decay>,
}

/// The paper's probes.
#[derive(Clone, Copy, ValueEnum)]
enum ProbeRecipe {
    /// 100 epochs at rate 60 for a batch of 1024, by steps
    Mocov2,
    /// 90 epochs at rate 0.4 for a batch of 1024, along a cosine
    Mocov3,
}

impl ProbeFlags {
    fn config(&self) -> ProbeConfig {
        let recipe = match self.probe_recipe {
            ProbeRecipe::Mocov2 => ProbeConfig::moco_v2(),
            ProbeRecipe::Mocov3 => ProbeConfig::moco_v3(),
        };
        let batch = self.probe_batch.unwrap_or(recipe.batch);
        let recipe = recipe.at_batch(batch);
        ProbeConfig {
            epochs: self.probe_epochs.unwrap_or(recipe.epochs),
            batch,
            rate: self.probe_rate.unwrap_or(recipe.rate),
            decay: self.probe_decay.unwrap_or(recipe.decay),
        }
    }
}

/// Evaluates, prints the table and rewrites the report.
///
/// # Errors
/// If the run, its data or the device cannot be used.
pub fn run(flags: &Evaluate) -> Result<()> {
    let probe_config = flags.probe.config();
    probe_config.check()?;
    if !(flags.ridge_lambda > 0.0 && flags.ridge_lambda.is_finite()) {
        bail!("--ridge-lambda {} must be above 0", flags.ridge_lambda);
    }
    let folder = RunFolder::open(&flags.run)?;
    let bytes = folder.checkpoint()?;
    let mut config = Checkpoint::read(&bytes).with_context(|| folder.blame_checkpoint())?.config().clone();
    config.data = flags.data.clone().unwrap_or(config.data);
    config.device = flags.device.clone().unwrap_or(config.device);
    config.knn = flags.knn.unwrap_or(config.knn);
    config.check()?;
    let (device, _) = device::open(&config.device)?;
    let loader = Loader::new(Dataset::open(&config.data)?, &config, None)?;
    let (evaluations, neighbours) = evaluate(&folder, &config, &device, loader, &probe_config, flags.ridge_lambda)?;
    if flags.data.is_some() || flags.knn.is_some() {
        // Not the run's own measure: shown, but not written into its record.
        terminal::print(&terminal::table_of(&folder.events()?, &evaluations));
        return Ok(());
    }
    folder.append(&evaluations)?;
    outcome::present(&folder, &neighbours)
}

/// Evaluates every width of the latest checkpoint, whose features are kept in `folder`; `lambda` is the ridge. Returns
/// the figures, and the nearest neighbours of a few test images.
///
/// # Errors
/// If the checkpoint, the data or the device cannot be used.
pub fn evaluate(
    folder: &RunFolder,
    config: &Config,
    device: &Device,
    mut loader: Loader,
    probe_config: &ProbeConfig,
    lambda: f64,
) -> Result<(Vec<Event>, Vec<Neighbours>)> {
    let bytes = folder.checkpoint()?;
    let checkpoint = Checkpoint::read(&bytes).with_context(|| folder.blame_checkpoint())?;
    let encoder = checkpoint.encoder()?;
    let widths = encoder.layout().widths();
    let events = folder.events()?;
    let steps_per_epoch = Event::latest_start(&events).map(|started| started.steps_per_epoch);
    let epoch = checkpoint.step() as f64 / steps_per_epoch.unwrap_or(1) as f64;

    let cache = FeatureCache::new(folder, &bytes, config, loader.dataset());
    let [bank, test] = match cache.read(device) {
        Some(kept) => kept,
        None => {
            let parameters = checkpoint.query(&encoder, device).with_context(|| folder.blame_checkpoint())?;
            let computed = compute_features(&encoder, parameters, device, &mut loader)?;
            if let Err(error) = block_on(cache.write(&computed)) {
                eprintln!("warning: {error:#}; the next evaluation computes the features again");
            }
            computed
        }
    };

    let spinner = terminal::spinner("training the linear probes");
    let measured = block_on(async {
        let probed = probe(&bank, &test, widths, probe_config, config.seed).await?;
        spinner.set_message("solving for ridge regression and looking for neighbours");
        let mut evaluations = Vec::new();
        for (index, (bank, test)) in bank.iter().zip(&test).enumerate() {
            let accuracy = knn(bank, test, config.knn).await?;
            let (switchable, slimmable) = (probed.switchable[index], probed.slimmable[index]);
            let ridge = ridge(bank, test, lambda).await?;
            evaluations.push(Event::Evaluated(Evaluated {
                step: checkpoint.step(),
                epoch,
                width: widths.get(index),
                knn: accuracy.fraction,
                knn_standard_error: accuracy.standard_error,
                probe: Some(switchable.top1.fraction),
                probe_top5: Some(switchable.top5.fraction),
                probe_slimmable: Some(slimmable.top1.fraction),
                probe_slimmable_top5: Some(slimmable.top5.fraction),
                ridge: Some(ridge.top1.fraction),
                ridge_top5: Some(ridge.top5.fraction),
            }));
        }
        anyhow::Ok((evaluations, neighbours(loader.dataset(), &config.widths, &bank, &test).await?))
    });
    spinner.finish_and_clear();
    measured
}

/// The features of the training and of the test images at every width, widest first.
fn compute_features(
    encoder: &Encoder,
    mut parameters: Parameters,
    device: &Device,
    loader: &mut Loader,
) -> Result<[Vec<Features>; 2]> {
    let images: usize = [Split::Train, Split::Test].map(|split| loader.dataset().len(split)).iter().sum();
    let bar = terminal::bar(images as u64, "images", "computing features");
    let mut of_split = |split| {
        let extractor = Extractor::new(encoder, &mut parameters, device);
        block_on(features(loader, split, extractor, |images| bar.inc(images as u64)))
    };
    let computed = of_split(Split::Train).and_then(|bank| Ok([bank, of_split(Split::Test)?]));
    bar.finish_and_clear();
    Ok(computed?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_are_given_change_the_recipe() {
        let given = |probe_batch, probe_rate| ProbeFlags {
            probe_recipe: ProbeRecipe::Mocov3,
            probe_epochs: Some(7),
            probe_batch,
            probe_rate,
            probe_decay: None,
        };
        let recipe = ProbeConfig { epochs: 7, ..ProbeConfig::moco_v3() };
        assert_eq!(given(None, None).config(), recipe);
        assert_eq!(given(Some(512), None).config(), recipe.clone().at_batch(512));
        assert_eq!(given(Some(512), Some(3.0)).config(), ProbeConfig { batch: 512, rate: 3.0, ..recipe });
    }
}
