//! A cache of a checkpoint's features in its run's folder, so that evaluating again with other options needs no forward
//! pass.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::PathBuf,
};

use anyhow::{Result, bail};
use burn::tensor::{DType, Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, serialize, tensor::TensorView};
use sha2::{Digest, Sha256};
use slimclr_core::eval::features::Features;

use crate::{
    data::{Dataset, fetch::hex},
    run_folder::{RunFolder, write_atomically},
    terminal::count,
};

/// The key of the digest in the file's metadata.
const DIGEST: &str = "sha256";

/// The largest cache in bytes, as the file is built in memory. Features of all of ImageNet are larger, so they are not
/// cached.
const LARGEST: usize = 4 << 30;

/// The cached features of one checkpoint on one data set.
pub struct FeatureCache {
    path: PathBuf,
    /// Hash of everything that the features depend on.
    inputs: Sha256,
}

impl FeatureCache {
    /// Locates the cache in `folder` of the features that `checkpoint` computes from `dataset` at `image_size` pixels.
    ///
    /// # Errors
    /// If an image file is missing.
    pub fn new(folder: &RunFolder, checkpoint: &[u8], dataset: &Dataset, image_size: usize) -> Result<Self> {
        let mut inputs = Sha256::new().chain_update(checkpoint).chain_update(image_size.to_le_bytes());
        dataset.fingerprint(|part| inputs.update(part))?;
        Ok(Self { path: folder.features_path(), inputs })
    }

    /// Reads the features of the training and test images at every width onto `device`. Returns `None` if the cache is
    /// missing, stale or damaged.
    pub fn read(&self, device: &Device) -> Option<[Vec<Features>; 2]> {
        let bytes = fs::read(&self.path).ok()?;
        let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
        let tensors: BTreeMap<_, _> = SafeTensors::deserialize(&bytes).ok()?.tensors().into_iter().collect();
        if *header.metadata().as_ref()?.get(DIGEST)? != self.digest(&tensors) {
            return None;
        }
        let data = |name: String, dtype| {
            let view = tensors.get(&name)?;
            Some(TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype))
        };
        let split = |split: &str| {
            let labels: Vec<u32> = data(format!("{split}.labels"), DType::U32)?.iter().collect();
            let indices = data(format!("{split}.indices"), DType::U64)?;
            let indices: Vec<usize> = indices.iter::<u64>().map(|index| index as usize).collect();
            let widths = (0..).map_while(|width| data(format!("{split}.{width}"), DType::F32));
            let features = |values| Features {
                values: Tensor::from_data(values, device),
                labels: labels.clone(),
                indices: indices.clone(),
            };
            Some(widths.map(features).collect())
        };
        Some([split("train")?, split("test")?])
    }

    /// Writes the features of the training and test images, replacing any earlier ones.
    ///
    /// # Errors
    /// If the device fails, the features are too large to cache, or the file cannot be written.
    pub async fn write(&self, [train, test]: &[Vec<Features>; 2]) -> Result<()> {
        let bytes: usize = [train, test]
            .into_iter()
            .flatten()
            .map(|features| 4 * features.values.dims().iter().product::<usize>())
            .sum();
        if bytes > LARGEST {
            bail!(
                "the features are not cached: they take {}B, the limit is {}B",
                count(bytes as u64),
                count(LARGEST as u64)
            );
        }
        let mut tensors = Vec::new();
        for (split, widths) in [("train", train), ("test", test)] {
            let Features { labels, indices, .. } = &widths[0];
            let indices: Vec<u64> = indices.iter().map(|index| *index as u64).collect();
            tensors.push((format!("{split}.labels"), Dtype::U32, TensorData::from(labels.as_slice())));
            tensors.push((format!("{split}.indices"), Dtype::U64, TensorData::from(indices.as_slice())));
            for (width, features) in widths.iter().enumerate() {
                let values = features.values.clone().into_data_async().await?.convert::<f32>();
                tensors.push((format!("{split}.{width}"), Dtype::F32, values));
            }
        }
        let views = tensors
            .iter()
            .map(|(name, dtype, data)| {
                Ok((name.clone(), TensorView::new(*dtype, data.shape().to_vec(), data.as_bytes())?))
            })
            .collect::<Result<BTreeMap<_, _>>>()?;
        let digest = HashMap::from([(DIGEST.into(), self.digest(&views))]);
        write_atomically(&self.path, &serialize(views, Some(digest))?)
    }

    /// Hashes the inputs and the features, so that a mismatch reveals a stale file as well as a damaged one.
    fn digest(&self, tensors: &BTreeMap<String, TensorView>) -> String {
        let mut hash = self.inputs.clone();
        for (name, tensor) in tensors {
            hash.update(format!("{name} {:?}", tensor.shape()));
            hash.update(tensor.data());
        }
        hex(&hash.finalize())
    }
}
