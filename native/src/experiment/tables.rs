//! The files of an experiment's results: tables in Markdown, and the same as JSON.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::files::write_atomically;

/// File name of the tables.
pub const TABLES: &str = "results.md";
/// File name of the JSON.
const DATA: &str = "results.json";

/// Writes the tables, and the same `results` as JSON, into an experiment's folder.
///
/// # Errors
/// If a file cannot be written.
pub fn write(folder: &Path, tables: &str, results: &impl Serialize) -> Result<()> {
    write_atomically(&folder.join(TABLES), tables.as_bytes())?;
    write_atomically(&folder.join(DATA), &serde_json::to_vec_pretty(results)?)
}

/// Formats a Markdown table with the first column left-aligned and the others right-aligned.
pub fn markdown(heads: &[impl AsRef<str>], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|---|{}\n", "---:|".repeat(heads.len() - 1));
    let rows: String = rows.iter().map(|row| line(row.iter().map(String::as_str).collect())).collect();
    line(heads.iter().map(AsRef::as_ref).collect()) + &rule + &rows
}

/// How the numbers of a table are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unit {
    /// A fraction in percent with one decimal, without a percent sign.
    Percent,
    /// A number with this many decimals.
    Number(usize),
}

impl Unit {
    /// Formats a value.
    pub fn text(self, value: f64) -> String {
        match self {
            Self::Percent => percent(value),
            Self::Number(decimals) => format!("{value:.decimals$}"),
        }
    }

    /// Formats a difference of two values, with its sign.
    pub fn signed(self, difference: f64) -> String {
        let sign = if difference < 0.0 { "" } else { "+" };
        format!("{sign}{}", self.text(difference))
    }
}

/// Formats a fraction in percent, without a percent sign.
pub fn percent(fraction: f64) -> String {
    format!("{:.1}", 100.0 * fraction)
}
