//! The views that each method takes of an image.

use slimclr_run::{config::Config, method::MethodKind, normalisation::Normalisation};

use super::AugmentConfig;

/// How one view of a step is made.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewRecipe {
    /// Its random choices.
    pub augment: AugmentConfig,
    /// Its side, in pixels.
    pub size: usize,
    /// The image that it is of.
    pub subject: Subject,
}

/// The image that a view is of, for each image of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The image itself.
    Image,
    /// A random member of its bag ([`Bags`](crate::bags::Bags)), another one in each epoch.
    BagMember,
}

/// Returns the recipe of each view that a step of the run takes of an image, in the order in which its method expects
/// them.
pub fn views(config: &Config, normalisation: Normalisation) -> Vec<ViewRecipe> {
    let size = config.image_size;
    let augments = match config.method {
        MethodKind::Mocov2 => vec![AugmentConfig::moco_v2(normalisation, size); 2],
        MethodKind::Mocov3 => AugmentConfig::moco_v3(normalisation, size).into(),
        MethodKind::Simclr => vec![AugmentConfig::simclr(normalisation, size); 2],
        MethodKind::Supervised => vec![AugmentConfig::supervised(normalisation, size)],
    };
    augments.into_iter().map(|augment| ViewRecipe { augment, size, subject: Subject::Image }).collect()
}
