//! `slimclr data pack`: writes a data set as shards.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Cursor, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use image::{ImageFormat, RgbImage};
use rayon::prelude::*;
use slimclr_core::{augment::epoch_order, image::Image, train::Split};

use crate::{
    data::{self, Dataset, Stored, shards::CLASSES},
    files::create_folder,
    shell,
    terminal::{self, Progress},
};

/// Images in a shard: of ImageNet, 110 MB.
const SHARD: usize = 1000;

/// Flags of `slimclr data pack`.
#[derive(Args)]
pub struct PackFlags {
    /// Images to pack, as for pretrain --data; their files are copied as they are
    #[arg(value_name = "FOLDER")]
    data: String,
    /// Folder to create for the shards
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

/// Packs a data set, and says how to train on it.
///
/// # Errors
/// If [`pack`] fails.
pub fn run(flags: &PackFlags) -> Result<()> {
    let images = pack(&flags.data, &flags.out)?;
    terminal::print(&format!(
        "wrote {} training and {} test images into {} shards; train on them with --data {}",
        images[0],
        images[1],
        images.iter().map(|images| images.div_ceil(SHARD)).sum::<usize>(),
        shell::path(&flags.out)
    ));
    Ok(())
}

/// Writes the images of the data set `data` as `train-NNNNNN.tar` and `val-NNNNNN.tar`, 1,000 in each, into the folder
/// `out`, and the classes' names as `classes.txt`. Training images are shuffled, so that neighbours in a shard are of
/// different classes. Returns the numbers of training and test images.
///
/// # Errors
/// If there are no images, the folder is not empty, or something cannot be read or written.
pub fn pack(data: &str, out: &Path) -> Result<[usize; 2]> {
    if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("--out {}: the folder is not empty; choose another", out.display());
    }
    // The shards are moved to their folder once all are written, so that no run trains on a part of them.
    let mut partial = out.components().as_path().as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    if partial.exists() {
        bail!("{} is left over from an interrupted pack: remove it, and pack again", partial.display());
    }
    let dataset = data::open(data)?;
    create_folder(&partial)?;
    let packed = write_all(&dataset, &partial);
    if packed.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    let images = packed?;
    let rename = || {
        if out.is_dir() {
            fs::remove_dir(out)?;
        }
        fs::rename(&partial, out)
    };
    rename().with_context(|| format!("cannot rename {} to {}", partial.display(), out.display()))?;
    Ok(images)
}

/// Writes all shards and the names of the classes into `folder`.
fn write_all(dataset: &Dataset, folder: &Path) -> Result<[usize; 2]> {
    let images = [Split::Train, Split::Test].map(|split| dataset.len(split));
    let progress = Progress::new(images.iter().sum::<usize>() as u64, "images", "packing");
    let orders = [epoch_order(0, 0, images[0]), (0..images[1] as u32).collect()];
    for ((name, split), order) in [("train", Split::Train), ("val", Split::Test)].into_iter().zip(orders) {
        order.par_chunks(SHARD).enumerate().try_for_each(|(number, indices)| {
            let path = folder.join(format!("{name}-{number:06}.tar"));
            let samples = (number * SHARD..).zip(indices.iter().map(|index| *index as usize));
            let written = write(&path, dataset, split, samples, || progress.inc(1));
            written.with_context(|| format!("cannot write {}", path.display()))
        })?;
    }
    let classes = &dataset.summary().classes;
    if !classes.is_empty() {
        let path = folder.join(CLASSES);
        fs::write(&path, classes.join("\n") + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(images)
}

/// Writes a shard of `samples`, which are pairs of key and index in the data set.
fn write(
    path: &Path,
    dataset: &Dataset,
    split: Split,
    samples: impl Iterator<Item = (usize, usize)>,
    on_image: impl Fn(),
) -> Result<()> {
    let mut shard = tar::Builder::new(BufWriter::new(File::create(path)?));
    for (key, index) in samples {
        let image = match dataset.stored(split, index)? {
            Stored::Encoded(file) => file,
            Stored::Decoded(image) => png(image)?,
        };
        // An image that is not recognised is damaged, as a run on it will say.
        let extension = image::guess_format(&image).map_or("jpg", |format| format.extensions_str()[0]);
        append(&mut shard, &format!("{key:08}.{extension}"), &image)?;
        if dataset.summary().has_labels() {
            append(&mut shard, &format!("{key:08}.cls"), dataset.label(split, index).to_string().as_bytes())?;
        }
        on_image();
    }
    let mut file = shard.into_inner()?;
    file.flush()?;
    Ok(file.get_ref().sync_all()?)
}

/// Appends a member with neither owner nor time, so that the same images make the same shards.
fn append(shard: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    shard.append_data(&mut header, name, bytes)
}

fn png(image: &Image) -> Result<Vec<u8>> {
    let pixels = RgbImage::from_raw(image.width as u32, image.height as u32, image.pixels.clone());
    let mut file = Cursor::new(Vec::new());
    pixels.context("the pixels do not fill the image")?.write_to(&mut file, ImageFormat::Png)?;
    Ok(file.into_inner())
}
