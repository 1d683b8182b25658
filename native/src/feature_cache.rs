//! Features of all images in a file: they may be larger than memory. The file of a run's checkpoint stays in its folder,
//! so that evaluating again with other options needs no forward pass.

use std::{
    env,
    fs::File,
    iter,
    ops::Range,
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context, Result, bail};
use burn::tensor::{DType, Device, ExecutionError, Tensor, TensorData};
use safetensors::Dtype;
use sha2::{Digest, Sha256};
use slimclr_core::{
    data::batch::LabelledImages,
    eval::features::{Extractor, FeatureChunk, Features, Rows},
    train::Split,
};

use crate::{
    cache_folder::{VARIABLE as CACHE_VARIABLE, cache_folder},
    data::{Dataset, loader::LoadError},
    files::{create_folder, sweep, temporary_file},
    run_folder::RunFolder,
    tensor_file::{GrowingFile, GrowingTensor, MappedFile},
    terminal::{Progress, count},
};

/// Names a tensor of a split.
fn name(split: Split, what: impl std::fmt::Display) -> String {
    let split = match split {
        Split::Train => "train",
        Split::Test => "test",
    };
    format!("{split}.{what}")
}

/// The file of a network's features on one data set.
pub struct FeatureCache {
    /// The run's file; without one, the features are removed after use.
    path: Option<PathBuf>,
    /// Hash of everything that the features depend on.
    inputs: Sha256,
}

impl FeatureCache {
    /// Locates the cache in `folder` of the features that `checkpoint` computes from `dataset` at `image_size` pixels.
    ///
    /// # Errors
    /// If an image file is missing.
    pub fn of_run(folder: &RunFolder, checkpoint: &[u8], dataset: &Dataset, image_size: usize) -> Result<Self> {
        let mut inputs = Sha256::new().chain_update(checkpoint).chain_update(image_size.to_le_bytes());
        dataset.fingerprint(|part| inputs.update(part))?;
        Ok(Self { path: Some(folder.features_path()), inputs })
    }

    /// Locates the cache in `folder` of the features that the run's teacher, of which these are the bytes, computes from
    /// `dataset` at `image_size` pixels.
    ///
    /// # Errors
    /// If an image file is missing.
    pub fn of_teacher(folder: &RunFolder, teacher: &[u8], dataset: &Dataset, image_size: usize) -> Result<Self> {
        let of_run = Self::of_run(folder, teacher, dataset, image_size)?;
        Ok(Self { path: Some(folder.teacher_features_path()), ..of_run })
    }

    /// Returns a place for features that no later evaluation needs, in the user's cache folder.
    pub fn temporary() -> Self {
        Self { path: None, inputs: Sha256::new() }
    }

    /// Opens the features of the training and test images at every width, to be read onto `device`. Returns `None` if
    /// the cache is missing, stale or damaged.
    pub fn read(&self, device: &Device) -> Option<[Vec<Features>; 2]> {
        let file = MappedFile::open(&File::open(self.path.as_ref()?).ok()?).ok()?;
        if file.is_of(&self.inputs) { features(file, device) } else { None }
    }

