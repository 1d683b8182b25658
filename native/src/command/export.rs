//! `slimclr export`: takes one width out of a trained network, as files that other programs read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use clap::Args;
use futures::executor::block_on;
use slimclr_core::{
    augment::Normalisation,
    encoder::{BackboneKind, Encoder},
    event::{Evaluated, Event, Started},
    head::HEAD,
    interchange::{sub_network::SubNetwork, trained::Trained},
    profile::profile,
};

use crate::{
    model_card::{Architecture, FileEntry, Input, Loading, ModelCard, Training, name_of},
    run_folder::{RunFolder, write_atomically},
    terminal::{self, count},
    trained,
};

/// Flags of `slimclr export`.
#[derive(Args)]
pub struct Export {
    /// A run's folder, or a PyTorch file of the authors' code
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The width to take out
    #[arg(long, value_name = "W")]
    width: f64,
    /// Folder to write to [default: the folder 'export' of the run, or beside the file]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Replace files of an earlier export
    #[arg(long)]
    force: bool,
}

/// Writes the sub-network's tensors, its graph and its card.
///
/// # Errors
/// If the network lacks the width, or the files are there already or cannot be written.
pub fn run(flags: &Export) -> Result<()> {
    let trained = trained::open(&flags.run)?;
    let (encoder, parameters) = trained.load(&Device::flex())?;
    let widths = encoder.layout().widths();
    let Some(index) = widths.position(flags.width) else {
        let widths: Vec<String> = widths.iter().map(|width| width.to_string()).collect();
        bail!("{} has no width {}: choose from {}", flags.run.display(), flags.width, widths.join(", "));
    };
    let network = block_on(SubNetwork::take(&encoder, &parameters, index))?;
    let mut card = describe(flags, &trained, &encoder, &network)?;

    let out = flags.out.clone().unwrap_or_else(|| beside(&flags.run));
    let names = ["safetensors", "onnx", "json"].map(|ending| format!("{}.{ending}", card.name));
    if let Some(name) = names.iter().find(|name| out.join(name).exists() && !flags.force) {
        let path = out.join(name);
        bail!("{} is there already: replace it by --force, or choose another folder with --out", path.display());
    }
    let [tensors, graph] = [network.to_safetensors()?, network.into_onnx(&card.properties()?)];
    card.files = names.iter().zip([&tensors, &graph]).map(|(name, bytes)| FileEntry::of(name, bytes)).collect();
    fs::create_dir_all(&out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    // The card comes last, so that it never describes files that are not whole.
    for (name, bytes) in names.iter().zip([tensors, graph, serde_json::to_vec_pretty(&card)?]) {
        let path = out.join(name);
        write_atomically(&path, &bytes)?;
        terminal::print(&format!("{}  {}B", path.display(), count(bytes.len() as u64)));
    }
    Ok(())
}

/// The card, as yet without files.
///
/// # Errors
/// If a run's record cannot be read or does not say how images were normalised.
fn describe(flags: &Export, trained: &Trained, encoder: &Encoder, network: &SubNetwork) -> Result<ModelCard> {
    let events = if flags.run.is_dir() { RunFolder::open(&flags.run)?.events()? } else { Vec::new() };
    let started = Event::latest_start(&events);
    let normalisation = normalisation(trained, started).with_context(|| {
        format!(
            "{} does not say how its images were normalised: name the folder of the run; if that is what you did, \
             `slimclr pretrain --resume` adds it to the run's record",
            flags.run.display()
        )
    })?;
    let image_size = trained.options().image_size;
    let profiles = profile(encoder, image_size);
    let stages = || {
        let of_width = profiles.iter().filter(|profile| profile.width == flags.width);
        of_width.flat_map(|profile| &profile.stages).filter(|stage| encoder.is_classifier() || stage.name != HEAD)
    };
    let of_these_weights = |event: &Event| match (event, &trained.run) {
        (Event::Evaluated(it), Some(run)) if it.width == flags.width && it.step == run.step => Some(it.clone()),
        _ => None,
    };
    let name = format!("{}-w{}", name_of(&trained.config), flags.width);
    Ok(ModelCard {
        program: concat!("slimclr ", env!("CARGO_PKG_VERSION")),
        architecture: Architecture::of(&trained.config),
        width: flags.width,
        parameters: stages().map(|stage| stage.parameters).sum(),
        macs: stages().map(|stage| stage.macs).sum(),
        input: Input::new(image_size, normalisation),
        outputs: network.outputs().map(|(output, channels)| (output.to_owned(), channels)).collect(),
        training: trained.run.as_ref().zip(started).map(|(run, started)| Training {
            method: run.config.method,
            images: started.images,
            steps: run.step,
            epochs: run.step as f64 / started.steps_per_epoch as f64,
            options: run.config.clone(),
        }),
        // An evaluation with a probe says more than one without.
        evaluation: events.iter().filter_map(of_these_weights).max_by_key(Evaluated::was_probed),
        files: Vec::new(),
        loading: Loading::of(&trained.config, &name, encoder.is_classifier()),
        name,
    })
}

/// Where files go that were taken out of `network`, a folder or a file.
fn beside(network: &Path) -> PathBuf {
    let folder = if network.is_dir() { Some(network) } else { network.parent() };
    folder.unwrap_or(Path::new("")).join("export")
}

/// As the checkpoint has it, or the run's record where it is older; the authors' code uses the statistics of what the backbone is made for.
fn normalisation(trained: &Trained, started: Option<&Started>) -> Option<Normalisation> {
    match (&trained.run, trained.config.backbone) {
        (Some(run), _) => run.normalisation.or_else(|| started?.normalisation),
        (None, BackboneKind::Cifar) => Some(Normalisation::CIFAR10),
        (None, BackboneKind::Resnet | BackboneKind::EfficientnetB0) => Some(Normalisation::IMAGENET),
    }
}
