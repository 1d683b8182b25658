//! `slimclr experiment`: runs, resumes and tabulates the paper's comparison.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use clap::{ArgMatches, Args, ValueEnum};
use serde::{Deserialize, Serialize};
use slimclr_core::{
    config::Config,
    data::cifar10::CLASSES,
    profile::profile,
    train::{Run, Split},
};

use super::{
    evaluate::evaluate_run,
    landscape::{self, LandscapeFlags},
    pretrain::{STOPPING, new_trainer, train},
    report,
};
use crate::{
    data::{Dataset, cifar10, loader::Loader},
    device,
    experiment::{
        arm::{self, Arm},
        results::{self, ArmResult, Results, State},
    },
    interrupt, model_card,
    options::{self, Preset},
    resume::{Request, Resumption},
    run_folder::{REPORT, RunFolder, create_folder, write_atomically},
    shell,
    terminal::{self, note},
};

/// File name of an experiment's options.
const OPTIONS: &str = "experiment.toml";
/// Sub-folder of the images of an experiment on a subset.
const DATA: &str = "data";
/// Sub-folder of the figures.
const FIGURES: &str = "figures";
/// Grid points per side of an arm's loss landscape: enough for its shape, in half the time of the default.
const CELLS: usize = 15;
/// Options that may change when an experiment resumes. `knn` and `evaluate_every` must not: results must be comparable. The
/// images under another path are compared with those of each arm.
const CHANGEABLE_ON_RESUME: [&str; 3] = ["data", "device", "checkpoint_every"];

/// Flags of `slimclr experiment cifar10`.
#[derive(Args)]
#[command(args_override_self = true)]
#[command(mut_args(|option| {
    let is_hidden = arm::ARM_OPTIONS.contains(&option.get_id().as_str());
    option.hide(is_hidden)
}))]
#[command(mut_arg("data", |data| data
    .default_value(cifar10::FOLDER)
    .help_heading(None::<&str>)
    .help("Images: a folder of CIFAR-10 batches, or 'embedded' for the subset in the program")))]
#[command(mut_arg("device", |device| device.help_heading(None::<&str>)))]
pub struct Cifar10Flags {
    /// Preset to start from; the defaults shown below are those of 'cifar10'
    #[arg(long, value_enum, default_value = "cifar10")]
    preset: Scale,
    /// Arms to run now, separated by commas [default: all]
    #[arg(long, value_name = "ARM,…", value_delimiter = ',')]
    arms: Vec<String>,
    /// Train on a class-balanced subset of this many images; evaluation uses all test images [default: all]
    #[arg(long)]
    images: Option<usize>,
    /// Folder for the experiment: results.md, results.json, report.html, figures, and a run's folder for each arm
    #[arg(long, value_name = "FOLDER", default_value = "runs/experiment-cifar10")]
    out: PathBuf,
    #[command(flatten)]
    options: Config,
}

/// Presets for CIFAR-10.
#[derive(Clone, Copy, ValueEnum)]
enum Scale {
    /// ResNet-8, 30 epochs
    Mini,
    /// ResNet-20, 200 epochs
    Cifar10,
}

/// An experiment's options, which must not change when it resumes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Number of training images; all if `None`.
    images: Option<usize>,
    /// Options that the arms share.
    options: Config,
}

