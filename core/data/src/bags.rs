//! Bags of similar images, of which BINGO takes views.

use thiserror::Error;

/// For each training image, the indices of the others that are most similar to it (Xu et al. 2022, "Bag of instances
/// aggregation boosts self-supervised distillation", section 3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bags {
    /// `[images, size]`.
    members: Vec<u32>,
    /// Members of each bag.
    size: usize,
}

/// Why numbers are not bags of images.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BagsError {
    /// The last bag is incomplete, or bags are empty.
    #[error("{members} members do not divide into bags of {size}: make the bags again")]
    Size {
        /// Members of all bags.
        members: usize,
        /// Members that each bag should have.
        size: usize,
    },
    /// A member is no image.
    #[error("a bag has image {member} as a member, but there are only {images} images: make the bags again")]
    Member {
        /// The member's index.
        member: u32,
        /// Number of images.
        images: usize,
    },
}

impl Bags {
    /// Creates bags of `size` members each from their members, `[images, size]`.
    ///
    /// # Errors
    /// If the members are not whole bags, or not images.
    pub fn new(members: Vec<u32>, size: usize) -> Result<Self, BagsError> {
        if size == 0 || !members.len().is_multiple_of(size) {
            return Err(BagsError::Size { members: members.len(), size });
        }
        let images = members.len() / size;
        match members.iter().find(|member| **member as usize >= images) {
            Some(&member) => Err(BagsError::Member { member, images }),
            None => Ok(Self { members, size }),
        }
    }

    /// Returns the number of images, each of which has a bag.
    pub fn images(&self) -> usize {
        self.members.len() / self.size
    }

    /// Returns the members of the bag of the image at `index`, the most similar first.
    pub fn of(&self, index: u32) -> &[u32] {
        &self.members[index as usize * self.size..][..self.size]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_has_its_bag() {
        let bags = Bags::new(vec![1, 2, 2, 0, 0, 1], 2).unwrap();
        assert_eq!(bags.images(), 3);
        assert_eq!([bags.of(0), bags.of(1), bags.of(2)], [[1, 2], [2, 0], [0, 1]]);
    }

    #[test]
    fn bags_that_do_not_fit_are_errors() {
        assert_eq!(Bags::new(vec![1, 2, 0], 2), Err(BagsError::Size { members: 3, size: 2 }));
        assert_eq!(Bags::new(vec![], 0), Err(BagsError::Size { members: 0, size: 0 }));
        assert_eq!(Bags::new(vec![1, 0, 3, 0], 2), Err(BagsError::Member { member: 3, images: 2 }));
    }
}
