//! What a run writes for TensorBoard: scalars, the images of its first views, and embeddings at its end.

mod event_file;
mod pictures;
mod projector;
mod proto;
mod scalars;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use futures::executor::block_on;
use slimclr_core::{
    config::Config,
    eval::features::{Collector, Extractor, Features},
    event::Event,
    train::{Host, Split},
};

use self::{
    event_file::EventFile,
    pictures::{picture, png, sheet_of_views},
    projector::Embeddings,
    proto::{Data, Image, Value},
    scalars::Scalars,
};
use crate::{
    data::loader::Loader,
    files::{create_folder, read_optional, temporary_file, write_atomically},
    pretrained,
    run_folder::RunFolder,
    run_images::RunImages,
    run_lock::RunLock,
    terminal::Progress,
};

/// Name of the file that says which run a folder outside the run's is of.
const RUN: &str = "run.txt";
/// Images whose views are shown.
const IMAGES: usize = 8;
/// Images in the projector, at most.
const EMBEDDED: usize = 1000;

/// A folder of TensorBoard's files: the run's scalars, and a folder for each width, so that the widths share a chart.
pub struct TensorBoard {
    path: PathBuf,
    run: EventFile,
    /// Widest first.
    widths: Vec<(f64, EventFile)>,
}

/// Creates the folder `path` for the TensorBoard files of a run that has none there.
///
/// # Errors
/// If there is something already, or it cannot be written.
pub fn create(path: &Path) -> Result<()> {
    if path.is_file() {
        bail!("--tensorboard {} is a file: name a folder", path.display());
    }
    if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
        let of = owner(path)?.map(|run| format!(" with TensorBoard files of the run {run}")).unwrap_or_default();
        bail!("--tensorboard {} is a folder{of} that is not empty: choose another one", path.display());
    }
    create_folder(path)?;
    // It is removed at once.
    temporary_file(path).map(drop).with_context(|| format!("cannot write to {}", path.display()))
}

/// Creates the folder `path` for the run in `folder`, unless it has the run's files.
fn create_own(path: &Path, folder: &RunFolder) -> Result<()> {
    if path == folder.tensorboard_path() || owner(path)? == Some(name_of(folder)) {
        return Ok(());
    }
    create(path)
}

/// Reads which run the files in `path` are of, if it says so.
fn owner(path: &Path) -> Result<Option<String>> {
    Ok(read_optional(&path.join(RUN))?.map(|text| String::from_utf8_lossy(&text).trim_end().to_owned()))
}

/// Returns the whole path of a run's folder.
fn name_of(folder: &RunFolder) -> String {
    let path = folder.path().canonicalize();
    path.as_deref().unwrap_or(folder.path()).display().to_string()
}

impl TensorBoard {
    /// Opens the folder `path` for the run in `folder`, to be continued after `step` steps. If it is new, what the run's
    /// log holds of earlier steps comes first.
    ///
    /// # Errors
    /// If there are files that are not of this run, or the folder cannot be written.
    pub fn open(path: &Path, folder: &RunFolder, step: u64, _: &RunLock) -> Result<Self> {
        create_own(path, folder)?;
        let run = EventFile::open(path, step)?;
        if path != folder.tensorboard_path() {
            write_atomically(&path.join(RUN), format!("{}\n", name_of(folder)).as_bytes())?;
        }
        let of_width = |width: f64| Ok((width, EventFile::open(&path.join(format!("width-{width}")), step)?));
        let widths = folder.config()?.widths.into_iter().map(of_width).collect::<Result<_>>()?;
        let mut board = Self { path: path.to_path_buf(), run, widths };
        if board.is_new() {
            folder.events()?.iter().filter(|event| event.step() <= step).try_for_each(|event| board.write(event))?;
        }
        Ok(board)
    }

    /// Returns whether the folder was empty when it was opened.
    pub fn is_new(&self) -> bool {
        self.run.is_new()
    }

    /// Writes the scalars in an event.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&mut self, event: &Event) -> Result<()> {
        let widths: Vec<f64> = self.widths.iter().map(|(width, _)| *width).collect();
        let scalars = Scalars::of(event, &widths);
        let values =
            |scalars: Vec<(String, f64)>| scalars.into_iter().map(|(tag, it)| Value::scalar(tag, it)).collect();
        self.run.append(event.step(), values(scalars.run))?;
        for ((_, file), scalars) in self.widths.iter_mut().zip(scalars.widths) {
            file.append(event.step(), values(scalars))?;
        }
        Ok(())
    }

    /// Writes a picture of the views of the first images that a run trains on.
    ///
    /// # Errors
    /// If an image cannot be read, or the picture cannot be written.
    pub fn write_views(&mut self, loader: &Loader) -> Result<()> {
        let views = loader.first_views(IMAGES)?;
        let sheet = sheet_of_views(&views, IMAGES, &loader.dataset().normalisation);
        let image = Image {
            height: sheet.height() as i32,
            width: sheet.width() as i32,
            colorspace: 3,
            encoded_image: png(&sheet)?,
        };
        self.run.append(0, vec![Value { tag: "views".into(), data: Some(Data::Image(image)) }])
    }

    /// Writes the features that the latest checkpoint of the run in `folder` has of some images: of the test images, or of
    /// the training images if there are none.
    ///
    /// # Errors
    /// If the checkpoint or the images cannot be read, or the files cannot be written.
    pub fn write_embeddings(&self, folder: &RunFolder, config: &Config, device: &Device) -> Result<()> {
        let _progress = Progress::spinner("writing embeddings for TensorBoard");
        let images = RunImages::of(folder)?;
        let loader = Loader::new(images.open(&images.locate(&config.data))?, config, None)?;
        let (encoder, mut parameters) = pretrained::open(folder.path())?.load(device)?;
        let summary = loader.dataset();
        let split = if summary.test.images == 0 { Split::Train } else { Split::Test };
        let (mut pictures, mut classes) = (Vec::new(), Vec::new());
        let mut extractor = Extractor::new(&encoder, &mut parameters, device);
        let mut collector = Collector::default();
        let mut chunk = 0;
        while let Some(images) = block_on(loader.sample(split, EMBEDDED, chunk))? {
            let of_images = images.pixels.chunks_exact(3 * images.size * images.size);
            pictures.extend(of_images.map(|pixels| picture(pixels, images.size, &summary.normalisation)));
            classes.extend(images.labels.iter().filter_map(|label| summary.classes.get(*label as usize).cloned()));
            if let Some(features) = block_on(extractor.extract(images)) {
                collector.add(features);
            }
            chunk += 1;
        }
        let features = collector.finish().context("no image can be read for TensorBoard's projector")?;
        let of_width = |(width, features): (&f64, Features)| {
            let [rows, columns] = features.values.dims();
            let values: Vec<f32> = features.values.rows(0..rows).into_data().iter().collect();
            (*width, values.chunks_exact(columns).map(<[f32]>::to_vec).collect())
        };
        let features = config.widths.iter().zip(features).map(of_width).collect();
        Embeddings { pictures, classes, features }.write(&self.path)
    }
}