    /// Writes the features that `compute` finds of at most `images` training and test images, replacing any earlier
    /// ones; an image has `features` at each width. Opens them, to be read onto `device`.
    ///
    /// # Errors
    /// If `compute` fails, or the file cannot be written.
    pub fn write(
        &self,
        images: [usize; 2],
        features: &[usize],
        device: &Device,
        compute: impl FnOnce(&mut FeatureWriter) -> Result<()>,
    ) -> Result<[Vec<Features>; 2]> {
        let (folder, advice) = match &self.path {
            Some(path) => (path.parent().expect("it is in a run's folder").to_path_buf(), String::new()),
            None => {
                let advice = format!(", or set {CACHE_VARIABLE} to another folder");
                (cache_folder().unwrap_or_else(env::temp_dir), advice)
            }
        };
        let bytes = 4 * (images.iter().sum::<usize>() * features.iter().sum::<usize>()) as u64;
        let (size, place) = (count(bytes), folder.display());
        let problem = format!("cannot write the features ({size}B) to {place}: make room there{advice}");
        create_folder(&folder)?;
        let (file, temporary) = if self.path.is_some() {
            sweep(&folder);
            let (file, path) = temporary_file(&folder).context(problem.clone())?.into_parts();
            (file, Some(path))
        } else {
            (tempfile::tempfile_in(&folder).context(problem.clone())?, None)
        };
        if let Some(free) = free_bytes(&folder).filter(|free| *free < bytes) {
            bail!("the features take {size}B, but {place} has only {}B free: make room there{advice}", count(free));
        }
        let mut writer = FeatureWriter::new(file, images, features, problem.clone())?;
        compute(&mut writer)?;
        let finish = || {
            let file = writer.file.finish(&self.inputs)?;
            if let (Some(temporary), Some(path)) = (temporary, &self.path) {
                file.sync_all()?;
                temporary.persist(path)?;
            }
            MappedFile::open(&file)
        };
        Ok(self::features(finish().context(problem)?, device).expect("these tensors were just written"))
    }
}

/// Returns the bytes that the disk of a folder has free for the user; `None` if the system does not know.
#[cfg(unix)]
pub fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok().filter(|disk| disk.f_blocks > 0)?;
    Some(disk.f_bavail * disk.f_frsize)
}

#[cfg(not(unix))]
pub fn free_bytes(_: &Path) -> Option<u64> {
    None
}

/// Computes the features of images, which `chunks` returns until there are none left, and passes them on to `add`.
///
/// # Errors
/// If an image cannot be read, or `add` fails.
pub async fn extract(
    extractor: &mut Extractor<'_>,
    progress: &Progress,
    mut chunks: impl AsyncFnMut(usize) -> Result<Option<LabelledImages>, LoadError>,
    mut add: impl AsyncFnMut(FeatureChunk) -> Result<()>,
) -> Result<()> {
    let mut chunk = 0;
    while let Some(images) = chunks(chunk).await? {
        progress.inc(images.labels.len());
        if let Some(features) = extractor.extract(images).await {
            add(features).await?;
        }
        chunk += 1;
    }
    Ok(())
}

/// Writes features as they are computed.
pub struct FeatureWriter {
    file: GrowingFile,
    /// What it means if the file cannot be written.
    problem: String,
}

impl FeatureWriter {
    fn new(file: File, images: [usize; 2], features: &[usize], problem: String) -> Result<Self> {
        let splits = || [Split::Train, Split::Test].into_iter().zip(images);
        // The integers of 64 bits come first, where they are aligned.
        let indices =
            splits().map(|(split, images)| GrowingTensor::new(name(split, "indices"), Dtype::U64, &[], images));
        let values = splits().flat_map(|(split, images)| {
            let of_width = move |(width, features): (usize, &usize)| {
                GrowingTensor::new(name(split, width), Dtype::F32, &[*features], images)
            };
            features.iter().enumerate().map(of_width)
        });
        let labels = splits().map(|(split, images)| GrowingTensor::new(name(split, "labels"), Dtype::U32, &[], images));
        let file = GrowingFile::new(file, indices.chain(values).chain(labels).collect()).context(problem.clone())?;
        Ok(Self { file, problem })
    }

    /// Returns the number of images of a split so far.
    pub fn images(&self, split: Split) -> usize {
        self.file.rows(&name(split, "labels"))
    }

    /// Computes and appends the features of the images of a split, which `chunks` returns until there are none left.
    ///
    /// # Errors
    /// If an image cannot be read, the device fails, or the disk is full.
    pub async fn extract(
        &mut self,
        split: Split,
        extractor: &mut Extractor<'_>,
        progress: &Progress,
        chunks: impl AsyncFnMut(usize) -> Result<Option<LabelledImages>, LoadError>,
    ) -> Result<()> {
        extract(extractor, progress, chunks, async |chunk| self.add(split, chunk).await).await
    }

