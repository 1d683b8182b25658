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
    let moco_v2 = |size| {
        let augment = AugmentConfig::moco_v2(normalisation, size);
        if config.strong_colours { augment.with_strong_colours() } else { augment }
    };
    let augments = match config.method {
        MethodKind::Mocov2 => vec![moco_v2(size); 2],
        MethodKind::Mocov3 => AugmentConfig::moco_v3(normalisation, size).into(),
        MethodKind::Simclr => vec![AugmentConfig::simclr(normalisation, size); 2],
        MethodKind::Supervised => vec![AugmentConfig::supervised(normalisation, size)],
    };
    augments.into_iter().map(|augment| ViewRecipe { augment, size, subject: Subject::Image }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMALISATION: Normalisation = Normalisation::IMAGENET;

    #[test]
    fn strong_colours_change_the_views_of_moco_v2() {
        let colours = |method| {
            let config = Config { method, strong_colours: true, ..Config::mini() };
            let augment = views(&config, NORMALISATION).remove(0).augment;
            let jitter = augment.jitter;
            assert_eq!(augment.check(), Ok(()));
            ([jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue], augment.grey_probability)
        };
        assert_eq!(colours(MethodKind::Mocov2), ([0.8, 0.8, 0.8, 0.4], 0.5));
        assert_eq!(colours(MethodKind::Simclr), ([0.8, 0.8, 0.8, 0.2], 0.2));
    }
}
