//! Formatting of numbers and text.

/// The average width of a character as a fraction of the font size; a little more than that of DejaVu Sans.
pub const TEXT_WIDTH: f64 = 0.53;

/// Returns `text` with HTML's special characters escaped, and characters replaced that XML does not allow.
pub fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            _ if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            _ => out.push(c),
        }
        out
    })
}

/// Formats `value` with this many decimals and with commas as thousands separators.
pub fn thousands(value: f64, decimals: usize) -> String {
    let digits = format!("{:.decimals$}", value.abs());
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let sign = if value < 0.0 { "-" } else { "" };
    let grouped: Vec<&str> = {
        let head = whole.len() % 3;
        let tail = (head..whole.len()).step_by(3).map(|start| &whole[start..start + 3]);
        (head > 0).then_some(&whole[..head]).into_iter().chain(tail).collect()
    };
    format!("{sign}{}{rest}", grouped.join(","))
}

/// Formats an integer with commas as thousands separators.
pub fn count(value: u64) -> String {
    thousands(value as f64, 0)
}

/// Formats `mantissa` times ten to the power of `exponent`.
pub fn scientific(mantissa: &str, exponent: i32) -> String {
    format!("{mantissa}×10{}", superscript(exponent))
}

/// Formats an integer in superscript digits.
pub fn superscript(number: i32) -> String {
    number
        .to_string()
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            // The other superscript digits are consecutive code points.
            digit => digit.to_digit(10).and_then(|d| char::from_u32(0x2070 + d)).unwrap_or(digit),
        })
        .collect()
}

/// Formats an integer with up to three significant digits and a unit prefix: k, M, G or T.
pub fn compact(value: u64) -> String {
    let value = value as f64;
    let (scaled, letter) = [(1e12, "\u{a0}T"), (1e9, "\u{a0}G"), (1e6, "\u{a0}M"), (1e3, "\u{a0}k")]
        .into_iter()
        // 999,500 and more would round to "1000 k".
        .find(|(unit, _)| value >= 0.9995 * unit)
        .map_or((value, ""), |(unit, letter)| (value / unit, letter));
    let decimals = match scaled {
        _ if letter.is_empty() => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{scaled:.decimals$}{letter}")
}

/// Formats a number with three significant digits, in scientific notation if it would be long.
pub fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    // Rounded first, because rounding 9.996 to 10.0 changes the number of decimals.
    let rounded = format!("{value:.2e}");
    let (mantissa, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    match exponent.parse() {
        Ok(exponent @ -3..=5) => thousands(value, usize::try_from(2 - exponent).unwrap_or(0)),
        Ok(exponent) => scientific(mantissa, exponent),
        Err(_) => rounded,
    }
}

/// Formats a number with this many decimals; zero without a sign.
pub fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(zero) if zero.chars().all(|digit| matches!(digit, '0' | '.')) => zero.to_owned(),
        _ => text,
    }
}

/// Formats a fraction in percent, without a percent sign.
pub fn percent(fraction: f64) -> String {
    format!("{:.1}", 100.0 * fraction)
}

/// Formats a width as in the configuration: 1.0, 0.75.
pub fn width(value: f64) -> String {
    format!("{value:?}")
}

/// Joins `items` with commas and "and".
pub fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Returns `text` with a capital letter and a full stop.
pub fn sentence(text: &str) -> String {
    capitalized(text) + "."
}

/// Returns `text` with a capital letter, if its first one is of ASCII: the tables of all alphabets would be 7 kB of the
/// page.
pub fn capitalized(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

/// Returns `number` and a noun, with an s unless the number is 1.
pub fn plural(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Formats seconds in their two largest units.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{:.1} s", seconds.max(0.0)),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86400 => format!("{} h {} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86400, whole / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_control_characters_are_escaped() {
        assert_eq!(escape("<a href='x'>\"&\"</a>\0"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;&lt;/a&gt;\u{fffd}");
        assert_eq!(escape("plain – Ångström"), "plain – Ångström");
    }

    #[test]
    fn numbers_are_formatted_for_readers() {
        assert_eq!([0, 999, 1000, 1234567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(thousands(-1234.5, 1), "-1,234.5");
        assert_eq!(scientific("2", -12), "2×10⁻¹²");
        assert_eq!(
            [0.0, 1.234, 9.996, 0.012345, 123.4, 123456.0, 0.00012345, 1.5e9].map(significant),
            ["0", "1.23", "10.0", "0.0123", "123", "123,456", "1.23×10⁻⁴", "1.50×10⁹"]
        );
        assert_eq!(
            [0, 999, 1000, 272_474, 999_600, 40_812_544, 4_089_184_256].map(compact),
            ["0", "999", "1.00 k", "272 k", "1.00 M", "40.8 M", "4.09 G"].map(|text| text.replace(' ', "\u{a0}"))
        );
        assert_eq!([-0.001, 0.0, -0.006, f64::NAN].map(|value| fixed(value, 2)), ["0.00", "0.00", "-0.01", "NaN"]);
        assert_eq!([1.0, 0.75].map(width), ["1.0", "0.75"]);
        assert_eq!([1, 2].map(|n| plural(n, "step")), ["1 step", "2 steps"]);
        assert_eq!(
            [0.25, 59.4, 725.0, 11520.0, 2e5].map(duration),
            ["0.2 s", "59 s", "12 min 5 s", "3 h 12 min", "2 d 7 h"]
        );
        assert_eq!(list(&["a", "b", "c"].map(String::from)), "a, b and c");
        assert_eq!(["no steps", "", "Ålesund"].map(sentence), ["No steps.", ".", "Ålesund."]);
    }
}
