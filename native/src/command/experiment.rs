//! `slimclr experiment`: the paper's comparison, run, resumed and tabulated.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use clap::{ArgMatches, Args, ValueEnum};
use futures::channel::mpsc;
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
    pretrain::{INTERRUPTED, follow, fresh, resumed},
    report,
};
use crate::{
    data::{Dataset, cifar10, loader::Loader},
    device,
    experiment::{
        arm::{self, Arm},
        results::{self, Results, Standing, State},
    },
    model_card,
    options::{self, Preset},
    run_folder::{REPORT, RunFolder, write_atomically},
    terminal,
};

/// The options of an experiment, in its folder.
const OPTIONS: &str = "experiment.toml";
/// The images of an experiment that does not train on all.
const DATA: &str = "data";
/// The folder of the figures.
const FIGURES: &str = "figures";
/// Places along each side of an arm's loss landscape: enough for its shape, at half the time of the usual number.
const CELLS: u16 = 15;
/// Options that may change when an experiment goes on. Not `knn` or `evaluate_every`: cells must compare.
const FREE_ON_RESUME: [&str; 2] = ["device", "checkpoint_every"];

/// Flags of `slimclr experiment cifar10`.
#[derive(Args)]
#[command(args_override_self = true)]
#[command(mut_args(|option| if arm::OWN_OPTIONS.contains(&option.get_id().as_str()) { option.hide(true) } else { option }))]
#[command(mut_arg("data", |data| data
    .default_value(cifar10::FOLDER)
    .help("Images: a folder of CIFAR-10 batches, or 'embedded' for the few in the program")))]
pub struct Cifar10 {
    /// Options to begin with; the defaults shown below are those of 'cifar10'
    #[arg(long, value_enum, default_value = "cifar10")]
    preset: Scale,
    /// Folder for the experiment: results.md, results.json, report.html, figures, and a run's folder for each arm
    #[arg(long, value_name = "FOLDER", default_value = "runs/experiment-cifar10")]
    out: PathBuf,
    /// Train on so many images only, of each class alike; all test images serve evaluation
    #[arg(long)]
    images: Option<usize>,
    /// Arms to run now, separated by commas [default: all]
    #[arg(long, value_name = "ARM,…", value_delimiter = ',')]
    arms: Vec<String>,
    #[command(flatten)]
    options: Config,
}

/// Presets of the size of CIFAR-10.
#[derive(Clone, Copy, ValueEnum)]
enum Scale {
    /// A ResNet-8, 30 epochs
    Mini,
    /// A ResNet-20, 200 epochs
    Cifar10,
}

/// What an experiment is: what must be the same when it goes on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Training images, unless all.
    images: Option<usize>,
    /// What all arms have in common.
    options: Config,
}

