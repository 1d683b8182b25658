//! An arm of an experiment, and the choice of arms on the command line.

use std::fmt::Display;

use anyhow::{Result, bail};
use clap::{ArgMatches, parser::ValueSource};
use slimclr_core::{config::Config, data::cifar10::CLASSES};

use crate::options;

/// One arm: a run in a folder of its name.
pub struct Arm {
    /// Its name.
    pub name: String,
    /// The options of its run.
    pub config: Config,
    /// Names of the arms whose networks it starts from.
    pub needs: Vec<String>,
}

impl Arm {
    /// An arm that needs no other.
    pub fn new(name: impl ToString, config: Config) -> Self {
        let config = config.for_classes(CLASSES.len()).expect("CIFAR-10 has classes");
        Self { name: name.to_string(), config, needs: Vec::new() }
    }
}

/// Returns those of `all` that have these names, in the order of `all`; all of them if there is no name.
///
/// # Errors
/// If none has one of the names.
pub fn select<T: Display>(names: &[String], mut all: Vec<T>) -> Result<Vec<T>> {
    let names: Vec<&str> = names.iter().map(|name| name.trim()).collect();
    let known: Vec<String> = all.iter().map(T::to_string).collect();
    if let Some(name) = names.iter().find(|name| !known.iter().any(|known| known == *name)) {
        bail!("there is no arm '{name}': choose from {}", known.join(", "));
    }
    all.retain(|arm| names.is_empty() || names.contains(&arm.to_string().as_str()));
    Ok(all)
}

/// Refuses options that the arms set themselves, because they would have no effect.
///
/// # Errors
/// If any was given; the error names them.
pub fn refuse_options(matches: &ArgMatches, is_set_by_arms: impl Fn(&str) -> bool) -> Result<()> {
    let is_given = |key: &String| matches.value_source(key) == Some(ValueSource::CommandLine);
    let given = options::keys()?.into_iter().filter(|key| is_set_by_arms(key)).filter(is_given);
    let given: Vec<String> = given.map(|key| format!("--{}", key.replace('_', "-"))).collect();
    if !given.is_empty() {
        bail!(
            "each arm sets {} itself: remove it and choose arms with --arms and seeds with --seeds, or train a single \
             network with slimclr pretrain",
            given.join(", ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_are_selected_by_name_in_their_order() {
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            select(&names, vec!["a", "b-1", "c"])
        };
        assert_eq!(of(&["c", " a"]).unwrap(), ["a", "c"]);
        assert_eq!(of(&[]).unwrap(), ["a", "b-1", "c"]);
        assert_eq!(of(&["a", "b-2"]).unwrap_err().to_string(), "there is no arm 'b-2': choose from a, b-1, c");
    }
}
