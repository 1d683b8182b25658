//! Normalisation of images.

use serde::{Deserialize, Serialize};
use slimclr_network::encoder::BackboneKind;

/// Mean and standard deviation that a data set's channels are normalised with, in units of full intensity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    /// Mean of red, green and blue.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue.
    pub std: [f32; 3],
}

impl Normalisation {
    /// Statistics of the ImageNet training set, as torchvision's models use them.
    pub const IMAGENET: Self = Self { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

    /// Statistics of the CIFAR-10 training set, as MoCo's CIFAR recipe uses them.
    pub const CIFAR10: Self = Self { mean: [0.4914, 0.4822, 0.4465], std: [0.2023, 0.1994, 0.2010] };

    /// Returns the statistics of the data set that a backbone is made for.
    pub fn of(backbone: BackboneKind) -> Self {
        if backbone.is_for_small_images() { Self::CIFAR10 } else { Self::IMAGENET }
    }
}
