//! `slimclr evaluate`: kNN, linear probes and ridge regression on a trained network's features, at every width.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use clap::Args;
use futures::executor::block_on;
use slimclr_core::{
    config::Config,
    encoder::{BackboneKind, Encoder},
    eval::{
        ProbeAccuracy,
        features::{Extractor, Features},
        knn::{self, Voted, knn},
        probe::{self, ProbeConfig, ProbeRecipe, Probed, probe},
        rankme::rankme,
        ridge::{self, RidgeError, ridge},
    },
    event::{Evaluated, Event, MeasuredOn, NoAccuracy},
    forward::{Forward, Mode},
    interchange::pretrained::Pretrained,
    profile::profile,
    schedule::Decay,
    train::{Host, Split, TrainError, view_measures},
    width::Widths,
};
use slimclr_report::Neighbours;

use crate::{
    counted_rows::counted,
    data::{
        self, Dataset,
        loader::{LoadError, Loader},
    },
    device,
    feature_cache::FeatureCache,
    neighbours::neighbours,
    pretrained,
    run_folder::RunFolder,
    run_images::{Comparison, RunImages},
    shell, summary, table,
    terminal::{self, Progress, warn},
};

/// The option `knn_images` for all images: only evaluations during training are in a hurry.
const ALL: usize = 0;

