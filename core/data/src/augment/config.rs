//! Options of random views, with the recipes of the papers.

use serde::{Deserialize, Serialize};
use slimclr_run::normalisation::Normalisation;

use super::AugmentError;

/// Strengths of the colour jitter, as in torchvision's `ColorJitter`.
///
/// Strength `x` of brightness, contrast and saturation draws a factor from `[max(0, 1 - x), 1 + x]`; that of hue draws
/// a rotation from `[-x, x]` turns. The four are applied in a random order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Jitter {
    /// Strength of brightness, at least 0.
    pub brightness: f32,
    /// Strength of contrast, at least 0.
    pub contrast: f32,
    /// Strength of saturation, at least 0.
    pub saturation: f32,
    /// Strength of hue, 0 to 0.5 turns.
    pub hue: f32,
    /// Probability that a view is jittered at all.
    pub probability: f32,
}

/// A Gaussian blur of random width.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Blur {
    /// Least and greatest standard deviation, in pixels of the view; drawn uniformly.
    pub sigma: [f32; 2],
    /// Probability that a view is blurred.
    pub probability: f32,
}

/// Options of a random view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AugmentConfig {
    /// Least and greatest area of the crop, as a fraction of the image's; drawn uniformly.
    pub crop_area: [f32; 2],
    /// Colour jitter.
    pub jitter: Jitter,
    /// Probability that a view loses its colour.
    pub grey_probability: f32,
    /// Gaussian blur, if there is one.
    pub blur: Option<Blur>,
    /// Probability that the bright half of a view's intensities is inverted.
    pub solarise_probability: f32,
    /// Probability that a view is mirrored horizontally.
    pub flip_probability: f32,
    /// Normalisation of the finished view.
    pub normalisation: Normalisation,
}

/// Largest view side that is not blurred: CIFAR's. A blur of up to 2 pixels would remove most detail, and the CIFAR
/// recipes of MoCo and SimCLR (appendix B.9) have none.
const LARGEST_UNBLURRED: usize = 32;

