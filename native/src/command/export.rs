//! `slimclr export`: writes one width of a trained network as files that other programs read.

mod calibration;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use burn::tensor::Device;
use clap::{Args, ValueEnum};
use futures::executor::block_on;
use slimclr_core::{
    checkpoint,
    encoder::Encoder,
    event::{Evaluated, Event},
    head::HEAD,
    interchange::{pretrained::Pretrained, sub_network::SubNetwork},
    profile::profile,
};

use self::calibration::Calibration;
use crate::{
    files::{create_folder, sweep, write_atomically},
    hub_card,
    model_card::{Architecture, FileEntry, Input, Loading, ModelCard, OnnxFile, Training, name_of},
    pretrained,
    terminal::{self, Progress, count},
    width_choice::WidthChoice,
};

/// Flags of `slimclr export`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  slimclr export runs/c10 --width 0.5                         one sub-network
  slimclr export runs/c10 --width all --out models            all of them
  slimclr export runs/c10 --width all --precisions f16,int8   each as three ONNX files")]
pub struct ExportFlags {
    /// A run's folder, a checkpoint or snapshot, or a PyTorch or safetensors file of another program
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Width to export, such as 0.5, or 'all'
    #[arg(long, value_name = "W|all")]
    width: WidthChoice,
    /// Precisions of more ONNX files, besides f32, separated by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    precisions: Vec<Precision>,
    /// Images to calibrate int8 on [default: the run's]
    #[arg(long)]
    data: Option<String>,
    /// Folder to write to [default: 'export' in the run's folder, or beside the checkpoint]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Overwrite files of an earlier export
    #[arg(long)]
    force: bool,
}

/// A precision of ONNX files.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Precision {
    /// 16-bit floating point: half the size
    F16,
    /// 8-bit integers, calibrated on images: a quarter of the size, and the fastest on CPUs
    Int8,
}

impl Precision {
    const ALL: [Self; 2] = [Self::F16, Self::Int8];

    /// Returns its name, in files and cards.
    fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }
}

/// Writes the weights (safetensors), graph (ONNX) and model card (JSON) of each sub-network, all widths in one file if all
/// are exported, and a card of all for Hugging Face's hub.
///
/// # Errors
/// If the network lacks the width, or the files exist or cannot be written.
pub fn run(flags: &ExportFlags) -> Result<()> {
    let trained = pretrained::open(&flags.run)?;
    let (encoder, parameters) = trained.load(&Device::flex())?;
    let widths = encoder.layout().widths();
    let indices = flags.width.indices(widths, &flags.run)?;
    let cards = indices.clone().map(|index| model_card(flags, &trained, &encoder, index));
    let cards = cards.collect::<Result<Vec<_>>>()?;
    let precisions: Vec<Precision> =
        Precision::ALL.into_iter().filter(|precision| flags.precisions.contains(precision)).collect();

    let out = flags.out.clone().unwrap_or_else(|| default_folder(&flags.run));
    let is_there = |name: &String| out.join(name).exists() && !flags.force;
    let whole = whole_network(flags.width, &trained)?;
    let names = cards.iter().flat_map(|card| file_names(card, &precisions));
    if let Some(name) = names.chain(whole.iter().map(|(name, _)| name.clone())).find(is_there) {
        let path = out.join(name);
        bail!("{} already exists: overwrite it with --force, or choose another folder with --out", path.display());
    }
    hub_card::check_replaceable(&out, flags.force)?;
    let calibration = match precisions.contains(&Precision::Int8) {
        true => Some(Calibration::open(&flags.run, flags.data.as_deref(), &trained)?),
        false => None,
    };

    create_folder(&out)?;
    // What a killed process has left.
    sweep(&out);
    for (index, card) in indices.zip(cards) {
        let network = block_on(SubNetwork::take(&encoder, &parameters, index))?;
        export(&network, card, &precisions, calibration.as_ref(), &out)?;
    }
    if let Some((name, bytes)) = whole {
        write(&out.join(name), &bytes)?;
    }
    hub_card::write(&out).map(|path| terminal::print(&path.display().to_string()))
}

/// Returns the names of the files of an export, its card last.
fn file_names(card: &ModelCard, precisions: &[Precision]) -> Vec<String> {
    let name = &card.name;
    let further = precisions.iter().map(|precision| format!("{name}-{}.onnx", precision.name()));
    let names = [format!("{name}.safetensors"), format!("{name}.onnx")].into_iter().chain(further);
    names.chain([format!("{name}.json")]).collect()
}

