//! The images of a run: where they are, and whether they are still those that it was trained on.

use std::{
    env,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use slimclr_core::{
    config::Config,
    dataset::{DatasetSummary, SplitSummary},
    event::Event,
};

use crate::{
    data::{Dataset, EMBEDDED},
    run_folder::{RunFolder, read_optional, write_atomically},
};

/// File name of what a run's folder keeps of the run's images.
const DATASET: &str = "dataset.json";

/// What a run's folder keeps of the run's images.
#[derive(PartialEq, Serialize, Deserialize)]
struct KeptImages {
    /// The folder that paths in the options are relative to: where the run was started. `None` if its path is not
    /// Unicode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    relative_to: Option<String>,
    /// What identifies the images.
    #[serde(flatten)]
    summary: DatasetSummary,
}

/// Where images, or another file that an option names, are.
pub struct Location {
    /// The path, from the working directory.
    pub path: String,
    /// The folder that the option's value is relative to.
    relative_to: Option<String>,
}

impl Location {
    /// Locates `path`, which is given now, so relative to the working directory.
    pub fn here(path: &str) -> Self {
        let folder = env::current_dir().ok().and_then(|folder| folder.to_str().map(String::from));
        Self { path: path.to_owned(), relative_to: folder }
    }
}

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
    kept: Option<KeptImages>,
}

impl<'a> RunImages<'a> {
    /// Reads what the folder of a run keeps. Runs of older versions have kept nothing.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(folder: &'a RunFolder) -> Result<Self> {
        let path = folder.path().join(DATASET);
        let text = read_optional(&path)?;
        let kept = text.map(|text| serde_json::from_slice(&text)).transpose();
        let kept = kept.with_context(|| {
            format!("{} is damaged: remove it; the checkpoint describes the images, too", path.display())
        })?;
        Ok(Self { folder, kept })
    }

    /// Locates a path in the run's options. A relative one is relative to where the run was started, or to the working
    /// directory if nothing is there.
    pub fn locate(&self, path: &str) -> Location {
        let here = Location::here(path);
        let started_in = self.kept.as_ref().and_then(|kept| kept.relative_to.clone());
        if started_in == here.relative_to || ["", EMBEDDED].contains(&path) {
            return here;
        }
        let found = started_in.as_ref().map(|folder| Path::new(folder).join(path)).filter(|path| exists(path));
        match found.as_ref().and_then(|path| path.to_str()) {
            Some(path) => Location { path: path.to_owned(), relative_to: started_in },
            None => here,
        }
    }

    /// Returns what identifies the images that the run was trained on, if it is known. `checkpoint` is what its
    /// checkpoint says.
    pub fn summary<'b>(&'b self, checkpoint: Option<&'b DatasetSummary>) -> Option<&'b DatasetSummary> {
        self.kept.as_ref().map(|kept| &kept.summary).or(checkpoint)
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

    /// Keeps what identifies the images that the run is trained on from now on, and where they were found.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(self, location: &Location, summary: &DatasetSummary) -> Result<()> {
        let kept = KeptImages { relative_to: location.relative_to.clone(), summary: summary.clone() };
        if self.kept.as_ref() == Some(&kept) {
            return Ok(());
        }
        write_atomically(&self.folder.path().join(DATASET), &serde_json::to_vec(&kept)?)
    }

    /// Opens the run's images at their location.
    ///
    /// # Errors
    /// If there are none.
    pub fn open(&self, location: &Location) -> Result<Dataset> {
        let config = Config { data: location.path.clone(), ..self.folder.config()? };
        Dataset::of_run(&config).with_context(|| {
            format!(
                "cannot open the images of {}; if they have moved, change `data` in {}",
                self.folder.path().display(),
                self.folder.config_path().display()
            )
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

/// Returns whether a path exists, up to the first part that has a list of names in braces.
fn exists(path: &Path) -> bool {
    let has_brace = |part: &Component| part.as_os_str().as_encoded_bytes().contains(&b'{');
    path.components().take_while(|part| !has_brace(part)).collect::<PathBuf>().exists()
}

#[cfg(test)]
mod tests {
    use slimclr_core::augment::Normalisation;

    use super::*;

    #[test]
    fn images_are_found_from_where_the_run_was_started() {
        let folder = tempfile::tempdir().unwrap();
        let summary = DatasetSummary::without_digests(Normalisation::IMAGENET, vec!["a".into()], [9, 1]);
        let (run, _) = RunFolder::create(&folder.path().join("run"), &Config::mini(), &summary).unwrap();
        let locate = |path: &str| RunImages::of(&run).unwrap().locate(path).path;
        // The run was started in the working directory.
        assert_eq!(locate("src"), "src");
        let elsewhere = Location { path: String::new(), relative_to: folder.path().to_str().map(String::from) };
        RunImages::of(&run).unwrap().keep(&elsewhere, &summary).unwrap();
        let there = |path: &str| folder.path().join(path).to_str().unwrap().to_owned();
        assert_eq!([locate("run"), locate("run/{0..9}.tar")], [there("run"), there("run/{0..9}.tar")]);
        // Nothing is there, or it is no path.
        for path in ["src", "none", "none/{0..9}.tar", "/", "", EMBEDDED] {
            assert_eq!(locate(path), path);
        }
    }

    #[test]
    fn images_are_compared_with_what_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let summary = |images| DatasetSummary::without_digests(Normalisation::IMAGENET, vec!["a".into()], [images, 1]);
        let (run, _) = RunFolder::create(&folder.path().join("run"), &Config::mini(), &summary(9)).unwrap();
        let compare = |checkpoint: Option<&DatasetSummary>, now: usize| {
            RunImages::of(&run).unwrap().compare(checkpoint, &summary(now)).unwrap()
        };
        assert!(matches!(compare(Some(&summary(7)), 9), Comparison::Same), "the folder knows later images");
        std::fs::remove_file(run.path().join(DATASET)).unwrap();
        assert!(matches!(compare(Some(&summary(7)), 7), Comparison::Same));
        let Comparison::Different(changes) = compare(Some(&summary(7)), 9) else { panic!("no difference") };
        assert_eq!(changes, "7 training images then, 9 now");
        assert!(matches!(compare(None, 9), Comparison::Unknown));
    }
}