/// Flags of `slimclr evaluate`.
#[derive(Args)]
pub struct EvaluateFlags {
    /// A run's folder, a checkpoint, or a PyTorch or safetensors file of another program
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Images to evaluate on [default: the run's]
    #[arg(long)]
    data: Option<String>,
    /// Device, as for pretrain [default: the run's]
    #[arg(long)]
    device: Option<String>,
    /// Number of neighbours in kNN [default: the run's]
    #[arg(long)]
    knn: Option<usize>,
    #[command(flatten)]
    probe: ProbeFlags,
    /// Regularisation strength, relative to the features' mean variance
    #[arg(long, default_value_t = ridge::LAMBDA, help_heading = "Ridge regression")]
    ridge_lambda: f64,
}

/// Flags of the linear probes, which override the recipe.
#[derive(Args)]
#[command(next_help_heading = "Linear probes")]
struct ProbeFlags {
    /// Published recipe; the flags below override it. Learning rates are for batch 256 [default: that of the run's
    /// method, else mocov2]
    #[arg(long, value_enum)]
    probe_recipe: Option<ProbeRecipe>,
    /// Passes over the training features [default: the recipe's]
    #[arg(long)]
    probe_epochs: Option<u64>,
    /// Batch size; the recipe's learning rate is scaled linearly with it [default: the recipe's]
    #[arg(long)]
    probe_batch: Option<usize>,
    /// Learning rate, used as given [default: the recipe's, scaled to --probe-batch]
    #[arg(long)]
    probe_rate: Option<f64>,
    /// Learning-rate schedule; milestones are at the recipe's fractions of the epochs [default: the recipe's]
    #[arg(long)]
    probe_decay: Option<Decay>,
}

impl ProbeFlags {
    /// Returns the probe options for a network with this backbone, by the recipe `default` if the flags name none.
    fn config(&self, default: ProbeRecipe, backbone: BackboneKind) -> ProbeConfig {
        let recipe = self.probe_recipe.unwrap_or(default).config(backbone);
        let batch = self.probe_batch.unwrap_or(recipe.batch);
        let recipe = recipe.at_batch(batch);
        let rate = self.probe_rate.unwrap_or(recipe.rate);
        ProbeConfig {
            epochs: self.probe_epochs.unwrap_or(recipe.epochs),
            decay: self.probe_decay.unwrap_or(recipe.decay),
            ..recipe.at_rate(rate)
        }
    }
}

/// Returns the recipe that the method of a network publishes.
fn recipe_of(trained: &Pretrained) -> ProbeRecipe {
    match &trained.run {
        Some(run) => ProbeRecipe::of_run(&run.config),
        None => ProbeRecipe::of_network(&trained.config),
    }
}

/// Evaluates a network and prints a table. For a run, also appends to its events and writes its report.
///
/// # Errors
/// If the network, its data or the device cannot be used.
pub fn run(flags: &EvaluateFlags) -> Result<()> {
    let lambda = flags.ridge_lambda;
    if !(lambda > 0.0 && lambda.is_finite()) {
        bail!("--ridge-lambda {lambda} must be a number above 0");
    }
    // Fails early on flags that are invalid for every recipe.
    flags.probe.config(ProbeRecipe::Mocov2, BackboneKind::Resnet).check()?;
    let trained = pretrained::open(&flags.run)?;
    let folder = flags.run.is_dir().then(|| RunFolder::open(&flags.run)).transpose()?;
    let mut config = trained.options();
    config.data = flags.data.clone().unwrap_or(config.data);
    config.device = flags.device.clone().unwrap_or(config.device);
    config.knn = flags.knn.unwrap_or(config.knn);
    config.knn_images = ALL;
    config.check()?;
    let (device, _) = device::open(&config.device)?;
    let (dataset, are_own) = open_images(&trained, folder.as_ref(), flags)?;
    let loader = Loader::new(dataset, &config, None)?;
    let probes = Probes { linear: flags.probe.config(recipe_of(&trained), trained.config.backbone), lambda };
    let on_own_images = folder.as_ref().filter(|_| are_own);
    let recorded_in = on_own_images.filter(|_| flags.knn.is_none());
    if let Some(folder) = recorded_in {
        // Nothing yet, but what can be recorded only at the end may have taken hours.
        folder.append(&[]).with_context(|| {
            let checkpoint = shell::path(&folder.checkpoint_path());
            format!("the result cannot be recorded; to only print it: slimclr evaluate {checkpoint}")
        })?;
    }
    let (evaluations, neighbours) = evaluate(&trained, on_own_images, &config, &device, loader, &probes)?;
    match recorded_in {
        Some(folder) => {
            folder.append(&evaluations)?;
            summary::show(folder, &neighbours)
        }
        // Not comparable with the run's own evaluations, so it is only printed.
        None => {
            let costs = profile(&trained.config.build()?, config.image_size);
            terminal::print(&table::of_evaluations(&costs, &evaluations));
            Ok(())
        }
    }
}

/// Opens the images to evaluate on: those that `flags` name, or else the run's. Returns them, and whether they are those
/// that the run was trained on.
fn open_images(trained: &Pretrained, folder: Option<&RunFolder>, flags: &EvaluateFlags) -> Result<(Dataset, bool)> {
    let options = trained.options();
    let open = |data: &str| -> Result<Dataset> {
        let dataset = data::open_of_run(&Config { data: data.into(), ..options.clone() })?;
        // Older checkpoints do not record how their images were normalised.
        Ok(match pretrained::normalisation(&flags.run, trained) {
            Ok(normalisation) => dataset.normalised_by(normalisation),
            Err(_) => dataset,
        })
    };
    let known = trained.run.as_ref().and_then(|run| run.dataset.as_ref());
    let on_these = |data: &Path| {
        format!("evaluate on these: slimclr evaluate {} --data {}", shell::path(&flags.run), shell::path(data))
    };
    match (folder.map(RunImages::of).transpose()?, &flags.data) {
        (Some(images), None) => Ok((images.open_unchanged(known, on_these)?, true)),
        (Some(images), Some(data)) => {
            let dataset = open(data)?;
            let is_same = matches!(images.compare(known, dataset.summary())?, Comparison::Same);
            Ok((dataset, is_same))
        }
        (None, Some(data)) => Ok((open(data)?, false)),
        (None, None) => {
            let data = &options.data;
            let dataset = open(data)?;
            let changes = known.map(|then| then.differences(dataset.summary())).unwrap_or_default();
            if !changes.is_empty() {
                bail!(
                    "the images in {data} are not those that this network was trained on: {}. Put the earlier ones back, \
                     or {}",
                    changes.join("; "),
                    on_these(Path::new(data))
                );
            }
            Ok((dataset, false))
        }
    }
}

/// Options of the linear probes and of ridge regression.
pub struct Probes {
    /// The linear probes.
    pub linear: ProbeConfig,
    /// The regularisation strength of ridge regression.
    pub lambda: f64,
}

impl Probes {
    /// Returns whether an evaluation used these options, even if a probe diverged.
    pub fn match_those_of(&self, evaluated: &Evaluated) -> bool {
        evaluated.probe_recipe.as_deref() == Some(&self.linear) && evaluated.ridge_lambda == Some(self.lambda)
    }
}

impl Default for Probes {
    fn default() -> Self {
        Self { linear: ProbeConfig::default(), lambda: ridge::LAMBDA }
    }
}

/// Evaluates the run in `folder` with the default probes, appends to its events, prints its table and writes its
/// report.
///
/// # Errors
/// If its checkpoint, its images or the device cannot be used.
pub fn evaluate_run(folder: &RunFolder, config: &Config, device: &Device) -> Result<()> {
    let config = &Config { knn_images: ALL, ..config.clone() };
    let trained = pretrained::open(folder.path())?;
    let images = RunImages::of(folder)?;
    let loader = Loader::new(images.open(&images.locate(&config.data))?, config, None)?;
    let (evaluations, neighbours) = evaluate(&trained, Some(folder), config, device, loader, &Probes::default())?;
    folder.append(&evaluations)?;
    summary::show(folder, &neighbours)
}

/// Finds the nearest neighbours for the report of the run in `folder` from its cached features. Returns none if the
/// cache is missing, or is not that of the run's current checkpoint and images.
pub fn cached_neighbours(folder: &RunFolder) -> Vec<Neighbours> {
    // Avoids reading the checkpoint and the images in vain.
    if !folder.features_path().exists() {
        return Vec::new();
    }
    let find = || -> Result<Vec<Neighbours>> {
        let trained = pretrained::open(folder.path())?;
        let (config, checkpoint) =
            (trained.options(), trained.checkpoint().context("not a checkpoint of this program")?);
        let images = RunImages::of(folder)?;
        let dataset = images.open(&images.locate(&folder.config()?.data))?;
        let cache = FeatureCache::of_run(folder, checkpoint, &dataset, config.image_size)?;
        let [bank, test] = cache.read(&Device::flex()).context("the features are not cached")?;
        block_on(neighbours(&dataset, &config.widths, &bank, &test))
    };
    find().unwrap_or_default()
}

/// Evaluates every width of `trained`. `folder` is that of its run if the images are the run's; their features are then
/// cached there. Returns an event per width, and the nearest neighbours of a few test images.
///
/// # Errors
/// If the network, the data or the device cannot be used.
fn evaluate(
    trained: &Pretrained,
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
    // The steps of a network from another program are unknown, but not 0, which would mean untrained.
    let step = trained.run.as_ref().map_or(1, |run| run.step);
    let epoch = step as f64 / steps_per_epoch.unwrap_or(1) as f64;

    let cache = match folder.zip(trained.checkpoint()) {
        Some((folder, checkpoint)) => FeatureCache::of_run(folder, checkpoint, loader.images(), config.image_size)?,
        None => FeatureCache::temporary(),
    };
    let [bank, test] = match cache.read(device) {
        Some(cached) => cached,
        None => {
            let extractor = Extractor::new(&encoder, &mut parameters, device).in_precision(config.precision);
            compute_features(&encoder, extractor, device, &mut loader, &cache)?
        }
    };

    // A classifier's outputs are the classes of its run's images; other images may have other classes.
    let has_these_classes = encoder.is_classifier()
        && folder.is_some()
        && loader.images().summary().classes.len() == trained.config.outputs;
    let [top1, top5] = [|it: ProbeAccuracy| it.top1.fraction, |it: ProbeAccuracy| it.top5.fraction];
    let no_accuracy = NoAccuracy::of(loader.images().summary().has_labels(), &bank[0].labels, &test[0].labels);
    block_on(async {
        let progress = Progress::spinner("comparing augmented views");
        let views = view_measures(&mut loader, &encoder, &mut parameters, device).await?;
        progress.begin("computing the effective rank");
        let mut ranks = Vec::with_capacity(bank.len());
        for bank in &bank {
            ranks.push(rankme(&*bank.values).await?);
        }
        drop(progress);
        let accuracies = match no_accuracy {
            Some(_) => None,
            None => Some((
                train_probes(&bank, &test, widths, &probes.linear, config.seed).await?,
                knn_and_ridge(&bank, &test, widths, config.knn, probes.lambda).await?,
            )),
        };
        let mut evaluations = Vec::new();
        for (index, (bank, test)) in bank.iter().zip(&test).enumerate() {
            let (width, rankme) = (widths.get(index), Some(ranks[index]));
            let mut evaluated =
                Evaluated { step, epoch, width, no_accuracy, rankme, views: views[index], ..Evaluated::default() };
            if let Some((probed, knn_and_ridge)) = &accuracies {
                let (knn, ridge) = knn_and_ridge[index];
                let (switchable, slimmable) = (probed.switchable[index], probed.slimmable[index]);
                if switchable.is_none() || slimmable.is_none() {
                    warn(&format!("a linear probe of width {width} has diverged: try a lower --probe-rate"));
                }
                let mut pass = Forward::new(&mut parameters, index, Mode::Eval);
                let classifier = if has_these_classes {
                    ProbeAccuracy::of(test, |x| pass.classify(&encoder, x)).await?
                } else {
                    None
                };
                evaluated = Evaluated {
                    knn: Some(knn.vote.fraction),
                    knn_standard_error: Some(knn.vote.standard_error),
                    nearest: Some(knn.nearest.fraction),
                    measured_on: Some(MeasuredOn {
                        test_images: test.labels.len(),
                        training_images: bank.labels.len(),
                        neighbours: config.knn,
                    }),
                    probe: switchable.map(top1),
                    probe_top5: switchable.map(top5),
                    probe_slimmable: slimmable.map(top1),
                    probe_slimmable_top5: slimmable.map(top5),
                    ridge: ridge.map(top1),
                    ridge_top5: ridge.map(top5),
                    probe_recipe: Some(probes.linear.clone().into()),
                    ridge_lambda: Some(probes.lambda),
                    classifier: classifier.map(top1),
                    classifier_top5: classifier.map(top5),
                    ..evaluated
                };
            }
            evaluations.push(Event::Evaluated(evaluated));
        }
        let widths: Vec<f64> = widths.iter().collect();
        let (bank, _progress) = counted(&bank, 1, "finding nearest neighbours");
        anyhow::Ok((evaluations, neighbours(loader.images(), &widths, &bank, &test).await?))
    })
}

/// Trains the linear probes of all widths and scores them.
async fn train_probes(
    bank: &[Features],
    test: &[Features],
    widths: &Widths,
    config: &ProbeConfig,
    seed: u64,
) -> Result<Probed> {
    let (bank, _progress) = counted(bank, probe::passes(config), "training the linear probes");
    Ok(probe(&bank, test, widths, config, seed).await?)
}

/// Computes each width's accuracy of kNN with `neighbours` and, where it has a solution, of ridge regression.
async fn knn_and_ridge(
    bank: &[Features],
    test: &[Features],
    widths: &Widths,
    neighbours: usize,
    lambda: f64,
) -> Result<Vec<(Voted, Option<ProbeAccuracy>)>> {
    let readings = knn::passes(test[0].labels.len()) + ridge::PASSES;
    let (bank, _progress) = counted(bank, readings, "computing ridge regression and kNN");
    let mut accuracies = Vec::with_capacity(bank.len());
    for ((bank, test), width) in bank.iter().zip(test).zip(widths.iter()) {
        let ridge = match ridge(bank, test, lambda).await {
            Ok(accuracy) => Some(accuracy),
            Err(error @ RidgeError::Indefinite { .. }) => {
                warn(&format!("width {width}: {error}"));
                None
            }
            Err(error) => return Err(error.into()),
        };
        accuracies.push((knn(bank, test, neighbours).await?, ridge));
    }
    Ok(accuracies)
}

/// Computes the features of the training and test images at every width, widest first, and writes them to `cache`.
fn compute_features(
    encoder: &Encoder,
    mut extractor: Extractor<'_>,
    device: &Device,
    loader: &mut Loader,
    cache: &FeatureCache,
) -> Result<[Vec<Features>; 2]> {
    let images = [Split::Train, Split::Test].map(|split| loader.images().len(split));
    let widths = encoder.layout().widths();
    let features: Vec<usize> = (0..widths.len()).map(|width| encoder.backbone().features().at(widths, width)).collect();
    let progress = Progress::new(images.iter().sum::<usize>() as u64, "images", "computing features");
    cache.write(images, &features, device, |writer| {
        block_on(async {
            for split in [Split::Train, Split::Test] {
                let chunks = async |chunk| loader.labelled(split, chunk).await;
                writer.extract(split, &mut extractor, &progress, chunks).await?;
                if writer.images(split) == 0 {
                    return Err(TrainError::<LoadError>::NoImages(split).into());
                }
            }
            anyhow::Ok(())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_override_the_recipe() {
        let given = |probe_batch, probe_rate| {
            let flags =
                ProbeFlags { probe_recipe: None, probe_epochs: Some(7), probe_batch, probe_rate, probe_decay: None };
            flags.config(ProbeRecipe::Bingo, BackboneKind::Resnet)
        };
        let recipe = ProbeConfig { epochs: 7, ..ProbeRecipe::Bingo.config(BackboneKind::Resnet) };
        assert_eq!(given(None, None), recipe);
        assert_eq!(given(Some(512), None), recipe.clone().at_batch(512));
        let found = given(Some(512), Some(3.0));
        assert_eq!(found, ProbeConfig { batch: 512, rate: 3.0, final_rate: found.final_rate, ..recipe });
        assert!((found.final_rate - 0.001).abs() < 1e-12);
    }
}