/// Runs the arms one after the other, and writes the table after each.
///
/// # Errors
/// If options, data or device are invalid; or, after the other arms have run, if an arm failed.
pub fn cifar10(flags: &Cifar10Flags, matches: &ArgMatches) -> Result<ExitCode> {
    arm::refuse_arm_options(matches)?;
    let preset = match flags.preset {
        Scale::Mini => Preset::Mini,
        Scale::Cifar10 => Preset::Cifar10,
    };
    let base = Config { data: cifar10::FOLDER.into(), ..preset.config() };
    let options = options::merge(&base, None, &flags.options, matches)?;
    let arms = Arm::select(&flags.arms, &options.widths)?;
    let mut experiment = Experiment::open(&flags.out, Options { images: flags.images, options }, &arms)?;

    note(&format!("{} arms in {}; Ctrl-C stops, the same command resumes", arms.len(), flags.out.display()));
    let mut failed = Vec::new();
    let mut is_stopped = false;
    for (number, arm) in (1..).zip(&arms) {
        note(&format!("arm {number} of {}: {arm}", arms.len()));
        match experiment.run(*arm).and_then(|end| match end {
            End::Done => experiment.compute_landscape(*arm).map(|()| end),
            End::Interrupted => Ok(end),
        }) {
            Ok(End::Done) => {}
            Ok(End::Interrupted) => is_stopped = true,
            Err(error) => {
                let message = format!("{error:#}");
                note(&format!("arm {arm} failed: {message}"));
                experiment.failures.push((*arm, message));
                failed.push(arm.to_string());
            }
        }
        experiment.results()?.write(&flags.out)?;
        if is_stopped {
            break;
        }
    }
    experiment.write_report()?;
    terminal::print(&experiment.results()?.table());
    terminal::print(&format!("results: {}", flags.out.join(results::TABLE).display()));
    if is_stopped {
        note(&format!("stopped; resume with: {}", command_line()));
        return Ok(ExitCode::from(interrupt::EXIT_CODE));
    }
    if !failed.is_empty() {
        bail!(
            "{} of {} arms failed: {}; see why in {}, then run the same command again",
            failed.len(),
            arms.len(),
            failed.join(", "),
            flags.out.join(results::TABLE).display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// An experiment and its folder.
struct Experiment {
    out: PathBuf,
    options: Options,
    /// The arms' option `data`.
    data: String,
    training_images: usize,
    test_images: usize,
    device: (Device, String),
    /// Arms that failed in this process, with the error.
    failures: Vec<(Arm, String)>,
}

/// How an arm ended.
enum End {
    /// Trained and evaluated.
    Done,
    /// Stopped by Ctrl-C.
    Interrupted,
}

impl Experiment {
    /// Creates the experiment's folder, or opens it if it has the same options. Checks the options of `arms` before it
    /// writes anything.
    fn open(out: &Path, options: Options, arms: &[Arm]) -> Result<Self> {
        let source = cifar10::open(&options.options.data)?;
        let data = match options.images {
            None => options.options.data.clone(),
            Some(_) => {
                out.join(DATA).to_str().context("the path of --out is not Unicode: choose another folder")?.to_owned()
            }
        };
        let training_images = options.images.unwrap_or(source.len(Split::Train));
        let device = device::for_run(&options.options)?;
        let test_images = source.len(Split::Test);
        let experiment =
            Self { out: out.to_owned(), options, data, training_images, test_images, device, failures: Vec::new() };
        for arm in arms {
            let config = experiment.config(*arm);
            let check = || config.check().and_then(|()| config.schedule(training_images));
            check().with_context(|| format!("arm {arm} cannot be run"))?;
        }
        experiment.check_slices()?;
        let subset = experiment.options.images.map(|images| cifar10::balanced(&source, images)).transpose()?;
        experiment.options.save_or_check(out)?;
        if let Some(subset) = subset {
            cifar10::write(&source, &subset, Path::new(&experiment.data))?;
            let found = Dataset::open(&experiment.data)?.len(Split::Train);
            if found != training_images {
                bail!(
                    "{} holds {found} training images, not {training_images}: remove it and run the command again",
                    experiment.data
                );
            }
        }
        Ok(experiment)
    }

    /// Checks that each arm of a single width has the size of that slice of the slimmable network. It may be larger if
    /// the multiplier rounded the network's channels down.
    fn check_slices(&self) -> Result<()> {
        let parameters = |arm| -> Result<Vec<u64>> {
            let config: Config = self.config(arm);
            let profiles = profile(&config.encoder()?.build()?, config.image_size);
            Ok(profiles.iter().map(|profile| profile.parameters).collect())
        };
        let widths = &self.options.options.widths;
        for (width, slice) in widths.iter().zip(parameters(Arm::Naive)?) {
            if parameters(Arm::Alone(*width))? != [slice] {
                bail!(
                    "with --multiplier {}, no plain network has width {width}'s channels: use an integer multiplier",
                    self.options.options.multiplier
                );
            }
        }
        Ok(())
    }

    /// Returns the options of an arm's run.
    fn config(&self, arm: Arm) -> Config {
        let shared = Config { data: self.data.clone(), ..self.options.options.clone() };
        arm.config(&shared).for_classes(CLASSES.len()).expect("there are classes")
    }

    fn folder(&self, arm: Arm) -> PathBuf {
        self.out.join(arm.to_string())
    }

    /// Runs an arm, or what is left of it.
    fn run(&self, arm: Arm) -> Result<End> {
        let (path, config, device) = (self.folder(arm), self.config(arm), &self.device.0);
        let (folder, lock, config, dataset, trainer) = if RunFolder::is_begun(&path) {
            let folder = RunFolder::open(&path)?;
            let instead = || "choose another folder with --out".to_owned();
            options::check_resumable(&folder.config()?, &config, instead)?;
            if ArmResult::read(arm, &folder)?.state == State::Done {
                note(&format!("arm {arm} is already done"));
                return Ok(End::Done);
            }
            let lock = folder.lock()?;
            let request = Request { config, gives_data: true, accepts_changed_images: false, instead: &instead };
            let resumption = Resumption::open(folder, lock, request)?;
            let trainer = resumption.trainer(device)?;
            resumption.keep_images()?;
            let Resumption { folder, lock, config, dataset, .. } = resumption;
            (folder, lock, config, dataset, trainer)
        } else {
            let dataset = Dataset::open(&config.data)?;
            let trainer = new_trainer(&config, device)?;
            let (folder, lock) = RunFolder::create(&path, &config, dataset.summary())?;
            (folder, lock, config, dataset, trainer)
        };
        if !results::is_trained(&folder.events()?) {
            let loader = Loader::new(dataset, &config, Some(folder.clone()))?;
            let listening = interrupt::listen(STOPPING);
            let run = Run::new(config.clone(), trainer, self.device.clone(), loader, listening);
            if train(run, (&folder, &lock))? {
                return Ok(End::Interrupted);
            }
        }
        evaluate_run(&folder, &config, device)?;
        Ok(End::Done)
    }

    /// Computes the loss landscape of a trained arm, unless it has one.
    fn compute_landscape(&self, arm: Arm) -> Result<()> {
        let folder = RunFolder::open(&self.folder(arm))?;
        if !folder.landscape_path().exists() {
            landscape::compute(&folder, &LandscapeFlags::new(&folder, &self.options.options.device, CELLS))?;
        }
        Ok(())
    }

    /// Writes a report of all arms that have started, side by side.
    fn write_report(&self) -> Result<()> {
        let folders = Arm::all(&self.options.options.widths).into_iter().map(|arm| self.folder(arm));
        let started: Vec<PathBuf> = folders
            .filter(|path| {
                RunFolder::open(path).and_then(|folder| folder.events()).is_ok_and(|events| !events.is_empty())
            })
            .collect();
        if started.is_empty() {
            return Ok(());
        }
        report::write(&started, &self.out.join(REPORT), Some(&self.out.join(FIGURES)))
    }

    /// Collects the results so far, including those of earlier commands.
    fn results(&self) -> Result<Results> {
        let options = &self.options.options;
        let mut arms = Vec::new();
        for arm in Arm::all(&options.widths) {
            let failure = self.failures.iter().find(|(failed, _)| *failed == arm);
            match (RunFolder::open(&self.folder(arm)), failure) {
                (Ok(folder), None) => arms.push(ArmResult::read(arm, &folder)?),
                (Ok(folder), Some((_, message))) => arms.push(ArmResult::read(arm, &folder)?.failed(message)),
                // It has not started.
                (Err(_), None) => {}
                (Err(_), Some((_, message))) => arms.push(ArmResult::new(arm, &[]).failed(message)),
            }
        }
        Ok(Results {
            program: concat!("slimclr ", env!("CARGO_PKG_VERSION")),
            command: command_line(),
            network: model_card::name_of(&options.encoder()?),
            training_images: self.training_images,
            test_images: self.test_images,
            options: options.clone(),
            arms,
        })
    }
}

impl Options {
    /// Saves the options in the experiment's folder, or checks them against those saved there.
    ///
    /// # Errors
    /// If the saved ones differ, or the file cannot be read or written.
    fn save_or_check(&self, out: &Path) -> Result<()> {
        let path = out.join(OPTIONS);
        if !path.exists() {
            create_folder(out)?;
            return write_atomically(&path, toml::to_string(self)?.as_bytes());
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let saved: Self =
            toml::from_str(&text).with_context(|| format!("{} is not an experiment's options", path.display()))?;
        let mut differences = options::differences(&saved.options, &self.options, &CHANGEABLE_ON_RESUME)?;
        if saved.images != self.images {
            let [wanted, started] =
                [self, &saved].map(|it| it.images.map_or_else(|| "all".to_owned(), |images| images.to_string()));
            differences.push(format!("images = {wanted} (it was started with {started})"));
        }
        if !differences.is_empty() {
            bail!(
                "{} holds an experiment with other options: {}; choose another folder with --out",
                out.display(),
                differences.join(", ")
            );
        }
        Ok(())
    }
}

/// Returns this program's command line, quoted for a shell.
fn command_line() -> String {
    shell::command(std::env::args_os().skip(1))
}
