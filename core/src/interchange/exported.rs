//! What the files of an exported network say of it, beside its tensors.

use std::collections::HashMap;

use safetensors::SafeTensors;
use serde::de::DeserializeOwned;

use crate::{
    augment::{Normalisation, evaluation_resize},
    config::Config,
    encoder::BackboneKind,
};

const WIDTH: &str = "width";
const BACKBONE: &str = "backbone";
const DEPTH: &str = "depth";
const RESIZE: &str = "resize";
const CROP: &str = "crop";
const MEAN: &str = "mean";
const STD: &str = "std";
const CLASSES: &str = "classes";

/// One exported width: what its tensors do not show, and how its images are prepared. It is the metadata of the ONNX and
/// of the safetensors file.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// The width.
    pub width: f64,
    /// The kind of backbone.
    pub backbone: BackboneKind,
    /// Its depth in layers, if it comes in several depths.
    pub depth: Option<usize>,
    /// Side of the images, in pixels.
    pub image_size: usize,
    /// The images' normalisation.
    pub normalisation: Normalisation,
    /// Names of the classes, in the order of the logits; empty without a classifier, or if they are not known.
    pub classes: Vec<String>,
}

impl Exported {
    /// Returns it as pairs of key and JSON.
    ///
    /// # Errors
    /// If a number cannot be written as JSON.
    pub fn properties(&self) -> serde_json::Result<Vec<(&'static str, String)>> {
        let Normalisation { mean, std } = &self.normalisation;
        let mut properties = vec![
            (WIDTH, serde_json::to_string(&self.width)?),
            (BACKBONE, serde_json::to_string(&self.backbone)?),
            (RESIZE, serde_json::to_string(&evaluation_resize(self.image_size as u64))?),
            (CROP, serde_json::to_string(&self.image_size)?),
            (MEAN, serde_json::to_string(mean)?),
            (STD, serde_json::to_string(std)?),
        ];
        if let Some(depth) = &self.depth {
            properties.push((DEPTH, serde_json::to_string(depth)?));
        }
        if !self.classes.is_empty() {
            properties.push((CLASSES, serde_json::to_string(&self.classes)?));
        }
        Ok(properties)
    }

    /// Reads the metadata of a safetensors file. `None` if it is not this program's, as in files of others.
    pub(super) fn of(file: &[u8]) -> Option<Self> {
        let (_, header) = SafeTensors::read_metadata(file).ok()?;
        let metadata = header.metadata().as_ref()?;
        let exported = Self {
            width: value(metadata, WIDTH)?,
            backbone: value(metadata, BACKBONE)?,
            depth: value(metadata, DEPTH),
            image_size: value(metadata, CROP)?,
            normalisation: Normalisation { mean: value(metadata, MEAN)?, std: value(metadata, STD)? },
            classes: value(metadata, CLASSES).unwrap_or_default(),
        };
        exported.is_possible().then_some(exported)
    }

    /// Returns whether a network may have these numbers; others would exhaust memory.
    fn is_possible(&self) -> bool {
        let preset = Config::default();
        let config = Config { depth: self.depth.unwrap_or(preset.depth), image_size: self.image_size, ..preset };
        let Normalisation { mean, std } = &self.normalisation;
        config.check_values().is_ok() && mean.iter().all(|mean| mean.is_finite()) && std.iter().all(|std| *std > 0.0)
    }
}

fn value<T: DeserializeOwned>(metadata: &HashMap<String, String>, key: &str) -> Option<T> {
    serde_json::from_str(metadata.get(key)?).ok()
}
