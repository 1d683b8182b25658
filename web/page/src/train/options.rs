//! The options of a run, as the page's controls and address set them.

use serde_json::{Map, Number, Value};
use slimclr_protocol::DeviceChoice;
use slimclr_run::{
    config::{Config, ConfigError, Recipe},
    event::Event,
    method::MethodKind,
};
use wasm_bindgen::JsValue;

use crate::{address, data};

/// The key of the device; all other keys are fields of [`Config`].
pub const DEVICE: &str = "device";
/// The key of the method, which determines the defaults of the others.
pub const METHOD: &str = "method";

/// The options of the techniques against interference, and their values without any.
pub const TECHNIQUES: [(&str, &str); 4] =
    [("slow_start", "0"), ("distill", "none"), ("reweighting", "0"), ("surgery", "none")];

/// Images of a step, unless the user chooses others.
const BATCH: usize = 32;

/// The options that a run starts with.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The configuration.
    pub config: Config,
    /// The device.
    pub device: DeviceChoice,
}

/// An invalid option.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The option's key.
    pub key: &'static str,
    /// Why it is invalid, for the user.
    pub message: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { config: defaults(MethodKind::Simclr), device: DeviceChoice::Auto }
    }
}

/// Returns the defaults for a method, with a network that trains fast enough to watch.
///
/// The page starts with SimCLR: it has no queue, which raises MoCo's loss while it fills, and among the methods without
/// labels it learns most in the first minute. Learning rate and queue are smaller than the preset's because the batch
/// is: at 0.06, and with a third of all images in the queue, MoCo's loss rises again.
fn defaults(method: MethodKind) -> Config {
    let mini = Config::mini();
    let base = match method {
        MethodKind::Mocov2 | MethodKind::Simclr => Config { method, learning_rate: 0.02, ..mini.clone() },
        MethodKind::Supervised => mini.clone().with_supervised(),
        // LARS's steps are proportional to the weights. So few steps need a higher rate than the preset's.
        MethodKind::Mocov3 => Config { learning_rate: 1.2, knn: mini.knn, ..Config::cifar10_mocov3() },
        // BYOL, but slimmable; the rate as MoCo v3's.
        MethodKind::Simdis => Config {
            widths: mini.widths.clone(),
            slow_start: mini.slow_start,
            reweighting: mini.reweighting,
            learning_rate: 1.2,
            ..mini.clone().with_recipe(Recipe::Byol)
        },
        // SEED and DisCo, but slimmable; the rates are higher as the steps are few.
        MethodKind::Seed => student(mini.clone(), Recipe::Seed, 0.06),
        MethodKind::Disco => student(mini.clone(), Recipe::Disco, 0.02),
        // Not offered: SwAV learns little in so few steps, and the others teach as SEED and DisCo do.
        MethodKind::Kd | MethodKind::Bingo | MethodKind::Compress | MethodKind::Swav => {
            Config { method, ..mini.clone() }
        }
    };
    // Half as wide as the page's trained network, on images of the size that it was trained on.
    let is_student = base.needs_teacher();
    Config {
        depth: mini.depth,
        multiplier: if is_student { 0.5 } else { 1.0 },
        image_size: if is_student { 32 } else { mini.image_size },
        // The paper's hidden layers would have most of this network's parameters.
        hidden: 256,
        batch: BATCH,
        queue: 256,
        epochs: 10.0,
        evaluate_every: 1.0,
        // Enough to show a trend without delaying training much.
        knn_images: 1000,
        // Often, so that little is lost if the worker crashes.
        checkpoint_every: 0.25,
        interference: true,
        ..base
    }
}

/// Returns the recipe of a method whose teacher is the page's trained network.
fn student(mini: Config, recipe: Recipe, learning_rate: f64) -> Config {
    let widths = mini.widths.clone();
    let config = Config { batch: BATCH, ..mini }.with_recipe(recipe);
    Config { widths, teacher: data::NETWORK.into(), learning_rate, ..config }
}

impl Options {
    /// Returns the defaults for a method, with the same network, batch, queue, epochs and seed. Only the student of a
    /// teacher is smaller.
    pub fn with_method(&self, method: MethodKind) -> Self {
        let Config { depth, batch, queue, epochs, seed, .. } = self.config;
        let (widths, defaults) = (self.config.widths.clone(), defaults(method));
        let is_same_network = self.config.needs_teacher() == defaults.needs_teacher();
        let multiplier = if is_same_network { self.config.multiplier } else { defaults.multiplier };
        let config = Config { depth, multiplier, batch, queue, epochs, seed, widths, ..defaults };
        Self { config, device: self.device }
    }

    /// Returns whether nothing is done against interference.
    pub fn has_no_technique(&self) -> bool {
        TECHNIQUES.iter().all(|(key, off)| self.get(key) == *off)
    }

    /// Returns the same options without the techniques against interference or, if there are none, with those of the
    /// method's defaults.
    pub fn toggle_techniques(&self) -> Self {
        let (has_none, defaults) = (self.has_no_technique(), self.with_method(self.config.method));
        let mut toggled = self.clone();
        for (key, off) in TECHNIQUES {
            let value = if has_none { defaults.get(key) } else { off.to_owned() };
            // Both are valid values of the option.
            let _ = toggled.set(key, &value);
        }
        toggled
    }

