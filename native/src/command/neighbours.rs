//! `slimclr neighbours`: finds the images of a folder that a network sees as similar, to some pictures or to each other.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use futures::executor::block_on;
use slimclr_core::{
    data::folder::Purpose,
    eval::{
        features::{Extractor, FeatureChunk, Features},
        knn::{Neighbour, nearest, passes},
    },
    train::{Split, TrainError},
};

use crate::{
    contact_sheet::{ContactSheet, Picture},
    counted_rows::counted,
    data::{
        self, Dataset,
        image_file::shown_path,
        loader::{LoadError, Loader},
    },
    feature_cache::{FeatureCache, extract},
    files::{check_replaceable, create_folder, folder_of, write_atomically},
    network::Network,
    pretrained,
    terminal::{self, Progress},
};

/// Most near duplicates that are listed of one image.
const DUPLICATES: usize = 16;

/// Flags of `slimclr neighbours`.
#[derive(Args)]
#[command(after_help = "\
Examples: the images most similar to two pictures, the same drawn as a picture, and near duplicates
  slimclr neighbours runs/c10 --data photos cat.jpg dog.jpg
  slimclr neighbours runs/c10 --data photos cat.jpg --width 0.25 --out cat.png
  slimclr neighbours runs/c10 --data photos --duplicates")]
pub struct NeighboursFlags {
    /// A run's folder, a checkpoint or snapshot, or a PyTorch or safetensors file of another program
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Image files to find similar images to
    #[arg(value_name = "QUERY", required_unless_present = "duplicates", conflicts_with = "duplicates")]
    queries: Vec<PathBuf>,
    /// Images to search, as for pretrain: a folder, shards, or 'embedded'
    #[arg(long)]
    data: String,
    /// Width of the network
    #[arg(long, value_name = "W", default_value_t = 1.0)]
    width: f64,
    /// Number of similar images for each query
    #[arg(long, default_value_t = 8)]
    count: usize,
    /// Draw the queries with their similar images into this PNG file
    #[arg(long, value_name = "FILE", conflicts_with = "duplicates")]
    out: Option<PathBuf>,
    /// Overwrite the file of an earlier call
    #[arg(long)]
    force: bool,
    /// List pairs of images that are near duplicates of each other, most similar first
    #[arg(long)]
    duplicates: bool,
    /// Minimum cosine similarity of near duplicates
    #[arg(long, value_name = "COSINE", default_value_t = 0.99, requires = "duplicates", conflicts_with = "queries")]
    least: f64,
    /// Device, as for pretrain [default: the run's]
    #[arg(long)]
    device: Option<String>,
}

/// Prints the similar images and, if wanted, draws them.
///
/// # Errors
/// If the network, the images or the device cannot be used, or the file exists or cannot be written.
pub fn run(flags: &NeighboursFlags) -> Result<()> {
    if flags.count == 0 {
        bail!("--count 0: ask for at least one image");
    }
    if let Some(out) = &flags.out {
        if out.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("png")) {
            bail!("--out {}: name a .png file", out.display());
        }
        check_replaceable(out, flags.force)?;
    }
    if !(-1.0..=1.0).contains(&flags.least) {
        bail!("--least {}: a cosine is between -1 and 1", flags.least);
    }
    let mut network = Network::open(&flags.run, flags.device.as_deref())?;
    let width = pretrained::position(network.encoder.layout().widths(), flags.width, &flags.run)?;
    // First, since the features of the other images may take long.
    let queries = Dataset::of_files(&flags.queries)?;
    flags.out.as_deref().map(folder_of).map(create_folder).transpose()?;
    let images = data::open_for(Purpose::Features, &flags.data)?;
    let images = Embedded::new(&mut network, width, images, "computing features")?;
    if flags.duplicates {
        return duplicates(&images, flags.least);
    }
    let queries = Embedded::new(&mut network, width, queries, "computing features of the queries")?;
    // One more, because a query may be an image of the folder.
    let found = similar(&images, &queries.features, flags.count + 1)?;
    let mut sheet = ContactSheet::default();
    for (row, near) in found.into_iter().enumerate() {
        let (split, index) = queries.image(row);
        let path = &flags.queries[index];
        let itself = fs::canonicalize(path).ok();
        let is_other = |neighbour: &Neighbour| itself.is_none() || images.canonical_path(neighbour.image) != itself;
        let near: Vec<Neighbour> = near.into_iter().filter(is_other).take(flags.count).collect();
        terminal::print(&shown_path(path));
        for Neighbour { image, similarity } in &near {
            terminal::print(&format!("  {similarity:.3}  {}", images.caption(*image)));
        }
        if flags.out.is_some() {
            let picture = |dataset: &Dataset, (split, index), caption: String| -> Result<Picture> {
                Ok(Picture { image: dataset.image(split, index)?.into_owned(), caption })
            };
            let name = path.file_name().map(Path::new).map(shown_path).unwrap_or_default();
            let query = picture(queries.loader.images(), (split, index), name)?;
            let caption = |it: &Neighbour| format!("{:.3}  {}", it.similarity, images.class_or_name(it.image));
            let near = near.iter().map(|it| picture(images.loader.images(), images.image(it.image), caption(it)));
            sheet.add(query, near.collect::<Result<_>>()?);
        }
    }
    if let Some(out) = &flags.out {
        write_atomically(out, &sheet.png()?)?;
        terminal::print(&format!("picture: {}", out.display()));
    }
    Ok(())
}