    /// Appends the features of some images of a split.
    ///
    /// # Errors
    /// If the device fails, or the disk is full.
    pub async fn add(&mut self, split: Split, chunk: FeatureChunk) -> Result<()> {
        for (width, values) in chunk.values.into_iter().enumerate() {
            self.append(name(split, width), host_values(values).await?.as_bytes())?;
        }
        let indices: Vec<u64> = chunk.indices.iter().map(|index| *index as u64).collect();
        self.append(name(split, "indices"), TensorData::from(indices.as_slice()).as_bytes())?;
        self.append(name(split, "labels"), TensorData::from(chunk.labels.as_slice()).as_bytes())
    }

    fn append(&mut self, name: String, rows: &[u8]) -> Result<()> {
        self.file.append(&name, rows).with_context(|| self.problem.clone())
    }
}

/// Reads features, `[n, f]`, from the device.
///
/// # Errors
/// If the device fails.
pub async fn host_values(features: Tensor<2>) -> Result<TensorData, ExecutionError> {
    Ok(features.into_data_async().await?.convert::<f32>())
}

/// Returns the features in a file, by split and width; `None` if tensors are missing.
fn features(file: MappedFile, device: &Device) -> Option<[Vec<Features>; 2]> {
    let file = Rc::new(file);
    let integers = |name: String, dtype| {
        let (shape, place) = file.tensor(&name)?;
        let mut bytes = Vec::with_capacity(place.len());
        file.read(iter::once(place), &mut bytes);
        Some(TensorData::from_bytes_vec(bytes, shape.to_vec(), dtype))
    };
    let of_split = |split| {
        let labels: Vec<u32> = integers(name(split, "labels"), DType::U32)?.iter().collect();
        let indices = integers(name(split, "indices"), DType::U64)?;
        let indices: Vec<usize> = indices.iter::<u64>().map(|index| index as usize).collect();
        let widths = (0..).map_while(|width| {
            let (shape, place) = file.tensor(&name(split, width))?;
            let dims = shape.try_into().ok()?;
            Some(MappedRows { file: file.clone(), place, dims, device: device.clone() })
        });
        let features = |rows| Features { values: Rc::new(rows), labels: labels.clone(), indices: indices.clone() };
        Some(widths.map(features).collect())
    };
    Some([of_split(Split::Train)?, of_split(Split::Test)?])
}

/// One width's features in a file.
#[derive(Debug)]
struct MappedRows {
    file: Rc<MappedFile>,
    place: Range<usize>,
    dims: [usize; 2],
    device: Device,
}

impl MappedRows {
    fn read(&self, count: usize, rows: impl Iterator<Item = Range<usize>> + Clone) -> Tensor<2> {
        let [_, columns] = self.dims;
        let byte = |row: usize| self.place.start + row * 4 * columns;
        let mut bytes = Vec::with_capacity(count * 4 * columns);
        self.file.read(rows.map(|rows| byte(rows.start)..byte(rows.end)), &mut bytes);
        Tensor::from_data(TensorData::from_bytes_vec(bytes, [count, columns], DType::F32), &self.device)
    }
}

