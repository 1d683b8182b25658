//! The options of a run, as the page sets them and as they stand in its address.

use serde_json::{Map, Number, Value};
use slimclr_protocol::Choice;
use slimclr_run::{config::Config, config::ConfigError, method::MethodKind};

use crate::address;

/// The device's key; all others are those of [`Config`].
pub const DEVICE: &str = "device";
/// The method's key: its recipe decides what the others are at first.
pub const METHOD: &str = "method";

/// What a run is begun with.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// What to train, and how.
    pub config: Config,
    /// Where.
    pub device: Choice,
}

/// An option that cannot be as it is, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Its key.
    pub key: &'static str,
    /// A sentence.
    pub message: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { config: recipe(MethodKind::Simclr), device: Choice::Auto }
    }
}

/// What goes with a method, in a network small enough to be watched.
///
/// A run begins with SimCLR: it has no queue whose first filling would raise the loss, and of the methods without labels it
/// learns most in the first minute. The rate and the queue are lower than the preset's, as the batch is: at 0.06, and with a
/// third of all images in the queue, MoCo's loss rises again.
fn recipe(method: MethodKind) -> Config {
    let mini = Config::mini();
    let recipe = match method {
        MethodKind::Mocov2 | MethodKind::Simclr => Config { method, learning_rate: 0.02, ..mini.clone() },
        MethodKind::Supervised => mini.clone().with_supervised(),
        // LARS takes steps in proportion to the weights: in as few as these, a higher rate than the preset's.
        MethodKind::Mocov3 => Config { learning_rate: 1.2, knn: mini.knn, ..Config::cifar10_mocov3() },
    };
    Config {
        depth: mini.depth,
        multiplier: 1.0,
        image_size: mini.image_size,
        // The paper's hidden layers would be most of this network.
        hidden: 256,
        batch: 32,
        queue: 256,
        epochs: 10.0,
        evaluate_every: 1.0,
        // What a worker that dies takes with it is little.
        checkpoint_every: 0.25,
        interference: true,
        ..recipe
    }
}

impl Options {
    /// What goes with another method, for the same network, batch and length.
    pub fn with_method(&self, method: MethodKind) -> Self {
        let Config { depth, multiplier, batch, queue, epochs, seed, .. } = self.config;
        let widths = self.config.widths.clone();
        let config = Config { depth, multiplier, batch, queue, epochs, seed, widths, ..recipe(method) };
        Self { config, device: self.device }
    }

    /// An option as text; empty if there is no such one.
    pub fn get(&self, key: &str) -> String {
        match self.plain(key) {
            Some(Value::Array(items)) => items.iter().map(in_words).collect::<Vec<_>>().join(","),
            Some(value) => in_words(&value),
            None => String::new(),
        }
    }

    /// Sets an option, and those that follow from it.
    ///
    /// # Errors
    /// If the text says nothing that the option could be; then all is as before.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), String> {
        let text = text.trim();
        let before = self.plain(key).ok_or_else(|| format!("There is no option {key}."))?;
        let number = |text: &str| number(text).ok_or_else(|| format!("{text:?} is not a number."));
        let value = match before {
            Value::Number(_) if text.is_empty() => return Err("A number is missing.".into()),
            Value::Number(_) => number(text)?,
            Value::Bool(_) => Value::Bool(text == "true"),
            Value::Array(_) => Value::Array(text.split(',').map(number).collect::<Result<_, _>>()?),
            _ => Value::String(text.to_owned()),
        };
        if key == DEVICE {
            self.device = serde_json::from_value(value).map_err(|_| format!("There is no device {text:?}."))?;
            return Ok(());
        }
        let mut all = self.all();
        all.insert(key.to_owned(), value);
        let config: Config = serde_json::from_value(Value::Object(all)).map_err(|_| match before {
            Value::Number(_) => "A whole number, 0 or more, is needed.".to_owned(),
            _ => format!("{text:?} is not possible here."),
        })?;
        *self = if config.method == self.config.method {
            Self { config, device: self.device }
        } else {
            self.with_method(config.method)
        };
        if key == "batch" && self.config.batch > 0 {
            // The queue is replaced batch by batch.
            let keys = recipe(MethodKind::Mocov2).queue;
            self.config.queue = self.config.batch * (keys / self.config.batch).max(1);
        }
        Ok(())
    }

    /// The options in which it differs from `base`, in an order in which [`Options::read`] comes to the same.
    pub fn differences(&self, base: &Self) -> address::Options {
        let mut base = base.clone();
        let all = self.all();
        // What follows from the method and the batch is then no difference any more.
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

    /// `base` with the options that an address names; whatever makes no sense there is passed over.
    pub fn read(base: &Self, named: &address::Options) -> Self {
        let mut options = base.clone();
        for (key, value) in named {
            let _ = options.set(key, value);
        }
        options
    }

    /// What no run can have, as far as can be told without images.
    pub fn problem(&self) -> Option<Problem> {
        self.config.check().err().map(|error| Problem { key: key(&error), message: format!("{error}.") })
    }

    fn plain(&self, key: &str) -> Option<Value> {
        match key {
            DEVICE => serde_json::to_value(self.device).ok(),
            key => self.all().remove(key),
        }
    }

    fn all(&self) -> Map<String, Value> {
        match serde_json::to_value(&self.config) {
            Ok(Value::Object(all)) => all,
            _ => Map::new(),
        }
    }
}

/// The control at which an error is to be told.
pub fn key(error: &ConfigError) -> &'static str {
    match error {
        ConfigError::Range { key, .. } => key,
        ConfigError::Width(_) => "widths",
        ConfigError::Build(_) => "depth",
        ConfigError::Parts { .. }
        | ConfigError::Queue { .. }
        | ConfigError::Splits { .. }
        | ConfigError::Batch { .. } => "batch",
        ConfigError::Fixed => METHOD,
    }
}

fn number(text: &str) -> Option<Value> {
    let text = text.trim();
    let number = match text.parse::<u64>() {
        Ok(whole) => Number::from(whole),
        Err(_) => Number::from_f64(text.parse().ok()?)?,
    };
    Some(Value::Number(number))
}

fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // A whole number without a point, whatever its type.
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map(|number| number.to_string()).unwrap_or_default()
        }
        value => value.to_string(),
    }
}
