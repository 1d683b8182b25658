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

/// The area of small crops, as a fraction of the image's (multi-crop: Caron et al. 2020, "Unsupervised learning of visual
/// features by contrasting cluster assignments", section 3.2, and its code).
const SMALL_CROP_AREA: [f32; 2] = [0.05, 0.14];
/// The area of full-size views beside small crops.
const AREA_BESIDE_SMALL_CROPS: [f32; 2] = [0.14, 1.0];

/// Returns the recipe of each view that a step of the run takes of an image, in the order in which its method expects
/// them.
pub fn views(config: &Config, normalisation: Normalisation) -> Vec<ViewRecipe> {
    let size = config.image_size;
    let moco_v2 = |size| {
        let augment = AugmentConfig::moco_v2(normalisation, size);
        if config.strong_colours { augment.with_strong_colours() } else { augment }
    };
    let swav = |size| AugmentConfig::swav(normalisation, size);
    let full = |augment| ViewRecipe { augment, size, subject: Subject::Image };
    let of_member = |augment| ViewRecipe { augment, size, subject: Subject::BagMember };
    // `count` full-size views, then the small crops.
    let multi_crop = |count, augment: &dyn Fn(usize) -> AugmentConfig| {
        let mut recipe = full(augment(size));
        if config.small_crops > 0 {
            recipe.augment.crop_area = AREA_BESIDE_SMALL_CROPS;
        }
        let small = AugmentConfig { crop_area: SMALL_CROP_AREA, ..augment(config.small_size) };
        let small = ViewRecipe { augment: small, size: config.small_size, subject: Subject::Image };
        [vec![recipe; count], vec![small; config.small_crops]].concat()
    };
    match config.method {
        MethodKind::Mocov2 | MethodKind::Disco => vec![full(moco_v2(size)); 2],
        MethodKind::Mocov3 => AugmentConfig::moco_v3(normalisation, size).map(full).into(),
        MethodKind::Simclr => vec![full(AugmentConfig::simclr(normalisation, size)); 2],
        MethodKind::Supervised | MethodKind::Compress => vec![full(AugmentConfig::crop_and_flip(normalisation))],
        MethodKind::Seed => multi_crop(1, &moco_v2),
        MethodKind::Kd => vec![full(moco_v2(size))],
        // Query and key of the image, then of the member.
        MethodKind::Bingo => [vec![full(moco_v2(size)); 2], vec![of_member(moco_v2(size)); 2]].concat(),
        MethodKind::Simdis => AugmentConfig::byol(normalisation, size).map(full).into(),
        MethodKind::Swav => multi_crop(2, &swav),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMALISATION: Normalisation = Normalisation::IMAGENET;

    /// Returns the recipes of a method with views of 224 pixels and six small crops of 96.
    fn of(method: MethodKind) -> Vec<ViewRecipe> {
        let config = Config { method, image_size: 224, small_crops: 6, small_size: 96, ..Config::mini() };
        views(&config, NORMALISATION)
    }

    fn sizes(recipes: &[ViewRecipe]) -> Vec<usize> {
        recipes.iter().map(|recipe| recipe.size).collect()
    }

    #[test]
    fn methods_take_their_number_of_views() {
        let count = |method| of(method).len();
        assert_eq!([MethodKind::Supervised, MethodKind::Kd, MethodKind::Compress].map(count), [1; 3]);
        let pairs = [MethodKind::Mocov2, MethodKind::Mocov3, MethodKind::Simclr, MethodKind::Disco, MethodKind::Simdis];
        assert_eq!(pairs.map(count), [2; 5]);
        assert_eq!([MethodKind::Bingo, MethodKind::Seed, MethodKind::Swav].map(count), [4, 7, 8]);
    }

    #[test]
    fn small_crops_follow_the_full_size_views() {
        for (method, full, jitter) in [(MethodKind::Seed, 1, 0.4), (MethodKind::Swav, 2, 0.8)] {
            let recipes = of(method);
            assert_eq!(sizes(&recipes), [vec![224; full], vec![96; 6]].concat());
            for (number, recipe) in recipes.iter().enumerate() {
                let area = if number < full { [0.14, 1.0] } else { [0.05, 0.14] };
                assert_eq!((recipe.augment.crop_area, recipe.subject), (area, Subject::Image), "{method:?}");
                assert_eq!((recipe.augment.jitter.brightness, recipe.augment.blur.is_some()), (jitter, true));
                assert_eq!(recipe.augment.check(), Ok(()));
            }
            let config = Config { method, image_size: 32, small_crops: 0, ..Config::mini() };
            let plain = views(&config, NORMALISATION);
            assert_eq!(sizes(&plain), vec![32; full]);
            assert_eq!((plain[0].augment.crop_area, plain[0].augment.blur), ([0.2, 1.0], None));
        }
    }

    #[test]
    fn small_crops_are_blurred_by_their_own_size() {
        let config =
            Config { method: MethodKind::Swav, image_size: 64, small_crops: 1, small_size: 32, ..Config::mini() };
        let blurred: Vec<bool> =
            views(&config, NORMALISATION).iter().map(|recipe| recipe.augment.blur.is_some()).collect();
        assert_eq!(blurred, [true, true, false]);
    }

    #[test]
    fn bingo_takes_the_last_two_views_of_a_bag_member() {
        let subjects: Vec<Subject> = of(MethodKind::Bingo).iter().map(|recipe| recipe.subject).collect();
        assert_eq!(subjects, [Subject::Image, Subject::Image, Subject::BagMember, Subject::BagMember]);
        let augment = AugmentConfig::moco_v2(NORMALISATION, 224);
        assert!(of(MethodKind::Bingo).iter().all(|recipe| recipe.augment == augment && recipe.size == 224));
    }

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
