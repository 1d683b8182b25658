//! Tables in Markdown, so that they can be pasted into documents.

/// Returns the table of these rows, with columns as wide as their widest cells.
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

/// Returns text without line breaks and without the character that ends a cell.
pub fn cell(text: &str) -> String {
    text.replace('|', "/").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the cell, or a dash if there is none.
pub fn or_dash(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "–".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".into(), or_dash(None)], ["bcd".into(), cell("Ä|Ö\nÜ")]];
        let expected = "| row | x     |\n| --- | ----- |\n| a   | –     |\n| bcd | Ä/Ö Ü |\n";
        assert_eq!(markdown(["row", "x"], &rows), expected);
    }
}