    /// Returns an option as text; empty if the key is unknown.
    pub fn get(&self, key: &str) -> String {
        match self.value(key) {
            Some(Value::Array(items)) => items.iter().map(to_text).collect::<Vec<_>>().join(","),
            Some(value) => to_text(&value),
            None => String::new(),
        }
    }

    /// Sets an option, and those that depend on it.
    ///
    /// # Errors
    /// If the text is not a value of the option; then nothing changes.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), String> {
        let text = text.trim();
        let before = self.value(key).ok_or_else(|| format!("Unknown option {key}."))?;
        let number = |text: &str| number(text).ok_or_else(|| format!("{text:?} is not a number."));
        let value = match before {
            Value::Number(_) if text.is_empty() => return Err("Enter a number.".into()),
            Value::Number(_) => number(text)?,
            Value::Bool(_) => Value::Bool(text == "true"),
            Value::Array(_) => Value::Array(text.split(',').map(number).collect::<Result<_, _>>()?),
            _ => Value::String(text.to_owned()),
        };
        if key == DEVICE {
            self.device = serde_json::from_value(value).map_err(|_| format!("Unknown device {text:?}."))?;
            return Ok(());
        }
        let mut all = self.values();
        all.insert(key.to_owned(), value);
        let config = read_config(all).ok_or_else(|| match before {
            Value::Number(_) => "Enter a whole number, 0 or more.".to_owned(),
            _ => format!("{text:?} is not a valid value."),
        })?;
        *self = if config.method == self.config.method {
            Self { config, device: self.device }
        } else {
            self.with_method(config.method)
        };
        if key == "batch" && self.config.batch > 0 {
            // Each step replaces one batch of the queue, so its length must be a multiple of the batch.
            let keys = defaults(MethodKind::Mocov2).queue;
            self.config.queue = self.config.batch * (keys / self.config.batch).max(1);
        }
        Ok(())
    }

    /// Returns the options that differ from `base`, in an order from which [`Options::read`] restores them.
    pub fn differences(&self, base: &Self) -> address::Options {
        let mut base = base.clone();
        let all = self.values();
        // Method and batch come first: options that follow from them are then no differences.
        let first = [METHOD, "batch", DEVICE].into_iter();
        let keys = first.chain(all.keys().map(String::as_str).filter(|key| ![METHOD, "batch", DEVICE].contains(key)));
        let mut differences = address::Options::new();
        for key in keys {
            let value = self.get(key);
            if value != base.get(key) && base.set(key, &value).is_ok() {
                differences.push((key.to_owned(), value));
            }
        }
        differences
    }

    /// Returns `base` with the options that an address names. Invalid ones are ignored.
    pub fn read(base: &Self, named: &address::Options) -> Self {
        let mut options = base.clone();
        for (key, value) in named {
            let _ = options.set(key, value);
        }
        options
    }

    /// Returns the first invalid option. The worker checks those that depend on the images, and the network: the code that
    /// builds networks is not part of the page.
    pub fn problem(&self) -> Option<Problem> {
        self.config.check_values().err().map(|error| Problem { key: key_of(&error), message: format!("{error}.") })
    }

    fn value(&self, key: &str) -> Option<Value> {
        match key {
            DEVICE => serde_json::to_value(self.device).ok(),
            key => self.values().remove(key),
        }
    }

    fn values(&self) -> Map<String, Value> {
        // As text in between, because the code to write JSON values would be another 5 kB.
        let json = serde_json::to_string(&self.config).unwrap_or_default();
        serde_json::from_str(&json).unwrap_or_default()
    }
}

/// Returns the key of the control that shows an error.
pub fn key_of(error: &ConfigError) -> &'static str {
    match error {
        ConfigError::Range { key, .. } => key,
        ConfigError::Width(_) => "widths",
        ConfigError::Build(_) => "depth",
        ConfigError::Parts { .. }
        | ConfigError::Queue { .. }
        | ConfigError::Ranks { .. }
        | ConfigError::Splits { .. }
        | ConfigError::Batch { .. } => "batch",
        ConfigError::Fixed
        | ConfigError::NoLabels(_)
        | ConfigError::NoTeacher
        | ConfigError::UnusedTeacher
        | ConfigError::UnusedCache
        | ConfigError::NoTargets
        | ConfigError::OnlineTeacherInF16 => METHOD,
        ConfigError::NoPositives => "distill",
    }
}

/// Reads a configuration as part of an event, because the code to read one of JSON values would be another 20 kB.
fn read_config(values: Map<String, Value>) -> Option<Config> {
    let event = format!(r#"{{"event":"changed","step":0,"config":{}}}"#, Value::Object(values));
    match serde_json::from_str(&event) {
        Ok(Event::Changed { config, .. }) => Some(*config),
        _ => None,
    }
}

fn number(text: &str) -> Option<Value> {
    let text = text.trim();
    let number = match text.parse::<u64>() {
        Ok(whole) => Number::from(whole),
        Err(_) if text.is_empty() => return None,
        // By the browser, because Rust's tables for it are large.
        Err(_) => Number::from_f64(JsValue::from_str(text).unchecked_into_f64())?,
    };
    Some(Value::Number(number))
}

fn to_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // Writes 1.0 as 1.
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map(|number| number.to_string()).unwrap_or_default()
        }
        value => value.to_string(),
    }
}
