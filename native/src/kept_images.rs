//! What a run's folder keeps of the run's images: where they are, and what identifies them.

use std::{
    env,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use slimclr_core::dataset::DatasetSummary;

use crate::{
    data::EMBEDDED,
    files::{read_optional, write_atomically},
};

/// File name of what a run's folder keeps of the run's images.
const DATASET: &str = "dataset.json";

/// What a run's folder keeps of the run's images.
#[derive(PartialEq, Serialize, Deserialize)]
struct Record {
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

/// What a run's folder keeps of the run's images.
pub struct KeptImages {
    /// The file that holds it.
    path: PathBuf,
    record: Option<Record>,
}

impl KeptImages {
    /// Reads what the folder of a run keeps. Runs of older versions have kept nothing.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(DATASET);
        let text = read_optional(&path)?;
        let record = text.map(|text| serde_json::from_slice(&text)).transpose();
        let record = record.with_context(|| {
            format!("{} is damaged: remove it; the checkpoint describes the images, too", path.display())
        })?;
        Ok(Self { path, record })
    }

    /// Locates a path in the run's options. A relative one is relative to where the run was started, or to the working
    /// directory if nothing is there.
    pub fn locate(&self, path: &str) -> Location {
        let here = Location::here(path);
        let started_in = self.record.as_ref().and_then(|record| record.relative_to.clone());
        if started_in == here.relative_to || ["", EMBEDDED].contains(&path) {
            return here;
        }
        let found = started_in.as_ref().map(|folder| Path::new(folder).join(path)).filter(|path| exists(path));
        match found.as_ref().and_then(|path| path.to_str()) {
            Some(path) => Location { path: path.to_owned(), relative_to: started_in },
            None => here,
        }
    }

    /// Returns what identifies the images, if that was kept.
    pub fn summary(&self) -> Option<&DatasetSummary> {
        self.record.as_ref().map(|record| &record.summary)
    }

    /// Keeps what identifies the images that the run is trained on from now on, and where they were found.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(self, location: &Location, summary: &DatasetSummary) -> Result<()> {
        let record = Record { relative_to: location.relative_to.clone(), summary: summary.clone() };
        if self.record.as_ref() == Some(&record) {
            return Ok(());
        }
        write_atomically(&self.path, &serde_json::to_vec(&record)?)
    }
}

/// Returns whether a path exists, up to the first part that has a list of names in braces.
fn exists(path: &Path) -> bool {
    let has_brace = |part: &Component| part.as_os_str().as_encoded_bytes().contains(&b'{');
    path.components().take_while(|part| !has_brace(part)).collect::<PathBuf>().exists()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use slimclr_core::augment::Normalisation;

    use super::*;

    #[test]
    fn images_are_found_from_where_the_run_was_started() {
        let folder = tempfile::tempdir().unwrap();
        let summary = DatasetSummary::without_digests(Normalisation::IMAGENET, vec!["a".into()], [9, 1]);
        let locate = |path: &str| KeptImages::read(folder.path()).unwrap().locate(path).path;
        let keep = |location: &Location| KeptImages::read(folder.path()).unwrap().keep(location, &summary).unwrap();
        fs::create_dir(folder.path().join("run")).unwrap();
        keep(&Location::here(""));
        // The run was started in the working directory.
        assert_eq!(locate("src"), "src");
        let elsewhere = Location { path: String::new(), relative_to: folder.path().to_str().map(String::from) };
        keep(&elsewhere);
        let there = |path: &str| folder.path().join(path).to_str().unwrap().to_owned();
        assert_eq!([locate("run"), locate("run/{0..9}.tar")], [there("run"), there("run/{0..9}.tar")]);
        // Nothing is there, or it is no path.
        for path in ["src", "none", "none/{0..9}.tar", "/", "", EMBEDDED] {
            assert_eq!(locate(path), path);
        }
    }
}