/// Writes a network's files to the folder `out`.
fn export(
    network: &SubNetwork,
    mut card: ModelCard,
    precisions: &[Precision],
    calibration: Option<&Calibration>,
    out: &Path,
) -> Result<()> {
    let progress = Progress::spinner(&format!("exporting {}", card.name));
    card.outputs = network.outputs().map(|(output, channels)| (output.to_owned(), channels)).collect();
    let properties = card.exported().properties()?;
    let metadata = properties.iter().map(|(key, json)| ((*key).to_owned(), json.clone())).collect();
    let graph = network.to_onnx();
    let folded = graph.without_norms();
    drop(progress);
    let names = file_names(&card, precisions);
    let mut files = vec![network.to_safetensors(Some(metadata))?, graph.encode(&properties)];
    card.onnx.push(OnnxFile { file: names[1].clone(), precision: "f32", int8: None });
    for (precision, name) in precisions.iter().zip(&names[2..]) {
        let (network, int8) = match (precision, calibration) {
            (Precision::Int8, Some(calibration)) => {
                let (network, int8) = calibration.quantize(&folded)?;
                (network, Some(int8))
            }
            _ => (folded.in_f16(), None),
        };
        files.push(network.encode(&properties));
        card.onnx.push(OnnxFile { file: name.clone(), precision: precision.name(), int8 });
    }
    card.files = names.iter().zip(&files).map(|(name, bytes)| FileEntry::of(name, bytes)).collect();
    files.push(serde_json::to_vec_pretty(&card)?);
    // The card is written last, so that it never describes incomplete files.
    for (name, bytes) in names.iter().zip(files) {
        write(&out.join(name), &bytes)?;
    }
    Ok(())
}

/// Writes a file and prints its path and size.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, bytes)?;
    terminal::print(&format!("{}  {}B", path.display(), count(bytes.len() as u64)));
    Ok(())
}

/// Returns name and contents of the file of all widths together; none if one is exported, or the network is another
/// program's.
fn whole_network(width: WidthChoice, trained: &Pretrained) -> Result<Option<(String, Vec<u8>)>> {
    match (width, trained.checkpoint()) {
        (WidthChoice::All, Some(checkpoint)) => {
            let name = format!("{}.safetensors", name_of(&trained.config));
            Ok(Some((name, checkpoint::encoder_alone(checkpoint)?)))
        }
        _ => Ok(None),
    }
}

/// Returns the model card of the width at `index`, without its outputs and files.
///
/// # Errors
/// If a run's events cannot be read, or the normalisation of its images is unknown.
fn model_card(flags: &ExportFlags, trained: &Pretrained, encoder: &Encoder, index: usize) -> Result<ModelCard> {
    let events = pretrained::events(&flags.run)?;
    let started = Event::latest_start(&events);
    let normalisation = pretrained::normalisation(&flags.run, trained)?;
    let image_size = trained.options().image_size;
    let input = Input::new(image_size, normalisation);
    let cost = profile(encoder, image_size).swap_remove(index);
    let width = cost.width;
    let stages = || cost.stages.iter().filter(|stage| encoder.is_classifier() || stage.name != HEAD);
    let of_these_weights = |event: &Event| match (event, &trained.run) {
        (Event::Evaluated(it), Some(run)) if it.width == width && it.step == run.step => Some(it.clone()),
        _ => None,
    };
    let name = format!("{}-w{}", name_of(&trained.config), width);
    Ok(ModelCard {
        program: concat!("slimclr ", env!("CARGO_PKG_VERSION")),
        architecture: Architecture::of(&trained.config),
        width,
        parameters: stages().map(|stage| stage.parameters).sum(),
        macs: stages().map(|stage| stage.macs).sum(),
        classes: trained.classes().to_vec(),
        outputs: BTreeMap::new(),
        training: trained.run.as_ref().zip(started).map(|(run, started)| Training {
            method: run.config.method,
            images: started.images,
            steps: run.step,
            epochs: run.step as f64 / started.steps_per_epoch as f64,
            options: run.config.clone(),
        }),
        // Prefers an evaluation with probes to one of kNN alone.
        evaluation: events.iter().filter_map(of_these_weights).max_by_key(Evaluated::was_probed),
        onnx: Vec::new(),
        files: Vec::new(),
        loading: Loading::of(&trained.config, &input, &name, encoder.is_classifier()),
        input,
        name,
    })
}

/// Returns the folder to export to from `network`, a run's folder or a file.
fn default_folder(network: &Path) -> PathBuf {
    let folder = if network.is_dir() { Some(network) } else { network.parent() };
    folder.unwrap_or(Path::new("")).join("export")
}