impl Rows for MappedRows {
    fn dims(&self) -> [usize; 2] {
        self.dims
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn rows(&self, range: Range<usize>) -> Tensor<2> {
        self.read(range.len(), iter::once(range))
    }

    fn select(&self, indices: &[u32]) -> Tensor<2> {
        let rows = indices.iter().map(|index| *index as usize);
        self.read(indices.len(), rows.map(|row| row..row + 1))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use futures::executor::block_on;
    use slimclr_core::{
        eval::{
            features::Collector,
            knn::knn,
            probe::{ProbeConfig, probe},
            rankme::rankme,
            ridge::ridge,
        },
        schedule::Decay,
        width::Widths,
    };

    use super::*;

    const FEATURES: [usize; 2] = [8, 4];

    /// Draws features of images of a split in three classes, in chunks; every third image is damaged.
    fn chunks(images: usize) -> Vec<FeatureChunk> {
        let indices: Vec<usize> = (0..images).filter(|index| index % 3 > 0).collect();
        let chunk = |indices: &[usize]| FeatureChunk {
            values: FEATURES
                .map(|features| Tensor::random([indices.len(), features], Distribution::Default, &Device::flex()))
                .to_vec(),
            labels: indices.iter().map(|index| (index / 3 % 3) as u32).collect(),
            indices: indices.to_vec(),
        };
        indices.chunks(40).map(chunk).collect()
    }

    #[test]
    fn measures_of_features_on_disk_are_those_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let device = Device::flex();
        let inputs = Sha256::new().chain_update("a checkpoint");
        let cache = FeatureCache { path: Some(folder.path().join("features.safetensors")), inputs };
        assert!(cache.read(&device).is_none());
        let images = [300, 60];
        let chunks = images.map(chunks);
        let written = cache.write(images, &FEATURES, &device, |writer| {
            for (split, chunks) in [Split::Train, Split::Test].into_iter().zip(chunks.clone()) {
                chunks.into_iter().try_for_each(|chunk| block_on(writer.add(split, chunk)))?;
            }
            assert_eq!([Split::Train, Split::Test].map(|split| writer.images(split)), [200, 40]);
            Ok(())
        });
        let in_memory = chunks.map(|chunks| {
            let mut collector = Collector::default();
            chunks.into_iter().for_each(|chunk| collector.add(chunk));
            collector.finish().unwrap()
        });
        let measure = |[bank, test]: [Vec<Features>; 2]| {
            let widths = Widths::try_from(vec![1.0, 0.5]).unwrap();
            let config =
                ProbeConfig { epochs: 3, batch: 32, rate: 1.0, decay: Decay::Cosine, ..ProbeConfig::default() };
            let of_width = |width: usize| {
                let (bank, test) = (&bank[width], &test[width]);
                assert_eq!(bank.indices[..3], [1, 2, 4]);
                let knn = block_on(knn(bank, test, 5)).unwrap();
                let ridge = block_on(ridge(bank, test, 1e-3)).unwrap();
                (knn, ridge, block_on(rankme(&*bank.values)).unwrap())
            };
            ([0, 1].map(of_width), block_on(probe(&bank, &test, &widths, &config, 0)).unwrap())
        };
        let expected = measure(in_memory);
        assert_eq!(measure(written.unwrap()), expected);
        assert_eq!(measure(cache.read(&device).unwrap()), expected);
        let other = FeatureCache { inputs: Sha256::new(), ..cache };
        assert!(other.read(&device).is_none());
        assert_eq!(folder.path().read_dir().unwrap().count(), 1, "a temporary file was left behind");
    }

    #[cfg(unix)]
    #[test]
    fn a_disk_without_room_is_noticed_before_anything_is_computed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("features.safetensors");
        let cache = FeatureCache { path: Some(path), inputs: Sha256::new() };
        let images = [1 << 44, 1];
        let refused = cache.write(images, &FEATURES, &Device::flex(), |_| unreachable!("nothing is computed"));
        let error = refused.unwrap_err().to_string();
        assert!(
            error.starts_with("the features take 844 TB, but ") && error.contains("B free: make room there"),
            "{error}"
        );
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "a temporary file was left behind");
    }

    #[test]
    fn what_fails_keeps_the_earlier_features() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("features.safetensors");
        std::fs::write(&path, "earlier").unwrap();
        let cache = FeatureCache { path: Some(path.clone()), inputs: Sha256::new() };
        let failed = cache.write([1, 1], &FEATURES, &Device::flex(), |_| anyhow::bail!("the device failed"));
        assert_eq!(failed.unwrap_err().to_string(), "the device failed");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "earlier");
        assert_eq!(folder.path().read_dir().unwrap().count(), 1, "a temporary file was left behind");
    }
}
