//! Terminal output: results on standard output; progress, warnings and errors on standard error.

mod progress;

use slimclr_report::compact;

#[cfg(feature = "mpi")]
pub use self::progress::be_quiet_unless;
pub use self::progress::{Progress, clear, note, parts, print, time_left, warn, write};

/// Formats a count with three digits and a unit prefix: 1.99 M.
pub fn count(number: u64) -> String {
    // The report's no-break space is a plain one in a terminal.
    compact(number).replace('\u{a0}', " ")
}

/// Formats right-aligned columns under their heads, which may have several lines.
pub fn aligned(heads: &[impl AsRef<str>], rows: &[impl AsRef<[String]>]) -> String {
    let height = heads.iter().map(|head| head.as_ref().lines().count()).max().unwrap_or(0);
    let head_line = |above| heads.iter().map(|head| head.as_ref().lines().rev().nth(above).unwrap_or("")).collect();
    let mut cells: Vec<Vec<&str>> = (0..height).rev().map(head_line).collect();
    cells.extend(rows.iter().map(|row| row.as_ref().iter().map(String::as_str).collect()));
    let widest = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(widest).collect();
    let line = |row: &Vec<&str>| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines: Vec<String> = cells.iter().map(line).collect();
    lines.insert(height, "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1)));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_three_digits() {
        assert_eq!(
            ["999", "1.00 k", "25.6 M", "4.09 G", "278 M"],
            [999, 1000, 25_557_032, 4_089_184_256, 278_085_632].map(count).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn columns_align() {
        let table = aligned(&["over\na", "long"], &[["100 ±".into(), "x".into()]]);
        assert_eq!(table, " over\n    a  long\n-----------\n100 ±     x");
    }
}
