//! Colours of widths, heat maps and everything else.
//!
//! Widths, and points of a path, have colours from blue through magenta to yellow, as in the colour map *plasma*, with
//! one palette for white and one for black backgrounds. The four stops stay at least 0.1 apart in OKLab for
//! colour-blind readers (simulated after Machado et al. 2009). Each has enough contrast with its background to be used
//! for text.

type Rgb = [u8; 3];

const ON_WHITE: [Rgb; 4] = [[0x15, 0x1a, 0x6b], [0x7b, 0x2f, 0xd0], [0xd4, 0x2a, 0x78], [0x9a, 0x6a, 0x00]];
const ON_BLACK: [Rgb; 4] = [[0x45, 0x82, 0xff], [0xcf, 0xa0, 0xff], [0xff, 0x94, 0xa8], [0xff, 0xe2, 0x8a]];

/// Names and values of all other colours, on white and on black.
const NEUTRAL: [(&str, &str, &str); 6] = [
    ("paper", "#fff", "#15161b"),
    ("ink", "#1a1b22", "#e9e9ee"),
    ("soft", "#5b5d6b", "#a3a5b3"),
    ("rule", "#d9dae2", "#3a3c47"),
    ("grid", "#ececf1", "#262832"),
    ("box", "#f5f5f8", "#1d1e25"),
];

/// The number of colours along a path, from its first to its last point: the classes `t0`, `t1`, ...
pub const PATH_SHADES: usize = 12;

/// Sequential colour map, from low to high: *YlGnBu* of ColorBrewer, shortened to be light enough for dark lines with
/// light edges.
pub const SEQUENTIAL: [Rgb; 6] = [
    [0xff, 0xff, 0xd9],
    [0xc7, 0xe9, 0xb4],
    [0x7f, 0xcd, 0xbb],
    [0x41, 0xb6, 0xc4],
    [0x2c, 0x7f, 0xb8],
    [0x25, 0x34, 0x94],
];

/// Diverging colour map, from -1 through 0 to 1: *PuOr* of ColorBrewer, safe for colour-blind readers.
const DIVERGING: [Rgb; 5] =
    [[0xb3, 0x58, 0x06], [0xfd, 0xb8, 0x63], [0xf7, 0xf7, 0xf7], [0xb2, 0xab, 0xd2], [0x54, 0x27, 0x88]];

/// Returns the CSS classes that have a colour, as letter, index and count: `w0`, `w1`, ... for widths, and those of a
/// path.
fn classes(widths: usize) -> impl Iterator<Item = (char, usize, usize)> {
    let numbered = |letter, count| (0..count).map(move |index| (letter, index, count));
    numbered('w', widths).chain(numbered('t', PATH_SHADES))
}

/// Returns CSS that defines the colours of a page, light and dark.
pub fn page_css(widths: usize) -> String {
    let variables = |stops: [Rgb; 4], neutral: fn(&(&str, &'static str, &'static str)) -> &'static str| -> String {
        let neutral = NEUTRAL.iter().map(|entry| format!("--{}:{};", entry.0, neutral(entry)));
        let classes = classes(widths)
            .map(|(letter, index, count)| format!("--{letter}{index}:{};", hex(colour(stops, index, count))));
        neutral.chain(classes).collect()
    };
    let classes: String =
        classes(widths).map(|(letter, index, _)| format!(".{letter}{index}{{color:var(--{letter}{index})}}")).collect();
    format!(
        ":root{{{}}}@media screen and (prefers-color-scheme:dark){{:root{{{}}}}}{classes}",
        variables(ON_WHITE, |(_, light, _)| light),
        variables(ON_BLACK, |(_, _, dark)| dark)
    )
}

/// Returns `style` with its variables replaced by the colours on white, and with the colours of the classes added.
pub fn css_on_white(style: &str, widths: usize) -> String {
    let neutral = NEUTRAL
        .iter()
        .fold(style.to_owned(), |style, (name, light, _)| style.replace(&format!("var(--{name})"), light));
    let classes: String = classes(widths)
        .map(|(letter, index, count)| format!(".{letter}{index}{{color:{}}}", hex(colour(ON_WHITE, index, count))))
        .collect();
    neutral + &classes
}

