//! The loss landscape of a run, from its latest checkpoint and its snapshots.

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
    browser::{report, yield_to_browser},
    device::ComputeDevice,
    host::{BrowserHost, SavedFiles},
    images::ImagesError,
    training::Training,
};

/// Images that the losses are averaged over, unless the batch is smaller.
const IMAGES: usize = 64;

/// Why a landscape cannot be computed.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no checkpoint yet.
    #[error("the run has no checkpoint yet: let it train for an epoch")]
    NoCheckpoint,
    /// The run saves no snapshots.
    #[error("the run saves no snapshots: set interference=true in the page's address and train again")]
    NoSnapshots,
    /// A saved file is damaged.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The images cannot be read.
    #[error(transparent)]
    Images(#[from] ImagesError),
    /// The options do not fit the images.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The computation failed or was cancelled.
    #[error(transparent)]
    Landscape(#[from] LandscapeError),
}

/// Computes the landscapes of the widest and the narrowest network while `wanted` is set.
///
/// # Errors
/// If the run has saved nothing yet, the computation fails, or `wanted` is cleared.
pub async fn compute(
    device: &ComputeDevice,
    run: &Training,
    cells: usize,
    wanted: &Cell<bool>,
) -> Result<Landscape, Error> {
    let (bytes, snapshots) = {
        let SavedFiles { checkpoint, snapshots, .. } = &*run.saved.borrow();
        (checkpoint.clone().ok_or(Error::NoCheckpoint)?, snapshots.values().cloned().collect::<Vec<_>>())
    };
    if snapshots.is_empty() {
        return Err(Error::NoSnapshots);
    }
    let checkpoint = Checkpoint::read(&bytes)?;
    let config = checkpoint.config();
    let schedule = config.schedule(run.dataset.len(Split::Train))?;
    let images = IMAGES.min(config.batch);
    let mut host = BrowserHost::new(run.dataset.clone(), config, Default::default());
    let mut batches = Vec::new();
    for step in schedule.unseen(images, config.batch) {
        batches.push(host.batch(step, &device.burn).await?);
    }
    let trainer = checkpoint.resume(&device.burn, run.teacher.clone())?;
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
        yield_to_browser().await;
        if wanted.get() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let mut surfaces = Vec::with_capacity(widths.len());
    for width in widths {
        let survey = Survey { directions: Directions::Pca, cells, seed: 0 };
        surfaces.push(surveyor.surface(width, survey, on_losses).await?);
    }
    Ok(Landscape { directions: Directions::Pca, images: surveyor.images(), surfaces })
}
