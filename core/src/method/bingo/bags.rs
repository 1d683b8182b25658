//! Bags of similar images.

use burn::tensor::ExecutionError;
use thiserror::Error;

use crate::eval::{features::Rows, knn::nearest_images};

/// Why bags cannot be made.
#[derive(Debug, Error)]
pub enum BagsError {
    /// An image has fewer other images than a bag holds.
    #[error(
        "bags of {size} similar images need more than {size} training images, but there are {images}: use a smaller bag"
    )]
    TooFewImages {
        /// Images in a bag.
        size: usize,
        /// Training images.
        images: usize,
    },
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(#[from] ExecutionError),
}

/// Finds the `size` nearest others of each image, exactly and nearest first, by the distance of their features, `[n, f]`,
/// scaled to unit length. Returns rows of the features, `[n, size]`. It reads the features a part at a time, and may be
/// cancelled.
///
/// # Errors
/// If there are not more than `size` images, or if the device fails.
pub async fn most_similar(features: &dyn Rows, size: usize) -> Result<Vec<u32>, BagsError> {
    let [images, _] = features.dims();
    if images <= size {
        return Err(BagsError::TooFewImages { size, images });
    }
    let mut members = Vec::with_capacity(images * size);
    // An image is nearest to itself. So are its duplicates, which may come before it or even take its place.
    let neighbours = nearest_images(features, features, size + 1).await?;
    for (image, neighbours) in (0..).zip(neighbours.chunks_exact(size + 1)) {
        members.extend(neighbours.iter().filter(|other| **other != image).take(size));
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};
    use futures::executor::block_on;

    use super::*;

    fn bags<const N: usize>(features: [[f32; 2]; N], size: usize) -> Result<Vec<u32>, BagsError> {
        block_on(most_similar(&Tensor::<2>::from_data(features, &Device::flex()), size))
    }

    #[test]
    fn a_bag_has_the_nearest_others_whatever_their_length() {
        let bags = bags([[1.0, 0.0], [9.0, 1.0], [0.0, 2.0], [0.1, 0.2]], 2).unwrap();
        assert_eq!(bags, [1, 3, 0, 3, 3, 1, 2, 1]);
    }

    #[test]
    fn duplicates_are_in_each_others_bags_but_no_image_is_in_its_own() {
        let bags = bags([[0.6, 0.8]; 5], 2).unwrap();
        for (image, members) in bags.chunks(2).enumerate() {
            assert!(members[0] != members[1] && !members.contains(&(image as u32)), "{image}: {members:?}");
        }
    }

    #[test]
    fn a_bag_needs_other_images() {
        assert_eq!(bags([[1.0, 0.0], [0.0, 1.0]], 1).unwrap(), [1, 0]);
        let error = bags([[1.0, 0.0], [0.0, 1.0]], 2).unwrap_err().to_string();
        assert!(error.contains("more than 2 training images, but there are 2"), "{error}");
    }
}
