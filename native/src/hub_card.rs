//! The card of exported networks for Hugging Face's hub: a `README.md` whose first lines are metadata in YAML.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    files::{read_optional, write_atomically},
    terminal::count,
};

const README: &str = "README.md";
/// A line by which a card of this program is known.
const MARK: &str = "<!-- Written by `slimclr export` from the JSON cards in this folder. -->";

/// Checks that there is no other `README.md` in `folder`, unless it is to be overwritten.
///
/// # Errors
/// If there is one.
pub fn check_replaceable(folder: &Path, force: bool) -> Result<()> {
    let path = folder.join(README);
    let text = if path.is_file() { read_optional(&path)? } else { None };
    let other = text.filter(|text| !String::from_utf8_lossy(text).contains(MARK));
    if other.is_some() && !force {
        bail!(
            "{} is not a card of this program: overwrite it with --force, or choose another folder with --out",
            path.display()
        );
    }
    Ok(())
}

/// Writes the card of all exports in `folder`. Returns its path.
///
/// # Errors
/// If a JSON card cannot be read, or the file cannot be written.
pub fn write(folder: &Path) -> Result<PathBuf> {
    let path = folder.join(README);
    write_atomically(&path, text(&cards(folder)?).as_bytes())?;
    Ok(path)
}

/// Reads the model cards in `folder`, the widest network of each name first.
fn cards(folder: &Path) -> Result<Vec<Value>> {
    let unreadable = || format!("cannot read the folder {}", folder.display());
    let mut cards = Vec::new();
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let card: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            if card["program"].as_str().is_some_and(|program| program.starts_with("slimclr ")) {
                cards.push(card);
            }
        }
    }
    cards.sort_by(|a, b| {
        let width = |card: &Value| card["width"].as_f64().unwrap_or_default();
        architecture(a).cmp(architecture(b)).then(width(b).total_cmp(&width(a)))
    });
    Ok(cards)
}

/// Returns the part of a card's name before the width: `cifar-resnet20`.
fn architecture(card: &Value) -> &str {
    let name = card["name"].as_str().unwrap_or_default();
    name.rsplit_once("-w").map_or(name, |(architecture, _)| architecture)
}

fn text(cards: &[Value]) -> String {
    let title = cards.first().map(architecture).unwrap_or_default();
    let rows: String = cards.iter().map(row).collect();
    let int8: String = cards.iter().filter_map(int8_row).collect();
    let int8 = match int8.is_empty() {
        true => String::new(),
        false => format!(
            "\nNetworks in int8 (`-int8.onnx`), measured on the same images as those in f32:\n\n| width | kNN in int8 | \
             kNN in f32 | cosine with f32's features |\n|---|---|---|---|\n{int8}"
        ),
    };
    let loading = cards.first().map(|card| &card["loading"]);
    let lines = |part: &str| {
        let lines = loading.and_then(|loading| loading[part].as_array()).into_iter().flatten();
        lines.filter_map(Value::as_str).map(|line| format!("{line}\n")).collect::<String>()
    };
    format!(
        "{metadata}\n{MARK}\n\n# {title}\n\nImage encoders, exported by slimclr. Those below width 1 are slices of the full \
         network. The JSON file of each has its training options, evaluation and checksums.\n\n\
         | width | parameters | MACs | features | kNN | linear probe | files |\n|---|---|---|---|---|---|---|\n{rows}{int8}\n\
         ## Use\n\n```python\n{preprocessing}{onnxruntime}```\n",
        metadata = metadata(cards, title),
        preprocessing = lines("preprocessing"),
        onnxruntime = lines("onnxruntime"),
    )
}

/// Returns the row of a network in the table.
fn row(card: &Value) -> String {
    let evaluation = |key: &str| percentage(&card["evaluation"][key]);
    let number = |key: &str| count(card[key].as_u64().unwrap_or_default());
    let files: Vec<String> = card["files"].as_array().into_iter().flatten().filter_map(file_link).collect();
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |\n",
        card["width"],
        number("parameters"),
        number("macs"),
        card["outputs"]["features"],
        evaluation("knn"),
        evaluation("probe"),
        files.join(", ")
    )
}

fn file_link(file: &Value) -> Option<String> {
    let name = file["name"].as_str()?;
    Some(format!("[{name}]({name})"))
}

/// Returns the row of a network in the table of 8 bits, if it was exported so.
fn int8_row(card: &Value) -> Option<String> {
    let int8 = card["onnx"].as_array()?.iter().find(|file| file["precision"] == "int8")?;
    let accuracy = &int8["accuracy"];
    let cosine = int8["cosine_with_f32"].as_f64()?;
    Some(format!(
        "| {} | {} | {} | {cosine:.4} |\n",
        card["width"],
        percentage(&accuracy["knn"]),
        percentage(&accuracy["knn_f32"])
    ))
}

fn percentage(fraction: &Value) -> String {
    fraction.as_f64().map_or_else(|| "-".into(), |fraction| format!("{:.1}%", 100.0 * fraction))
}

/// Returns the metadata, in which JSON is valid YAML.
fn metadata(cards: &[Value], title: &str) -> String {
    let is_classifier = cards.iter().any(|card| card["outputs"].get("logits").is_some());
    let task = if is_classifier { "image-classification" } else { "image-feature-extraction" };
    let method = cards.iter().find_map(|card| card["training"]["method"].as_str());
    let is_self_supervised = method.is_some_and(|method| method != "supervised");
    let tags = is_self_supervised.then_some("self-supervised-learning");
    let tags = ["slimmable", "slimclr"].into_iter().chain(tags).chain(method);
    let tags: String = tags.map(|tag| format!("- {}\n", Value::from(tag))).collect();
    let results: String = cards.iter().filter_map(result).collect();
    let results = match results.is_empty() {
        true => String::new(),
        // One model, since the hub's library keeps only one name.
        false => format!("model-index:\n- name: {}\n  results:\n{results}", Value::from(title)),
    };
    format!("---\nlibrary_name: onnx\npipeline_tag: {task}\ntags:\n{tags}{results}---\n")
}

/// Returns the accuracies of a network as a result in the hub's model index, if there are any.
fn result(card: &Value) -> Option<String> {
    let data = card["training"]["options"]["data"].as_str()?;
    let evaluation = &card["evaluation"];
    let metrics =
        [("knn", "kNN"), ("probe", "linear probe"), ("ridge", "ridge regression"), ("classifier", "classifier")];
    let metrics: String = metrics
        .iter()
        .filter_map(|(key, name)| Some((evaluation[key].as_f64()?, name)))
        .map(|(accuracy, name)| {
            let name = Value::from(format!("{name}, {}", card["name"].as_str().unwrap_or_default()));
            format!("    - type: accuracy\n      name: {name}\n      value: {accuracy}\n")
        })
        .collect();
    if metrics.is_empty() {
        return None;
    }
    let dataset = Value::from(Path::new(data).file_name().map_or(data.into(), |name| name.to_string_lossy()));
    Some(format!(
        "  - task:\n      type: image-classification\n    dataset:\n      type: imagefolder\n      name: {dataset}\n    \
         metrics:\n{metrics}"
    ))
}
