//! `slimclr export`: takes one width out of a run, as files that other programs read.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use clap::Args;
use futures::executor::block_on;
use slimclr_core::{
    checkpoint::Checkpoint, event::Event, head::HEAD, interchange::sub_network::SubNetwork, profile::profile,
};

use crate::{
    model_card::{Architecture, FileEntry, Input, Loading, ModelCard, Training, name_of},
    run_folder::{RunFolder, write_atomically},
    terminal::{self, count},
};

/// Flags of `slimclr export`.
#[derive(Args)]
pub struct Export {
    /// The run's folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The width to take out
    #[arg(long, value_name = "W")]
    width: f64,
    /// Folder to write to [default: the folder 'export' of the run]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Replace files of an earlier export
    #[arg(long)]
    force: bool,
}

/// Writes the sub-network's tensors, its graph and its card.
///
/// # Errors
/// If the run lacks the width, or the files are there already or cannot be written.
pub fn run(flags: &Export) -> Result<()> {
    let folder = RunFolder::open(&flags.run)?;
    let bytes = folder.checkpoint()?;
    let checkpoint = Checkpoint::read(&bytes).with_context(|| folder.blame_checkpoint())?;
    let config = checkpoint.config();
    let encoder = checkpoint.encoder()?;
    let Some(index) = encoder.layout().widths().position(flags.width) else {
        let widths: Vec<String> = config.widths.iter().map(f64::to_string).collect();
        bail!("{} has no width {}: choose from {}", flags.run.display(), flags.width, widths.join(", "));
    };
    let name = format!("{}-w{}", name_of(&config.encoder()?), flags.width);
    let out = flags.out.clone().unwrap_or_else(|| folder.path().join("export"));
    let file = |ending: &str| out.join(format!("{name}.{ending}"));
    let paths = ["safetensors", "onnx", "json"].map(file);
    if let Some(path) = paths.iter().find(|path| path.exists() && !flags.force) {
        bail!("{} is there already: replace it by --force, or choose another folder with --out", path.display());
    }
    let events = folder.events()?;
    let Some((started, normalisation)) = Event::latest_start(&events).and_then(|s| Some((s, s.normalisation?))) else {
        bail!(
            "{0} has no record of how its images were normalised: `slimclr pretrain --resume {0}` adds it",
            flags.run.display()
        );
    };

    let parameters = checkpoint.query(&encoder, &Device::flex()).with_context(|| folder.blame_checkpoint())?;
    let network = block_on(SubNetwork::take(&encoder, &parameters, index))?;
    let has_classifier = encoder.head().is_classifier();
    let outputs = network.outputs().map(|(output, channels)| (output.to_owned(), channels)).collect();
    let tensors = network.to_safetensors()?;
    let graph = network.into_onnx(&[
        ("width", flags.width.to_string()),
        ("mean", serde_json::to_string(&normalisation.mean)?),
        ("std", serde_json::to_string(&normalisation.std)?),
    ]);

    let stages = profile(&encoder, config.image_size).swap_remove(index).stages;
    let exported = || stages.iter().filter(|stage| has_classifier || stage.name != HEAD);
    let of_these_weights = |event: &Event| match event {
        Event::Evaluated(it) if it.width == flags.width && it.step == checkpoint.step() => Some(it.clone()),
        _ => None,
    };
    let described = config.encoder()?;
    let card = ModelCard {
        program: concat!("slimclr ", env!("CARGO_PKG_VERSION")).into(),
        architecture: Architecture::of(&described),
        width: flags.width,
        parameters: exported().map(|stage| stage.parameters).sum(),
        macs: exported().map(|stage| stage.macs).sum(),
        input: Input::new(config.image_size, normalisation),
        outputs,
        training: Training {
            method: config.method,
            images: started.images,
            steps: checkpoint.step(),
            epochs: checkpoint.step() as f64 / started.steps_per_epoch as f64,
            options: config.clone(),
        },
        // An evaluation with a probe says more than one without.
        evaluation: events.iter().filter_map(of_these_weights).max_by_key(|it| it.probe.is_some()),
        files: vec![
            FileEntry::of(format!("{name}.safetensors"), &tensors),
            FileEntry::of(format!("{name}.onnx"), &graph),
        ],
        loading: Loading::of(&described, &name, has_classifier),
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
