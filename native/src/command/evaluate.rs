//! `slimclr evaluate`: kNN, linear probes and ridge regression on a trained network, for every width.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor};
use clap::{Args, ValueEnum};
use futures::executor::block_on;
use slimclr_core::{
    config::Config,
    encoder::Encoder,
    eval::{
        ProbeAccuracy,
        features::{Extractor, Features},
        knn::{knn, nearest},
        probe::{ProbeConfig, probe},
        rankme::rankme,
        ridge::{self, RidgeError, ridge},
    },
    event::{Evaluated, Event},
    forward::{Forward, Mode},
    head::HeadKind,
    interchange::trained::Trained,
    parameter::Parameters,
    profile::profile,
    schedule::Decay,
    train::{Split, features},
};
use slimclr_report::Neighbours;

use crate::{
    data::{Dataset, loader::Loader},
    device,
    feature_cache::FeatureCache,
    outcome,
    run_folder::RunFolder,
    terminal, trained,
};

/// Test images whose neighbours the report shows: of as many classes.
const SHOWN_QUERIES: usize = 6;
/// Neighbours shown of each.
const SHOWN_NEIGHBOURS: usize = 6;

/// Flags of `slimclr evaluate`.
#[derive(Args)]
pub struct Evaluate {
    /// A run's folder, a checkpoint, or a PyTorch file of the authors' code
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
    /// The paper's recipe to start from [default: that of the run's method]
    #[arg(long)]
    probe_recipe: Option<ProbeRecipe>,
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
    /// The probes of a network with `head`.
    fn config(&self, head: HeadKind) -> ProbeConfig {
        let of_head = if head == HeadKind::Mocov3 { ProbeRecipe::Mocov3 } else { ProbeRecipe::Mocov2 };
        let recipe = match self.probe_recipe.unwrap_or(of_head) {
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

/// Evaluates and prints the table; writes what it finds into a run's record and report.
///
/// # Errors
/// If the network, its data or the device cannot be used.
pub fn run(flags: &Evaluate) -> Result<()> {
    let lambda = flags.ridge_lambda;
    if !(lambda > 0.0 && lambda.is_finite()) {
        bail!("--ridge-lambda {lambda} must be above 0");
    }
    // Before anything large is read: flags that no recipe makes right.
    flags.probe.config(HeadKind::Mocov2).check()?;
    let trained = trained::open(&flags.run)?;
    let folder = flags.run.is_dir().then(|| RunFolder::open(&flags.run)).transpose()?;
    let mut config = trained.options();
    config.data = flags.data.clone().unwrap_or(config.data);
    config.device = flags.device.clone().unwrap_or(config.device);
    config.knn = flags.knn.unwrap_or(config.knn);
    config.check()?;
    let (device, _) = device::open(&config.device)?;
    let loader = Loader::new(Dataset::open(&config.data)?, &config, None)?;
    let probes = Probes { linear: flags.probe.config(trained.config.head), lambda };
    let home = folder.as_ref().filter(|_| flags.data.is_none());
    let (evaluations, neighbours) = evaluate(&trained, home, &config, &device, loader, &probes)?;
    match folder {
        Some(folder) if flags.data.is_none() && flags.knn.is_none() => {
            folder.append(&evaluations)?;
            outcome::present(&folder, &neighbours)
        }
        // Not a run's own measure: shown, but neither written into its record nor beside what stands there.
        _ => {
            let costs = profile(&trained.config.build()?, config.image_size);
            terminal::print(&terminal::table(&costs, &evaluations));
            Ok(())
        }
    }
}

/// How the probes are fitted.
pub struct Probes {
    /// The linear probes.
    pub linear: ProbeConfig,
    /// The ridge.
    pub lambda: f64,
}

impl Probes {
    /// Whether these probes, fitted with success or not, made an evaluation.
    pub fn measured(&self, evaluated: &Evaluated) -> bool {
        evaluated.probe_recipe.as_ref() == Some(&self.linear) && evaluated.ridge_lambda == Some(self.lambda)
    }
}

impl Default for Probes {
    fn default() -> Self {
        Self { linear: ProbeConfig::moco_v2(), lambda: ridge::LAMBDA }
    }
}

/// Evaluates the run in `folder` with the usual probes; writes what it finds into its record and report, and shows it.
///
/// # Errors
/// If its checkpoint, its images or the device cannot be used.
pub fn evaluate_run(folder: &RunFolder, config: &Config, device: &Device) -> Result<()> {
    let loader = Loader::new(Dataset::open(&config.data)?, config, None)?;
    let trained = trained::open(folder.path())?;
    let (evaluations, neighbours) = evaluate(&trained, Some(folder), config, device, loader, &Probes::default())?;
    folder.append(&evaluations)?;
    outcome::present(folder, &neighbours)
}

/// The neighbours that the latest evaluation of the run in `folder` found: looked up again in the features that it kept.
/// None where they are not of the run's checkpoint and images as these are now.
pub fn kept_neighbours(folder: &RunFolder) -> Vec<Neighbours> {
    // Before anything large is read in vain.
    if !folder.features_path().exists() {
        return Vec::new();
    }
    let look_up = || -> Result<Vec<Neighbours>> {
        let trained = trained::open(folder.path())?;
        let (config, checkpoint) = (trained.options(), trained.checkpoint().context("a run's checkpoint is ours")?);
        let dataset = Dataset::open(&config.data)?;
        let cache = FeatureCache::new(folder, checkpoint, &dataset, config.image_size)?;
        let [bank, test] = cache.read(&Device::flex()).context("no features are kept")?;
        block_on(neighbours(&dataset, &config.widths, &bank, &test))
    };
    look_up().unwrap_or_default()
}

/// Evaluates every width of `trained`. On its run's own images, their features are kept in the run's `folder`. Returns
/// the figures, and the nearest neighbours of a few test images.
///
/// # Errors
/// If the network, the data or the device cannot be used.
fn evaluate(
    trained: &Trained,
    folder: Option<&RunFolder>,
    config: &Config,
    device: &Device,
    mut loader: Loader,
    probes: &Probes,
) -> Result<(Vec<Event>, Vec<Neighbours>)> {
    let (encoder, mut parameters) = trained.load(device)?;
    let widths = encoder.layout().widths();
    let events = folder.map(RunFolder::events).transpose()?.unwrap_or_default();
    let steps_per_epoch = Event::latest_start(&events).map(|started| started.steps_per_epoch);
    // A network from elsewhere has been trained, whatever the number of steps.
    let step = trained.run.as_ref().map_or(1, |run| run.step);
    let epoch = step as f64 / steps_per_epoch.unwrap_or(1) as f64;

    let of_checkpoint =
        |(folder, checkpoint)| FeatureCache::new(folder, checkpoint, loader.dataset(), config.image_size);
    let cache = folder.zip(trained.checkpoint()).map(of_checkpoint).transpose()?;
    let [bank, test] = match cache.as_ref().and_then(|cache| cache.read(device)) {
        Some(kept) => kept,
        None => {
            let computed = compute_features(&encoder, &mut parameters, device, &mut loader)?;
            if let Some(Err(error)) = cache.map(|cache| block_on(cache.write(&computed))) {
                eprintln!("warning: {error:#}; the next evaluation computes the features again");
            }
            computed
        }
    };

    // Its own classes: those of a run's own images, as many as it has outputs.
    let knows_classes =
        encoder.is_classifier() && folder.is_some() && loader.dataset().classes.len() == trained.config.outputs;
    let [top1, top5] = [|it: ProbeAccuracy| it.top1.fraction, |it: ProbeAccuracy| it.top5.fraction];
    let spinner = terminal::spinner("training the linear probes");
    let warn = |warning: &str| spinner.suspend(|| eprintln!("warning: {warning}"));
    let measured = block_on(async {
        let probed = probe(&bank, &test, widths, &probes.linear, config.seed).await?;
        spinner.set_message("solving for ridge regression and looking for neighbours");
        let mut evaluations = Vec::new();
        for (index, (bank, test)) in bank.iter().zip(&test).enumerate() {
            let accuracy = knn(bank, test, config.knn).await?;
            let (switchable, slimmable) = (probed.switchable[index], probed.slimmable[index]);
            let width = widths.get(index);
            if switchable.is_none() || slimmable.is_none() {
                warn(&format!("a linear probe of width {width} has diverged: try a lower --probe-rate"));
            }
            let ridge = match ridge(bank, test, probes.lambda).await {
                Ok(accuracy) => Some(accuracy),
                Err(error @ RidgeError::Indefinite { .. }) => {
                    warn(&format!("width {width}: {error}"));
                    None
                }
                Err(error) => return Err(error.into()),
            };
            let mut pass = Forward::new(&mut parameters, index, Mode::Eval);
            let classifier = if knows_classes {
                ProbeAccuracy::of(pass.classify(&encoder, test.values.clone()), &test.labels).await?
            } else {
                None
            };
            evaluations.push(Event::Evaluated(Evaluated {
                step,
                epoch,
                width,
                knn: accuracy.fraction,
                knn_standard_error: accuracy.standard_error,
                rankme: Some(rankme(bank.values.clone()).await?),
                probe: switchable.map(top1),
                probe_top5: switchable.map(top5),
                probe_slimmable: slimmable.map(top1),
                probe_slimmable_top5: slimmable.map(top5),
                ridge: ridge.map(top1),
                ridge_top5: ridge.map(top5),
                probe_recipe: Some(probes.linear.clone()),
                ridge_lambda: Some(probes.lambda),
                classifier: classifier.map(top1),
                classifier_top5: classifier.map(top5),
            }));
        }
        let widths: Vec<f64> = widths.iter().collect();
        anyhow::Ok((evaluations, neighbours(loader.dataset(), &widths, &bank, &test).await?))
    });
    spinner.finish_and_clear();
    measured
}

/// The features of the training and of the test images at every width, widest first.
fn compute_features(
    encoder: &Encoder,
    parameters: &mut Parameters,
    device: &Device,
    loader: &mut Loader,
) -> Result<[Vec<Features>; 2]> {
    let images: usize = [Split::Train, Split::Test].map(|split| loader.dataset().len(split)).iter().sum();
    let bar = terminal::bar(images as u64, "images", "computing features");
    let mut of_split = |split| {
        let extractor = Extractor::new(encoder, parameters, device);
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
            probe_recipe: None,
            probe_epochs: Some(7),
            probe_batch,
            probe_rate,
            probe_decay: None,
        };
        let recipe = ProbeConfig { epochs: 7, ..ProbeConfig::moco_v3() };
        assert_eq!(given(None, None).config(HeadKind::Mocov3), recipe);
        assert_eq!(given(Some(512), None).config(HeadKind::Mocov3), recipe.clone().at_batch(512));
        assert_eq!(
            given(Some(512), Some(3.0)).config(HeadKind::Mocov3),
            ProbeConfig { batch: 512, rate: 3.0, ..recipe }
        );
    }
}