/// Prints the pairs of images whose features have at least the cosine `least`, most similar first.
fn duplicates(images: &Embedded, least: f64) -> Result<()> {
    // The nearest image to each is itself.
    let found = similar(images, &images.features, DUPLICATES + 1)?;
    let pairs = found.into_iter().enumerate().flat_map(|(row, near)| {
        let is_pair = move |it: &Neighbour| it.image > row && f64::from(it.similarity) >= least;
        near.into_iter().filter(is_pair).map(move |it| (row, it))
    });
    let mut pairs: Vec<(usize, Neighbour)> = pairs.collect();
    pairs.sort_by(|(_, a), (_, b)| b.similarity.total_cmp(&a.similarity));
    for (row, Neighbour { image, similarity }) in &pairs {
        terminal::print(&format!("{similarity:.4}  {}  {}", images.name(*row), images.name(*image)));
    }
    let total = images.features.indices.len();
    terminal::note(&format!("{} pairs of {total} images have a cosine of {least} or more", pairs.len()));
    Ok(())
}

/// Finds the `count` images that are most similar to each of the queries, nearest first.
fn similar(images: &Embedded, queries: &Features, count: usize) -> Result<Vec<Vec<Neighbour>>> {
    let times = passes(queries.indices.len());
    let (bank, _progress) = counted(std::slice::from_ref(&images.features), times, "finding similar images");
    Ok(block_on(nearest(&*bank[0].values, &*queries.values, count))?)
}

/// Images with their features: a row for each that is not damaged.
struct Embedded {
    loader: Loader,
    /// Its indices count the training images, then the test images.
    features: Features,
}

impl Embedded {
    /// Computes the features of all images of a data set at the width with this index. They are on disk, since they may be
    /// larger than memory.
    fn new(network: &mut Network, width: usize, dataset: Dataset, task: &str) -> Result<Self> {
        let loader = network.loader(dataset)?;
        let [train, test] = [Split::Train, Split::Test].map(|split| loader.images().len(split));
        let size = network.encoder.backbone().features().at(network.encoder.layout().widths(), width);
        let progress = Progress::new((train + test) as u64, "images", task);
        let Network { encoder, parameters, device, .. } = network;
        let mut extractor = Extractor::new(encoder, parameters, device).at_widths(width..width + 1);
        let [features, _] = FeatureCache::temporary().write([train + test, 0], &[size], device, |writer| {
            block_on(async {
                for (split, first) in [(Split::Train, 0), (Split::Test, train)] {
                    let chunks = async |chunk| loader.all(split, chunk).await;
                    // All images are one list, in which the test images come last.
                    let add = async |chunk: FeatureChunk| {
                        let indices = chunk.indices.into_iter().map(|index| first + index).collect();
                        writer.add(Split::Train, FeatureChunk { indices, ..chunk }).await
                    };
                    extract(&mut extractor, &progress, chunks, add).await?;
                }
                anyhow::Ok(())
            })
        })?;
        let features = features.into_iter().next().context("the network has no features")?;
        if features.indices.is_empty() {
            return Err(TrainError::<LoadError>::NoImages(Split::Train).into());
        }
        Ok(Self { loader, features })
    }

    /// Returns split and index of the image of a row.
    fn image(&self, row: usize) -> (Split, usize) {
        let index = self.features.indices[row];
        match index.checked_sub(self.loader.images().len(Split::Train)) {
            None => (Split::Train, index),
            Some(index) => (Split::Test, index),
        }
    }

    /// Names the image of a row: by its path below the data's folder, or by its place if it is in memory.
    fn name(&self, row: usize) -> String {
        let (split, index) = self.image(row);
        let name = self.loader.images().image_name(split, index);
        match (name.is_empty(), split) {
            (false, _) => name,
            (true, Split::Train) => format!("training image {index}"),
            (true, Split::Test) => format!("test image {index}"),
        }
    }

    fn class(&self, row: usize) -> Option<&String> {
        let (images, (split, index)) = (self.loader.images(), self.image(row));
        images.summary().classes.get(images.label(split, index) as usize)
    }

    /// Names the image of a row and its class.
    fn caption(&self, row: usize) -> String {
        let name = self.name(row);
        self.class(row).map_or(name.clone(), |class| format!("{name}  ({class})"))
    }

    fn class_or_name(&self, row: usize) -> String {
        let (split, index) = self.image(row);
        let path = self.loader.images().relative_path(split, index);
        let name = path.file_name().map(Path::new).map(shown_path);
        self.class(row).cloned().or(name).unwrap_or_default()
    }

    /// Returns the image's file without links, as far as it is one.
    fn canonical_path(&self, row: usize) -> Option<PathBuf> {
        let (split, index) = self.image(row);
        fs::canonicalize(self.loader.images().path(split, index)?).ok()
    }
}
