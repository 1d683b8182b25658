//! Bags of similar images.

use burn::tensor::ExecutionError;
use thiserror::Error;

use crate::eval::{features::Rows, knn::nearest};

/// The nearest other images of each training image, in a teacher's features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bags {
    /// Indices of images, nearest first: `[n, size]`, row by row.
    pub members: Vec<u32>,
    /// Images in a bag.
    pub size: usize,
}

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

impl Bags {
    /// Finds the `size` nearest others of each image, exactly, by the distance of their features, `[n, f]`, scaled to
    /// unit length. It reads the features a part at a time, and may be cancelled.
    ///
    /// # Errors
    /// If there are not more than `size` images, or if the device fails.
    pub async fn new(features: &dyn Rows, size: usize) -> Result<Self, BagsError> {
        let [images, _] = features.dims();
        if images <= size {
            return Err(BagsError::TooFewImages { size, images });
        }
        let mut members = Vec::with_capacity(images * size);
        // An image is nearest to itself. So are its duplicates, which may come before it or even take its place.
        for (image, neighbours) in nearest(features, features, size + 1).await?.iter().enumerate() {
            let others = neighbours.iter().map(|neighbour| neighbour.image).filter(|other| *other != image);
            members.extend(others.take(size).map(|other| other as u32));
        }
        Ok(Self { members, size })
    }

    /// Returns the other images in the bag of `image`, nearest first.
    pub fn of(&self, image: usize) -> &[u32] {
        &self.members[image * self.size..][..self.size]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};
    use futures::executor::block_on;

    use super::*;

    fn bags<const N: usize>(features: [[f32; 2]; N], size: usize) -> Result<Bags, BagsError> {
        block_on(Bags::new(&Tensor::<2>::from_data(features, &Device::flex()), size))
    }

    #[test]
    fn a_bag_has_the_nearest_others_whatever_their_length() {
        let bags = bags([[1.0, 0.0], [9.0, 1.0], [0.0, 2.0], [0.1, 0.2]], 2).unwrap();
        assert_eq!(bags.members, [1, 3, 0, 3, 3, 1, 2, 1]);
        assert_eq!(bags.of(2), [3, 1]);
    }

    #[test]
    fn duplicates_are_in_each_others_bags_but_no_image_is_in_its_own() {
        let bags = bags([[0.6, 0.8]; 5], 2).unwrap();
        for image in 0..5 {
            let members = bags.of(image);
            assert!(members[0] != members[1] && !members.contains(&(image as u32)), "{image}: {members:?}");
        }
    }

    #[test]
    fn a_bag_needs_other_images() {
        assert_eq!(bags([[1.0, 0.0], [0.0, 1.0]], 1).unwrap().members, [1, 0]);
        let error = bags([[1.0, 0.0], [0.0, 1.0]], 2).unwrap_err().to_string();
        assert!(error.contains("more than 2 training images, but there are 2"), "{error}");
    }
}