/// Runs the arms, one after the other, and writes the table after each.
///
/// # Errors
/// If options, data or device do not fit, or an arm fails; the others are then done.
pub fn cifar10(flags: &Cifar10, matches: &ArgMatches) -> Result<ExitCode> {
    arm::refuse_own_options(matches)?;
    let preset = match flags.preset {
        Scale::Mini => Preset::Mini,
        Scale::Cifar10 => Preset::Cifar10,
    };
    let base = Config { data: cifar10::FOLDER.into(), ..preset.config() };
    let options = options::merge(&base, None, &flags.options, matches)?;
    let arms = Arm::chosen(&flags.arms, &options.widths)?;
    let mut experiment = Experiment::begin(&flags.out, Options { images: flags.images, options }, &arms)?;

    eprintln!("{} arms in {}; Ctrl-C stops, and the same command goes on", arms.len(), flags.out.display());
    let mut failed = Vec::new();
    let mut is_stopped = false;
    for (number, arm) in (1..).zip(&arms) {
        eprintln!("arm {number} of {}: {arm}", arms.len());
        match experiment.run(*arm).and_then(|end| match end {
            End::Reached => experiment.survey(*arm).map(|()| end),
            End::Stopped => Ok(end),
        }) {
            Ok(End::Reached) => {}
            Ok(End::Stopped) => is_stopped = true,
            Err(error) => {
                let message = format!("{error:#}");
                eprintln!("arm {arm} failed: {message}");
                experiment.failures.push((*arm, message));
                failed.push(arm.to_string());
            }
        }
        experiment.results()?.write(&flags.out)?;
        if is_stopped {
            break;
        }
    }
    experiment.draw()?;
    terminal::print(&experiment.results()?.table());
    terminal::print(&format!("results: {}", flags.out.join(results::TABLE).display()));
    if is_stopped {
        eprintln!("stopped; go on with: {}", command_line());
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if !failed.is_empty() {
        bail!("{} of {} arms failed: {}; {} says why", failed.len(), arms.len(), failed.join(", "), results::TABLE);
    }
    Ok(ExitCode::SUCCESS)
}

/// An experiment in its folder.
struct Experiment {
    out: PathBuf,
    options: Options,
    /// What the arms' option `data` is.
    data: String,
    training_images: usize,
    test_images: usize,
    device: (Device, String),
    /// The arms that failed just now, and why.
    failures: Vec<(Arm, String)>,
}

/// How an arm ended.
enum End {
    /// Trained and evaluated.
    Reached,
    /// Ctrl-C.
    Stopped,
}

impl Experiment {
    /// Makes the experiment's folder, or finds it there with the same options. Whatever of `arms` can fail at once
    /// fails before anything is written.
    fn begin(out: &Path, options: Options, arms: &[Arm]) -> Result<Self> {
        let source = cifar10::open(&options.options.data)?;
        let data = match options.images {
            None => options.options.data.clone(),
            Some(_) => out.join(DATA).to_str().context("the name of the folder is not Unicode")?.to_owned(),
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
        experiment.options.settle(out)?;
        if let Some(subset) = subset {
            cifar10::write(&source, &subset, Path::new(&experiment.data))?;
            let there = Dataset::open(&experiment.data)?.len(Split::Train);
            if there != training_images {
                bail!("{} holds {there} training images, not {training_images}: remove it", experiment.data);
            }
        }
        Ok(experiment)
    }

    /// An arm alone must be the slice of the slimmable network: of a network whose own channels were rounded down, it may
    /// be wider.
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
                    "at --multiplier {}, no network alone has the channels of width {width}: use a whole multiplier",
                    self.options.options.multiplier
                );
            }
        }
        Ok(())
    }

    /// The options of an arm's run.
    fn config(&self, arm: Arm) -> Config {
        let common = Config { data: self.data.clone(), ..self.options.options.clone() };
        arm.config(&common).for_classes(CLASSES.len())
    }

    fn folder(&self, arm: Arm) -> PathBuf {
        self.out.join(arm.to_string())
    }

    /// Does what is left of an arm.
    fn run(&self, arm: Arm) -> Result<End> {
        let (path, config, (device, _)) = (self.folder(arm), self.config(arm), &self.device);
        let (folder, state) = match RunFolder::open(&path) {
            Ok(folder) => {
                options::check_resumable(&folder.config()?, &config)?;
                if Standing::read(arm, &folder)?.state == State::Done {
                    eprintln!("arm {arm} was done before");
                    return Ok(End::Reached);
                }
                let state = resumed(&folder, &config, device)?;
                (folder, state)
            }
            Err(_) => {
                let state = fresh(&config, device)?;
                (RunFolder::create(&path, &config)?, state)
            }
        };
        if !results::is_trained(&folder.events()?) {
            let loader = Loader::new(Dataset::open(&config.data)?, &config, Some(folder.clone()))?;
            let (commands, asked) = mpsc::unbounded();
            if follow(Run::new(config.clone(), state, self.device.clone(), loader, asked), &folder, commands)? {
                return Ok(End::Stopped);
            }
        }
        evaluate_run(&folder, &config, device)?;
        Ok(End::Reached)
    }

    /// The loss landscape of a trained arm, unless it has one.
    fn survey(&self, arm: Arm) -> Result<()> {
        let folder = RunFolder::open(&self.folder(arm))?;
        if !folder.landscape_path().exists() {
            landscape::compute(&folder, &LandscapeFlags::new(&folder, &self.options.options.device, CELLS))?;
        }
        Ok(())
    }

    /// Draws all arms that have begun side by side.
    fn draw(&self) -> Result<()> {
        let folders = Arm::all(&self.options.options.widths).into_iter().map(|arm| self.folder(arm));
        let begun: Vec<PathBuf> = folders
            .filter(|path| {
                RunFolder::open(path).and_then(|folder| folder.events()).is_ok_and(|events| !events.is_empty())
            })
            .collect();
        if begun.is_empty() {
            return Ok(());
        }
        report::draw(&begun, &self.out.join(REPORT), Some(&self.out.join(FIGURES)))
    }

    /// What has been found so far, by this command and those before it.
    fn results(&self) -> Result<Results> {
        let options = &self.options.options;
        let mut standings = Vec::new();
        for arm in Arm::all(&options.widths) {
            let failure = self.failures.iter().find(|(failed, _)| *failed == arm);
            match (RunFolder::open(&self.folder(arm)), failure) {
                (Ok(folder), None) => standings.push(Standing::read(arm, &folder)?),
                (Ok(folder), Some((_, message))) => standings.push(Standing::read(arm, &folder)?.failed(message)),
                // It has not begun.
                (Err(_), None) => {}
                (Err(_), Some((_, message))) => standings.push(Standing::of(arm, &[]).failed(message)),
            }
        }
        Ok(Results {
            program: concat!("slimclr ", env!("CARGO_PKG_VERSION")),
            command: command_line(),
            network: model_card::name_of(&options.encoder()?),
            training_images: self.training_images,
            test_images: self.test_images,
            options: options.clone(),
            arms: standings,
        })
    }
}

impl Options {
    /// Keeps them in the experiment's folder, unless they are there.
    ///
    /// # Errors
    /// If other ones are.
    fn settle(&self, out: &Path) -> Result<()> {
        let path = out.join(OPTIONS);
        if !path.exists() {
            fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
            return write_atomically(&path, toml::to_string(self)?.as_bytes());
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let begun: Self = toml::from_str(&text).with_context(|| format!("{} cannot be used", path.display()))?;
        let mut differences = options::differences(&begun.options, &self.options, &FREE_ON_RESUME)?;
        if begun.images != self.images {
            let [wanted, begun] =
                [self, &begun].map(|it| it.images.map_or_else(|| "all".to_owned(), |images| images.to_string()));
            differences.push(format!("images = {wanted} (it was begun with {begun})"));
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

/// How this program was called, for a shell.
fn command_line() -> String {
    let quoted = std::env::args().skip(1).map(|argument| {
        let is_plain = |c: char| c.is_alphanumeric() || "-_./,=:+".contains(c);
        match !argument.is_empty() && argument.chars().all(is_plain) {
            true => argument,
            false => format!("'{}'", argument.replace('\'', r"'\''")),
        }
    });
    ["slimclr".to_owned()].into_iter().chain(quoted).collect::<Vec<_>>().join(" ")
}
