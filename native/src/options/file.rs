//! Options in a TOML file, with errors in plain words.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use clap::Args;
use slimclr_core::config::Config;
use toml::{Table, Value};

/// How alike an unknown key and an option must be for the option to be suggested (Jaro similarity).
const ALIKE: f64 = 0.75;

/// Reads the options in the file at `path`, which need not be all.
///
/// # Errors
/// If the file cannot be read or is not TOML, there is no such option, or a value has the wrong type.
pub fn read(path: &Path) -> Result<Table> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let table: Table = text.parse().with_context(|| format!("{} is not valid TOML", path.display()))?;
    let known = Table::try_from(Config::default())?;
    for (key, value) in &table {
        let Some(example) = known.get(key) else {
            bail!("{}: {}", path.display(), unknown(key, value, &known));
        };
        let options = Table::from_iter([(key.clone(), value.clone())]);
        if let Err(error) = options.try_into::<Config>() {
            match expected(key, value, example) {
                Some(expected) => bail!("{}: {key} = {value}, but it must be {expected}", path.display()),
                None => bail!("{}: {key} = {value}: {}", path.display(), error.message()),
            }
        }
    }
    Ok(table)
}

/// Says that there is no such option, and which was probably meant.
fn unknown(key: &str, value: &Value, known: &Table) -> String {
    if value.is_table() {
        return format!("there is no group of options '{key}'; write all options without a [heading]");
    }
    // Flags have hyphens.
    let similarity = |option: &str| strsim::jaro(&key.to_lowercase().replace('-', "_"), option);
    let nearest = known.keys().map(|option| (similarity(option), option)).max_by(|(a, _), (b, _)| a.total_cmp(b));
    match nearest.filter(|(similarity, _)| *similarity > ALIKE) {
        Some((_, option)) => format!("there is no option '{key}': did you mean {option}?"),
        None => {
            let all: Vec<&str> = known.keys().map(String::as_str).collect();
            format!("there is no option '{key}'; choose from {}", all.join(", "))
        }
    }
}

/// Says what the value of an option must be, if `value` is not of that kind. `example` is such a value.
fn expected(key: &str, value: &Value, example: &Value) -> Option<String> {
    let names = possible_values(key);
    if !names.is_empty() {
        let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        return Some(format!("one of {}", quoted.join(", ")));
    }
    match (example, value) {
        (Value::Integer(_), Value::Integer(number)) if *number < 0 => Some("0 or more".into()),
        (Value::Integer(_), Value::Integer(_)) => None,
        (Value::Integer(_), _) => Some(format!("a whole number, such as {example}")),
        (Value::Float(_), _) => Some(format!("a number, such as {example}")),
        (Value::Boolean(_), _) => Some("true or false, without quotes".into()),
        (Value::Array(_), _) => Some(format!("a list of numbers, such as {example}")),
        (Value::String(_), _) => Some("text in quotes".into()),
        (Value::Table(_) | Value::Datetime(_), _) => None,
    }
}

/// Returns the names that an option takes, as in a TOML file; none if it takes any value of its type.
fn possible_values(key: &str) -> Vec<String> {
    let command = Config::augment_args(clap::Command::new("options"));
    let option = command.get_arguments().find(|option| option.get_id() == key);
    let values = option.map(clap::Arg::get_possible_values).unwrap_or_default();
    // Those of a flag are true and false, which are no text in TOML.
    let names = values.into_iter().map(|value| value.get_name().replace('-', "_"));
    names.filter(|name| name != "true" && name != "false").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        fs::write(&path, text).unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        error.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&error).to_owned()
    }

    #[test]
    fn unknown_options_are_compared_with_the_known_ones() {
        for (text, meant) in [
            ("learning-rate = 0.1", "learning_rate"),
            ("learning_rates = 0.1", "learning_rate"),
            ("Epochs = 5", "epochs"),
            ("batchsize = 3", "batch"),
            ("batch_size = 3", "batch"),
            ("width = [1.0]", "widths"),
            ("temprature = 0.1", "temperature"),
        ] {
            let key = text.split(' ').next().unwrap();
            assert_eq!(refused(text), format!("there is no option '{key}': did you mean {meant}?"));
        }
        let error = refused("wheels = 4");
        assert!(
            error.starts_with(
                "there is no option 'wheels'; choose from accumulate, backbone, backbone_rate, bag, batch, "
            ),
            "{error}"
        );
        let error = refused("[train]\nepochs = 5");
        assert_eq!(error, "there is no group of options 'train'; write all options without a [heading]");
    }

    #[test]
    fn values_of_the_wrong_type_are_named_with_the_right_one() {
        for (text, expected) in [
            ("batch = \"many\"", "batch = \"many\", but it must be a whole number, such as 256"),
            ("batch = 64.0", "batch = 64.0, but it must be a whole number, such as 256"),
            ("batch = -1", "batch = -1, but it must be 0 or more"),
            ("seed = -1", "seed = -1, but it must be 0 or more"),
            ("epochs = \"5\"", "epochs = \"5\", but it must be a number, such as 200.0"),
            ("interference = \"true\"", "interference = \"true\", but it must be true or false, without quotes"),
            ("disjoint = 1", "disjoint = 1, but it must be true or false, without quotes"),
            ("widths = 0.5", "widths = 0.5, but it must be a list of numbers, such as [1.0, 0.75, 0.5, 0.25]"),
            (
                "widths = [\"1.0\"]",
                "widths = [\"1.0\"], but it must be a list of numbers, such as [1.0, 0.75, 0.5, 0.25]",
            ),
            ("data = 5", "data = 5, but it must be text in quotes"),
            (
                "optimizer = \"adam\"",
                "optimizer = \"adam\", but it must be one of \"sgd\", \"lars\", \"larc\", \"simdis_lars\"",
            ),
            (
                "method = 3",
                "method = 3, but it must be one of \"mocov2\", \"mocov3\", \"simclr\", \"supervised\", \"seed\", \"kd\", \
                 \"disco\", \"bingo\", \"compress\", \"simdis\", \"swav\"",
            ),
            ("reweighting = 4", "reweighting = 4: there is no loss reweighting 4: choose from 0, 1, 2, 3, 5, 6, 7"),
        ] {
            assert_eq!(refused(text), expected);
        }
        assert!(refused("epochs = ").contains("is not valid TOML"));
    }

    #[test]
    fn every_named_value_is_spelled_as_it_is_read() {
        let options = Table::try_from(Config::default()).unwrap();
        let mut named = 0;
        for key in options.keys() {
            for name in possible_values(key) {
                let name = Value::String(name);
                let value = if options[key].is_array() { Value::Array(vec![name.clone()]) } else { name.clone() };
                let option = Table::from_iter([(key.clone(), value)]);
                assert!(option.try_into::<Config>().is_ok(), "{key} = {name}");
                named += 1;
            }
        }
        assert!(named > 20, "{named}");
    }
}
