//! Names of files as people see them.

/// Returns a name or path as text: bytes that are not UTF-8 are replaced, and characters that would change a terminal's
/// state or the order of the text are escaped.
pub fn shown(name: &[u8]) -> String {
    let mut text = String::new();
    for character in String::from_utf8_lossy(name).chars() {
        if character.is_control() || REORDERING.contains(&character) {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}

/// Unicode's line separators and bidirectional controls.
const REORDERING: [char; 14] = [
    '\u{061c}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}',
    '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}',
];

/// Joins at most three of `names` with commas, followed by an ellipsis if `count` is larger.
pub(crate) fn some_of<'a>(names: impl IntoIterator<Item = &'a String>, count: usize) -> String {
    let mut first: Vec<&str> = names.into_iter().take(SHOWN).map(String::as_str).collect();
    if count > first.len() {
        first.push("…");
    }
    first.join(", ")
}

/// Names that are shown of many.
pub(crate) const SHOWN: usize = 3;

/// Returns a number with what it counts.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_write_to_the_terminal() {
        assert_eq!(shown("café/été.jpg".as_bytes()), "café/été.jpg");
        assert_eq!(shown(b"caf\xe9"), "caf\u{fffd}");
        assert_eq!(shown(b"a\nb\x1b[31m\x07"), "a\\nb\\u{1b}[31m\\u{7}");
        assert_eq!(shown("a\u{202e}gpj".as_bytes()), "a\\u{202e}gpj");
    }
}
