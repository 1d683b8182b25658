//! The loss landscape of a run, from its latest checkpoint and what it was on the way.

use std::{cell::Cell, ops::ControlFlow};

use burn::tensor::Device;
use slimclr_core::{
    checkpoint::{Checkpoint, CheckpointError, Snapshot},
    config::ConfigError,
    interference::landscape::{Directions, Landscape, LandscapeError, Survey, Surveyor},
    train::{Host, Split},
};
use slimclr_protocol::{Progress, Report};
use thiserror::Error;

use crate::{
    browser::{breathe, report},
    images::{Hearth, ImagesError, Kept},
    seat::Seat,
    training::Training,
};

/// Images that losses are averaged over, unless the batch is smaller.
const IMAGES: usize = 64;

/// Why there is no landscape.
#[derive(Debug, Error)]
pub enum SurveyError {
    /// Too early.
    #[error("the run has no checkpoint yet, around whose weights the loss could be computed: let it train an epoch")]
    TooEarly,
    /// Measuring was off.
    #[error("the run keeps no snapshots of its weights: switch on the measurement of interference")]
    NoSnapshots,
    /// What was kept is damaged.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Images cannot be had any more.
    #[error(transparent)]
    Images(#[from] ImagesError),
    /// The options do not fit the images.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// As the core says.
    #[error(transparent)]
    Landscape(#[from] LandscapeError),
}

/// Computes the landscape of the full and the narrowest network while `wanted`.
///
/// # Errors
/// If the run has kept nothing yet, something fails, or it is not wanted any more.
pub async fn survey(seat: &Seat, run: &Training, cells: usize, wanted: &Cell<bool>) -> Result<Landscape, SurveyError> {
    let (bytes, snapshots) = {
        let Kept { checkpoint, snapshots, .. } = &*run.kept.borrow();
        (checkpoint.clone().ok_or(SurveyError::TooEarly)?, snapshots.values().cloned().collect::<Vec<_>>())
    };
    if snapshots.is_empty() {
        return Err(SurveyError::NoSnapshots);
    }
    let checkpoint = Checkpoint::read(&bytes)?;
    let config = checkpoint.config();
    let schedule = config.schedule(run.dataset.len(Split::Train))?;
    let images = IMAGES.min(config.batch);
    let mut hearth = Hearth::new(run.dataset.clone(), config, Default::default());
    let mut batches = Vec::new();
    for step in schedule.unseen(images, config.batch) {
        batches.push(hearth.batch(step, &seat.device).await?);
    }
    let trainer = checkpoint.resume(&seat.device)?;
    let mut surveyor = Surveyor::new(trainer, &batches, images, schedule.steps_per_epoch);
    let count = snapshots.len();
    for snapshot in snapshots {
        surveyor.add(Snapshot::read(&snapshot, &Device::flex())?)?;
    }

    let last = config.widths.len() - 1;
    let widths = if last == 0 { vec![0] } else { vec![0, last] };
    let (computed, total) = (Cell::new(0), widths.len() * (cells * cells + count));
    let on_losses = async |losses: usize| {
        computed.set(computed.get() + losses);
        report(&Report::Progress(Progress { what: "computing losses".into(), done: computed.get(), total }));
        breathe().await;
        if wanted.get() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let mut surfaces = Vec::with_capacity(widths.len());
    for width in widths {
        let survey = Survey { directions: Directions::Pca, cells, seed: 0 };
        surfaces.push(surveyor.surface(width, survey, on_losses).await?);
    }
    Ok(Landscape { directions: Directions::Pca, images: surveyor.images(), surfaces })
}
