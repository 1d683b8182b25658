//! `slimclr export`: writes one width of a trained network as files that other programs read.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use burn::tensor::Device;
use clap::Args;
use futures::executor::block_on;
use slimclr_core::{
    encoder::Encoder,
    event::{Evaluated, Event},
    head::HEAD,
    interchange::{pretrained::Pretrained, sub_network::SubNetwork},
    profile::profile,
};

use crate::{
    model_card::{Architecture, FileEntry, Input, Loading, ModelCard, Training, name_of},
    pretrained,
    run_folder::{create_folder, write_atomically},
    terminal::{self, Progress, count},
};

/// Flags of `slimclr export`.
#[derive(Args)]
pub struct ExportFlags {
    /// A run's folder, a checkpoint or snapshot, or a PyTorch or safetensors file of another program
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Width to export, such as 0.5
    #[arg(long, value_name = "W")]
    width: f64,
    /// Folder to write to [default: 'export' in the run's folder, or beside the checkpoint]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Overwrite files of an earlier export
    #[arg(long)]
    force: bool,
}

/// Writes the sub-network's weights (safetensors), graph (ONNX) and model card (JSON).
///
/// # Errors
/// If the network lacks the width, or the files exist or cannot be written.
pub fn run(flags: &ExportFlags) -> Result<()> {
    let _progress = Progress::spinner("exporting the network");
    let trained = pretrained::open(&flags.run)?;
    let (encoder, parameters) = trained.load(&Device::flex())?;
    let index = pretrained::position(encoder.layout().widths(), flags.width, &flags.run)?;
    let network = block_on(SubNetwork::take(&encoder, &parameters, index))?;
    let mut card = model_card(flags, &trained, &encoder, &network)?;

    let out = flags.out.clone().unwrap_or_else(|| default_folder(&flags.run));
    let names = ["safetensors", "onnx", "json"].map(|ending| format!("{}.{ending}", card.name));
    if let Some(name) = names.iter().find(|name| out.join(name).exists() && !flags.force) {
        let path = out.join(name);
        bail!("{} already exists: overwrite it with --force, or choose another folder with --out", path.display());
    }
    let [tensors, graph] =
        [network.to_safetensors(card.safetensors_metadata()?)?, network.to_onnx().encode(&card.properties()?)];
    card.files = names.iter().zip([&tensors, &graph]).map(|(name, bytes)| FileEntry::of(name, bytes)).collect();
    create_folder(&out)?;
    // The card is written last, so that it never describes incomplete files.
    for (name, bytes) in names.iter().zip([tensors, graph, serde_json::to_vec_pretty(&card)?]) {
        let path = out.join(name);
        write_atomically(&path, &bytes)?;
        terminal::print(&format!("{}  {}B", path.display(), count(bytes.len() as u64)));
    }
    Ok(())
}

/// Returns the model card, without its files.
///
/// # Errors
/// If a run's events cannot be read, or the normalisation of its images is unknown.
fn model_card(flags: &ExportFlags, trained: &Pretrained, encoder: &Encoder, network: &SubNetwork) -> Result<ModelCard> {
    let events = pretrained::events(&flags.run)?;
    let started = Event::latest_start(&events);
    let normalisation = pretrained::normalisation(&flags.run, trained, started)?;
    let image_size = trained.options().image_size;
    let input = Input::new(image_size, normalisation);
    let profiles = profile(encoder, image_size);
    let stages = || {
        let at_width = profiles.iter().filter(|profile| profile.width == flags.width);
        at_width.flat_map(|profile| &profile.stages).filter(|stage| encoder.is_classifier() || stage.name != HEAD)
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
        classes: classes(trained, encoder),
        outputs: network.outputs().map(|(output, channels)| (output.to_owned(), channels)).collect(),
        training: trained.run.as_ref().zip(started).map(|(run, started)| Training {
            method: run.config.method,
            images: started.images,
            steps: run.step,
            epochs: run.step as f64 / started.steps_per_epoch as f64,
            options: run.config.clone(),
        }),
        // Prefers an evaluation with probes to one of kNN alone.
        evaluation: events.iter().filter_map(of_these_weights).max_by_key(Evaluated::was_probed),
        files: Vec::new(),
        loading: Loading::of(&trained.config, &input, &name, encoder.is_classifier()),
        input,
        name,
    })
}

/// Returns the names of the classes that the network's classifier tells apart; none if it has no classifier, or they are
/// not known.
fn classes(trained: &Pretrained, encoder: &Encoder) -> Vec<String> {
    let dataset = trained.run.as_ref().and_then(|run| run.dataset.as_ref()).filter(|_| encoder.is_classifier());
    let classes = dataset.map(|dataset| dataset.classes.clone()).unwrap_or_default();
    if classes.len() == trained.config.outputs { classes } else { Vec::new() }
}

/// Returns the folder to export to from `network`, a run's folder or a file.
fn default_folder(network: &Path) -> PathBuf {
    let folder = if network.is_dir() { Some(network) } else { network.parent() };
    folder.unwrap_or(Path::new("")).join("export")
}