impl AugmentConfig {
    /// Returns the options of both views of MoCo v2 (Chen et al. 2020, "Improved baselines with momentum contrastive
    /// learning"; `--aug-plus` in its reference code), `image_size` pixels wide. Views up to 32 pixels are not blurred.
    pub fn moco_v2(normalisation: Normalisation, image_size: usize) -> Self {
        Self {
            crop_area: [0.2, 1.0],
            jitter: Jitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1, probability: 0.8 },
            grey_probability: 0.2,
            blur: blur(image_size, 0.5),
            solarise_probability: 0.0,
            flip_probability: 0.5,
            normalisation,
        }
    }

    /// Returns the options of the first and second view of MoCo v3 (Chen, Xie & He 2021; the asymmetric pair of BYOL,
    /// appendix B, with the crops of MoCo v3's ResNet-50 recipe), `image_size` pixels wide. Views up to 32 pixels are
    /// not blurred.
    pub fn moco_v3(normalisation: Normalisation, image_size: usize) -> [Self; 2] {
        let mut first = Self::moco_v2(normalisation, image_size);
        first.jitter.saturation = 0.2;
        first.blur = blur(image_size, 1.0);
        let second = Self { blur: blur(image_size, 0.1), solarise_probability: 0.2, ..first.clone() };
        [first, second]
    }

    /// Returns the options of both views of SimCLR (Chen et al. 2020, appendix A, at colour strength 1), `image_size`
    /// pixels wide. Views up to 32 pixels are not blurred.
    pub fn simclr(normalisation: Normalisation, image_size: usize) -> Self {
        Self {
            crop_area: [0.08, 1.0],
            jitter: Jitter { brightness: 0.8, contrast: 0.8, saturation: 0.8, hue: 0.2, probability: 0.8 },
            ..Self::moco_v2(normalisation, image_size)
        }
    }

    /// Returns the options of the first and second view of BYOL (Grill et al. 2020, appendix B) and SimDis, `image_size`
    /// pixels wide. Views up to 32 pixels are not blurred.
    pub fn byol(normalisation: Normalisation, image_size: usize) -> [Self; 2] {
        Self::moco_v3(normalisation, image_size).map(|view| Self { crop_area: [0.08, 1.0], ..view })
    }

    /// Returns the options of both full-size views of SwAV (Caron et al. 2020) without small crops: SimCLR's colours and
    /// MoCo v2's crops, `image_size` pixels wide. Views up to 32 pixels are not blurred.
    pub fn swav(normalisation: Normalisation, image_size: usize) -> Self {
        Self { crop_area: [0.2, 1.0], ..Self::simclr(normalisation, image_size) }
    }

    /// Returns the options of the view of supervised training (He et al. 2016; Szegedy et al. 2015) and of CompRess
    /// (Koohpayegani et al. 2020).
    pub fn crop_and_flip(normalisation: Normalisation) -> Self {
        Self {
            crop_area: [0.08, 1.0],
            jitter: Jitter { brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.0, probability: 0.0 },
            grey_probability: 0.0,
            blur: None,
            solarise_probability: 0.0,
            flip_probability: 0.5,
            normalisation,
        }
    }

    /// Returns the same options with the colour changes by which Shi et al. 2022 ("On the efficacy of small
    /// self-supervised contrastive models without distillation signals") train small networks.
    pub fn with_strong_colours(mut self) -> Self {
        self.jitter = Jitter { brightness: 0.8, contrast: 0.8, saturation: 0.8, hue: 0.4, ..self.jitter };
        Self { grey_probability: 0.5, ..self }
    }

    /// Checks that every value is in its domain; [`Augmenter::view`](super::Augmenter::view) does so too.
    ///
    /// # Errors
    /// [`AugmentError::Config`] names the first value that does not.
    pub fn check(&self) -> Result<(), AugmentError> {
        let within = |field, value: f32, domain, low: f32, high: f32| {
            // Written so that NaN is outside of every domain.
            if value >= low && value <= high { Ok(()) } else { Err(AugmentError::Config { field, domain, value }) }
        };
        let probability = |field, value| within(field, value, "from 0 to 1", 0.0, 1.0);
        let strength = |field, value| within(field, value, "finite and at least 0", 0.0, f32::MAX);
        let positive = |field, value| within(field, value, "finite and above 0", f32::MIN_POSITIVE, f32::MAX);

        let [least, greatest] = self.crop_area;
        within("crop_area[1]", greatest, "above 0, up to 1", 1e-6, 1.0)?;
        within("crop_area[0]", least, "above 0, up to crop_area[1]", 1e-6, greatest)?;
        strength("jitter.brightness", self.jitter.brightness)?;
        strength("jitter.contrast", self.jitter.contrast)?;
        strength("jitter.saturation", self.jitter.saturation)?;
        within("jitter.hue", self.jitter.hue, "from 0 to 0.5", 0.0, 0.5)?;
        probability("jitter.probability", self.jitter.probability)?;
        probability("grey_probability", self.grey_probability)?;
        if let Some(blur) = &self.blur {
            let [least, greatest] = blur.sigma;
            positive("blur.sigma[1]", greatest)?;
            within("blur.sigma[0]", least, "above 0, up to blur.sigma[1]", f32::MIN_POSITIVE, greatest)?;
            probability("blur.probability", blur.probability)?;
        }
        probability("solarise_probability", self.solarise_probability)?;
        probability("flip_probability", self.flip_probability)?;
        for std in self.normalisation.std {
            positive("normalisation.std", std)?;
        }
        for mean in self.normalisation.mean {
            within("normalisation.mean", mean, "finite", -f32::MAX, f32::MAX)?;
        }
        Ok(())
    }
}

/// Returns the blur that all three recipes share, except for its probability (SimCLR, appendix A).
fn blur(image_size: usize, probability: f32) -> Option<Blur> {
    (image_size > LARGEST_UNBLURRED).then_some(Blur { sigma: [0.1, 2.0], probability })
}
