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
    encoder::BackboneKind,
    event::{Event, Started},
    head::HEAD,
    interchange::sub_network::SubNetwork,
    profile::profile,
};

use crate::{
    model_card::{Architecture, FileEntry, Input, Loading, ModelCard, Training, name_of},
    run_folder::{RunFolder, write_atomically},
    terminal::{self, count},
    trained::Trained,
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
    let trained = Trained::open(&flags.run)?;
    let (encoder, parameters) = trained.load(&Device::flex())?;
    let widths = encoder.layout().widths();
    let Some(index) = widths.position(flags.width) else {
        let widths: Vec<String> = widths.iter().map(|width| width.to_string()).collect();
        bail!("{} has no width {}: choose from {}", flags.run.display(), flags.width, widths.join(", "));
    };
    let name = format!("{}-w{}", name_of(&trained.config), flags.width);
    let out = flags.out.clone().unwrap_or_else(|| beside(&flags.run));
    let paths = ["safetensors", "onnx", "json"].map(|ending| out.join(format!("{name}.{ending}")));
    if let Some(path) = paths.iter().find(|path| path.exists() && !flags.force) {
        bail!("{} is there already: replace it by --force, or choose another folder with --out", path.display());
    }
    let events = if flags.run.is_dir() { RunFolder::open(&flags.run)?.events()? } else { Vec::new() };
    let started = Event::latest_start(&events);
    let normalisation = normalisation(&trained, started).with_context(|| {
        format!(
            "{} does not say how its images were normalised: name the folder of the run; if that is what you did, \
             `slimclr pretrain --resume` adds it to the run's record",
            flags.run.display()
        )
    })?;

    let network = block_on(SubNetwork::take(&encoder, &parameters, index))?;
    let has_classifier = encoder.is_classifier();
    let outputs = network.outputs().map(|(output, channels)| (output.to_owned(), channels)).collect();
    let tensors = network.to_safetensors()?;
    let graph = network.into_onnx(&[
        ("width", flags.width.to_string()),
        ("mean", serde_json::to_string(&normalisation.mean)?),
        ("std", serde_json::to_string(&normalisation.std)?),
    ]);

    let image_size = trained.options().image_size;
    let stages = profile(&encoder, image_size).swap_remove(index).stages;
    let exported = || stages.iter().filter(|stage| has_classifier || stage.name != HEAD);
    let step = trained.run.as_ref().map(|run| run.step);
    let of_these_weights = |event: &Event| match event {
        Event::Evaluated(it) if it.width == flags.width && Some(it.step) == step => Some(it.clone()),
        _ => None,
    };
    let card = ModelCard {
        program: concat!("slimclr ", env!("CARGO_PKG_VERSION")),
        architecture: Architecture::of(&trained.config),
        width: flags.width,
        parameters: exported().map(|stage| stage.parameters).sum(),
        macs: exported().map(|stage| stage.macs).sum(),
        input: Input::new(image_size, normalisation),
        outputs,
        training: trained.run.as_ref().zip(started).map(|(run, started)| Training {
            method: run.config.method,
            images: started.images,
            steps: run.step,
            epochs: run.step as f64 / started.steps_per_epoch as f64,
            options: run.config.clone(),
        }),
        // An evaluation with a probe says more than one without.
        evaluation: events.iter().filter_map(of_these_weights).max_by_key(|it| it.probe.is_some()),
        files: vec![
            FileEntry::of(format!("{name}.safetensors"), &tensors),
            FileEntry::of(format!("{name}.onnx"), &graph),
        ],
        loading: Loading::of(&trained.config, &name, has_classifier),
        name,
    };
    fs::create_dir_all(&out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    // The card comes last, so that it never describes files that are not whole.
    for (path, contents) in paths.iter().zip([tensors, graph, serde_json::to_vec_pretty(&card)?]) {
        write_atomically(path, &contents)?;
        terminal::print(&format!("{}  {}B", path.display(), count(contents.len() as u64)));
    }
    Ok(())
}

/// Where files go that were taken out of `network`, a folder or a file.
fn beside(network: &Path) -> PathBuf {
    let folder = if network.is_dir() { Some(network) } else { network.parent() };
    folder.unwrap_or(Path::new("")).join("export")
}

/// As the run's record has it; the authors' code uses the statistics of what the backbone is made for.
fn normalisation(trained: &Trained, started: Option<&Started>) -> Option<Normalisation> {
    match (&trained.run, trained.config.backbone) {
        (Some(_), _) => started?.normalisation,
        (None, BackboneKind::Cifar) => Some(Normalisation::CIFAR10),
        (None, BackboneKind::Resnet) => Some(Normalisation::IMAGENET),
    }
}
