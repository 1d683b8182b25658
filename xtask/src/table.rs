//! Tables in Markdown, so that they can be pasted beside other measurements.

/// The table of these rows; every line of it is as long.
pub fn markdown<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let headings = headings.map(String::from);
    let columns: [usize; N] = std::array::from_fn(|column| {
        rows.iter().chain([&headings]).map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    let line = |row: &[String; N]| {
        let padded = row.iter().zip(columns).map(|(cell, width)| format!(" {cell:<width$} "));
        format!("|{}|\n", padded.collect::<Vec<_>>().join("|"))
    };
    let rule = line(&columns.map(|width| "-".repeat(width)));
    let mut text = line(&headings) + &rule;
    text.extend(rows.iter().map(line));
    text
}

/// A cell of what may not be there.
pub fn or_dash(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "–".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".into(), or_dash(None)], ["bcd".into(), "ÄÖÜ".into()]];
        let expected = "| row | x   |\n| --- | --- |\n| a   | –   |\n| bcd | ÄÖÜ |\n";
        assert_eq!(markdown(["row", "x"], &rows), expected);
    }
}
