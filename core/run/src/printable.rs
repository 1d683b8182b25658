//! Names of files and classes, as they are shown.

use std::borrow::Cow;

/// Escapes the control characters of a name, which could move a terminal's cursor, colour it or reorder a line.
pub fn printable(name: &str) -> Cow<'_, str> {
    if !name.chars().any(is_control) {
        return name.into();
    }
    let shown = |c: char| if is_control(c) { c.escape_default().to_string() } else { c.into() };
    name.chars().map(shown).collect::<String>().into()
}

/// Returns whether a character is a control character, a line separator, or one that reverses the direction of text.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_control_characters_are_escaped() {
        assert_eq!(printable("it's \"café\" \\ 猫"), "it's \"café\" \\ 猫");
        assert_eq!(printable("\u{1b}[31mred\nline\u{202e}gpj"), r"\u{1b}[31mred\nline\u{202e}gpj");
    }
}