/// Returns the fill, as an SVG attribute, of a position in the sequential colour map, from 0 to 1.
pub fn sequential(position: f64) -> String {
    format!(r#"style="fill:{}""#, hex(interpolate(&SEQUENTIAL, position)))
}

/// Returns the same, and the CSS class of text on it.
pub fn sequential_with_text(position: f64) -> (String, &'static str) {
    with_text(interpolate(&SEQUENTIAL, position))
}

/// Returns the fill of a value from -1 to 1, and the CSS class of text on it.
pub fn diverging(value: f64) -> (String, &'static str) {
    with_text(interpolate(&DIVERGING, (value + 1.0) / 2.0))
}

/// Returns a fill, and the CSS class of the text colour with the higher contrast.
fn with_text(colour: Rgb) -> (String, &'static str) {
    let text = if contrast(colour, [0; 3]) >= contrast(colour, [0xff; 3]) { "on-light" } else { "on-dark" };
    (format!(r#"style="fill:{}""#, hex(colour)), text)
}

/// Returns the colour at a position from 0 to 1 between evenly spaced `stops`.
fn interpolate(stops: &[Rgb], position: f64) -> Rgb {
    let position = position.clamp(0.0, 1.0) * (stops.len() - 1) as f64;
    let (stop, part) = (position as usize, position.fract());
    let next = stops[(stop + 1).min(stops.len() - 1)];
    std::array::from_fn(|i| (f64::from(stops[stop][i]) * (1.0 - part) + f64::from(next[i]) * part).round() as u8)
}

/// Returns the colour of the width with this index among `widths` widths.
fn colour(stops: [Rgb; 4], index: usize, widths: usize) -> Rgb {
    interpolate(&stops, index as f64 / (widths.max(2) - 1) as f64)
}

/// Returns the relative luminance (WCAG 2).
fn luminance(colour: Rgb) -> f64 {
    let linear = colour.map(|channel| match f64::from(channel) / 255.0 {
        c if c <= 0.04045 => c / 12.92,
        c => ((c + 0.055) / 1.055).powf(2.4),
    });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

/// Returns the contrast ratio (WCAG 2).
fn contrast(a: Rgb, b: Rgb) -> f64 {
    let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
    a.max(b) / a.min(b)
}

fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_of_widths_have_enough_contrast_for_text() {
        for widths in 1..=8 {
            for index in 0..widths {
                assert!(contrast(colour(ON_WHITE, index, widths), [255; 3]) >= 4.5, "{index} of {widths}");
                assert!(contrast(colour(ON_BLACK, index, widths), [0x15, 0x16, 0x1b]) >= 4.5, "{index} of {widths}");
            }
        }
    }

    #[test]
    fn numbers_on_heat_maps_have_enough_contrast() {
        let both = |n: i32| [diverging(f64::from(n) / 20.0), sequential_with_text(f64::from(n) / 20.0)];
        for (fill, text) in (-20..=20).flat_map(both) {
            let channel = |at: usize| u8::from_str_radix(&fill[at..at + 2], 16).unwrap();
            let at = fill.find('#').unwrap() + 1;
            let fill_colour = [channel(at), channel(at + 2), channel(at + 4)];
            let ink = if text == "on-light" { [0; 3] } else { [0xff; 3] };
            assert!(contrast(fill_colour, ink) >= 4.5, "{fill}");
        }
    }

    #[test]
    fn the_style_of_an_svg_file_has_no_variables() {
        let style = css_on_white(include_str!("chart.css"), 4);
        assert!(!style.contains("var(") && style.contains(".w3{color:#9a6a00}"), "{style}");
    }

    #[test]
    fn four_widths_have_the_four_stops() {
        assert_eq!([0, 1, 2, 3].map(|index| colour(ON_WHITE, index, 4)), ON_WHITE);
        assert!(page_css(1).contains("--w0:#151a6b;"));
    }
}
