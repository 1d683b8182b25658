//! The images of a run: where they are, and whether they are still those that it was trained on.

use std::path::Path;

use anyhow::{Context, Result, bail};
use slimclr_core::{
    config::Config,
    dataset::{DatasetSummary, SplitSummary},
    event::Event,
};

use crate::{
    data::{self, Dataset},
    kept_images::{KeptImages, Location},
    run_folder::RunFolder,
};

/// How images compare with those that a run was trained on.
pub enum Comparison {
    /// They are the same.
    Same,
    /// They have the same number, and no more is known.
    Unknown,
    /// They differ, as this text says.
    Different(String),
}

/// What is known of a run's images.
pub struct RunImages<'a> {
    folder: &'a RunFolder,
    kept: KeptImages,
}

impl<'a> RunImages<'a> {
    /// Reads what the folder of a run keeps.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(folder: &'a RunFolder) -> Result<Self> {
        Ok(Self { folder, kept: folder.kept_images()? })
    }

    /// Locates a path in the run's options ([`KeptImages::locate`]).
    pub fn locate(&self, path: &str) -> Location {
        self.kept.locate(path)
    }

    /// Returns what identifies the images that the run was trained on, if it is known. `checkpoint` is what its
    /// checkpoint says.
    pub fn summary<'b>(&'b self, checkpoint: Option<&'b DatasetSummary>) -> Option<&'b DatasetSummary> {
        self.kept.summary().or(checkpoint)
    }

    /// Compares images with those that the run was trained on. Runs of older versions have recorded only the number of
    /// training images, in their log.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn compare(&self, checkpoint: Option<&DatasetSummary>, now: &DatasetSummary) -> Result<Comparison> {
        if let Some(then) = self.summary(checkpoint) {
            return Ok(compared(then, now, Comparison::Same));
        }
        let events = self.folder.events()?;
        let Some(started) = Event::latest_start(&events) else { return Ok(Comparison::Unknown) };
        let then = DatasetSummary { train: SplitSummary { images: started.images, digest: None }, ..now.clone() };
        Ok(compared(&then, now, Comparison::Unknown))
    }

    /// Opens the run's images at their location, normalised as they were at its start.
    ///
    /// # Errors
    /// If there are none.
    pub fn open(&self, location: &Location) -> Result<Dataset> {
        let config = Config { data: location.path.clone(), ..self.folder.config()? };
        let dataset = data::open_of_run(&config).with_context(|| {
            format!(
                "cannot open the images of {}; if they have moved, change `data` in {}",
                self.folder.path().display(),
                self.folder.config_path().display()
            )
        })?;
        Ok(match self.kept.summary() {
            Some(kept) => dataset.normalised_by(kept.normalisation),
            None => dataset,
        })
    }

    /// Opens the run's images, which must be those that it was trained on. `otherwise` says what to do with other images,
    /// given their path.
    ///
    /// # Errors
    /// If there are none, or they have changed.
    pub fn open_unchanged(
        &self,
        checkpoint: Option<&DatasetSummary>,
        otherwise: impl FnOnce(&Path) -> String,
    ) -> Result<Dataset> {
        let location = self.locate(&self.folder.config()?.data);
        let dataset = self.open(&location)?;
        if let Comparison::Different(changes) = self.compare(checkpoint, dataset.summary())? {
            bail!(
                "the images in {} are not those that {} was trained on: {changes}. Put the earlier ones back, or {}",
                location.path,
                self.folder.path().display(),
                otherwise(Path::new(&location.path))
            );
        }
        Ok(dataset)
    }
}

fn compared(then: &DatasetSummary, now: &DatasetSummary, same: Comparison) -> Comparison {
    let differences = then.differences(now);
    if differences.is_empty() { same } else { Comparison::Different(differences.join("; ")) }
}

#[cfg(test)]
mod tests {
    use slimclr_core::augment::Normalisation;

    use super::*;

    #[test]
    fn images_are_compared_with_what_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let summary = |images| DatasetSummary::without_digests(Normalisation::IMAGENET, vec!["a".into()], [images, 1]);
        let (run, _) = RunFolder::create(&folder.path().join("run"), &Config::mini(), &summary(9)).unwrap();
        let compare = |checkpoint: Option<&DatasetSummary>, now: usize| {
            RunImages::of(&run).unwrap().compare(checkpoint, &summary(now)).unwrap()
        };
        assert!(matches!(compare(Some(&summary(7)), 9), Comparison::Same), "the folder knows later images");
        std::fs::remove_file(run.path().join("dataset.json")).unwrap();
        assert!(matches!(compare(Some(&summary(7)), 7), Comparison::Same));
        let Comparison::Different(changes) = compare(Some(&summary(7)), 9) else { panic!("no difference") };
        assert_eq!(changes, "7 training images then, 9 now");
        assert!(matches!(compare(None, 9), Comparison::Unknown));
    }
}
