//! Resuming a run: no other process may train it, the checkpoint that its log mentions must exist, and its images must be
//! those that it was trained on.

use anyhow::{Result, bail};
use burn::tensor::Device;
use slimclr_core::{
    checkpoint::Checkpoint,
    config::Config,
    event::Event,
    method::{MethodKind, Trainer},
};

use crate::{
    data::Dataset,
    kept_images::Location,
    new_trainer::new_trainer,
    options, ranks,
    run_folder::RunFolder,
    run_images::{Comparison, RunImages},
    run_lock::RunLock,
    shell, teacher,
    terminal::warn,
};

/// A run that is about to resume. Its folder has not been changed.
pub struct Resumption {
    /// The run's folder.
    pub folder: RunFolder,
    /// Its lock.
    pub lock: RunLock,
    /// The options from now on.
    pub config: Config,
    /// The images from now on.
    pub dataset: Dataset,
    location: Location,
    checkpoint: Option<Vec<u8>>,
}

/// How a run is to be resumed.
pub struct Request<'a> {
    /// The options from now on.
    pub config: Config,
    /// Whether the path of the images is given now, so that it is relative to the working directory.
    pub gives_data: bool,
    /// Whether the run may continue on changed images.
    pub accepts_changed_images: bool,
    /// Says what to do instead if options differ that must not.
    pub instead: &'a dyn Fn() -> String,
}

impl Resumption {
    /// Opens everything that the run in `folder` needs.
    ///
    /// # Errors
    /// If its checkpoint is gone, damaged or of other options, or its images are gone or have changed.
    pub fn open(folder: RunFolder, lock: RunLock, request: Request) -> Result<Self> {
        let Request { config, gives_data, accepts_changed_images, instead } = request;
        let bytes = folder.latest_checkpoint()?;
        let checkpoint = bytes.as_deref().map(Checkpoint::read).transpose();
        let checkpoint = checkpoint.map_err(|error| folder.unusable_checkpoint(&error))?;
        if let Some(checkpoint) = &checkpoint {
            folder.check_latest(checkpoint.step())?;
            options::check_resumable(checkpoint.config(), &config, instead)?;
        }
        let images = RunImages::of(&folder)?;
        let location = if gives_data { Location::here(&config.data) } else { images.locate(&config.data) };
        let dataset = images.open(&location)?;
        let known = checkpoint.as_ref().and_then(Checkpoint::dataset);
        let now = dataset.summary();
        let scheduled = scheduled_images(checkpoint.as_ref(), &folder)?.filter(|images| *images != now.train.images);
        let config = Config { scheduled_images: scheduled, ..config };
        if let Comparison::Different(changes) = images.compare(known, now)? {
            let then = images.summary(known);
            let run = folder.path().display();
            let changed = format!("the images in {} are not those that {run} was trained on: {changes}", location.path);
            if config.method == MethodKind::Supervised && then.is_none_or(|then| then.classes != now.classes) {
                bail!(
                    "{changed}. A supervised network's classes cannot change: put the earlier images back, or train a new \
                     run"
                );
            }
            if !accepts_changed_images {
                bail!(
                    "{changed}. Put the earlier ones back, name their folder with --data, or continue on these: slimclr \
                     pretrain --resume {} --accept-changed-images",
                    shell::path(folder.path())
                );
            }
            let steps = config.schedule(now.train.images)?.steps_per_epoch;
            warn(&format!("{changed}. Training continues on these; an epoch has {steps} steps, as planned"));
        }
        config.schedule(now.train.images)?;
        Ok(Self { folder, lock, config, dataset, location, checkpoint: bytes })
    }

    /// Creates the run's trainer: in the state of the latest checkpoint, or new if none was saved yet.
    ///
    /// # Errors
    /// If a tensor of the checkpoint, a network to start from, or the teacher cannot be read.
    pub fn trainer(&self, device: &Device) -> Result<Trainer> {
        match &self.checkpoint {
            Some(bytes) => {
                let teacher = teacher::of_run(&self.folder, &self.config, device)?;
                Checkpoint::read(bytes)
                    .and_then(|checkpoint| checkpoint.resume(device, teacher))
                    .map_err(|error| self.folder.unusable_checkpoint(&error))
            }
            None => {
                let images = self.folder.kept_images()?;
                let [init, teacher] = [&self.config.init, &self.config.teacher].map(|path| images.locate(path).path);
                let config = Config { init, teacher, ..self.config.clone() };
                let trainer = new_trainer(&config, device)?;
                teacher::keep(&self.folder, &config)?;
                Ok(trainer)
            }
        }
    }

    /// Keeps in the run's folder where its images are, and what identifies them.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn keep_images(&self) -> Result<()> {
        if !ranks::is_first() {
            return Ok(());
        }
        let started = self.folder.config()?;
        if started.data != self.config.data {
            self.folder.save_config(&Config { data: self.config.data.clone(), ..started })?;
        }
        self.folder.kept_images()?.keep(&self.location, self.dataset.summary())
    }
}

/// Returns the number of training images that a run's schedule was made for; `None` if it has no checkpoint, because it
/// then starts over.
fn scheduled_images(checkpoint: Option<&Checkpoint>, folder: &RunFolder) -> Result<Option<usize>> {
    let Some(checkpoint) = checkpoint else { return Ok(None) };
    let scheduled = checkpoint.config().scheduled_images;
    if let Some(images) = scheduled.or(checkpoint.dataset().map(|dataset| dataset.train.images)) {
        return Ok(Some(images));
    }
    Ok(Event::latest_start(&folder.events()?).map(|started| started.images))
}
