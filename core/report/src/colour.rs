//! Colours: of each width, a sequence from the widest to the narrowest; of heat maps; and of all the rest.
//!
//! Both sequences of widths, which also shade paths, run from blue over magenta to a yellow, as the colour map *plasma* does. As
//! colour-blind eyes see them (simulated after Machado et al. 2009), any two of the four stops stay at least
//! 0.1 apart in OKLab. All are dark, or on black light, enough to be read as text.

type Rgb = [u8; 3];

const ON_WHITE: [Rgb; 4] = [[0x15, 0x1a, 0x6b], [0x7b, 0x2f, 0xd0], [0xd4, 0x2a, 0x78], [0x9a, 0x6a, 0x00]];
const ON_BLACK: [Rgb; 4] = [[0x45, 0x82, 0xff], [0xcf, 0xa0, 0xff], [0xff, 0x94, 0xa8], [0xff, 0xe2, 0x8a]];

/// Colours of everything else, on white and on black.
const NEUTRAL: [(&str, &str, &str); 6] = [
    ("paper", "#fff", "#15161b"),
    ("ink", "#1a1b22", "#e9e9ee"),
    ("soft", "#5b5d6b", "#a3a5b3"),
    ("rule", "#d9dae2", "#3a3c47"),
    ("grid", "#ececf1", "#262832"),
    ("box", "#f5f5f8", "#1d1e25"),
];

/// Shades of a path from its first to its last point, in classes `t0`, `t1`, ...
pub const SHADES: usize = 12;

/// From low to high, all light enough for dark lines with light edges: after *YlGnBu* of ColorBrewer.
pub const SEQUENTIAL: [Rgb; 6] = [
    [0xff, 0xff, 0xd9],
    [0xc7, 0xe9, 0xb4],
    [0x7f, 0xcd, 0xbb],
    [0x41, 0xb6, 0xc4],
    [0x2c, 0x7f, 0xb8],
    [0x25, 0x34, 0x94],
];

/// From negative over nothing to positive: after *PuOr* of ColorBrewer, which colour-blind eyes tell apart.
const DIVERGING: [Rgb; 5] =
    [[0xb3, 0x58, 0x06], [0xfd, 0xb8, 0x63], [0xf7, 0xf7, 0xf7], [0xb2, 0xab, 0xd2], [0x54, 0x27, 0x88]];

/// The classes that have a colour: `w0`, `w1`, ... of `widths` widths, and the shades of a path.
fn classes(widths: usize) -> impl Iterator<Item = (char, usize, usize)> {
    let of = |letter, count| (0..count).map(move |index| (letter, index, count));
    of('w', widths).chain(of('t', SHADES))
}

/// The style rules that give the page its colours, in the light and in the dark.
pub fn rules(widths: usize) -> String {
    let variables = |stops: [Rgb; 4], neutral: fn(&(&str, &'static str, &'static str)) -> &'static str| -> String {
        let neutral = NEUTRAL.iter().map(|of_both| format!("--{}:{};", of_both.0, neutral(of_both)));
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

/// `style` with the colours on white put in for its variables, and those of the classes added.
pub fn on_white(style: &str, widths: usize) -> String {
    let neutral = NEUTRAL
        .iter()
        .fold(style.to_owned(), |style, (name, light, _)| style.replace(&format!("var(--{name})"), light));
    let classes: String = classes(widths)
        .map(|(letter, index, count)| format!(".{letter}{index}{{color:{}}}", hex(colour(ON_WHITE, index, count))))
        .collect();
    neutral + &classes
}

/// The fill of a value `along` the sequence from low, 0, to high, 1.
pub fn sequential(along: f64) -> String {
    format!(r#"style="fill:{}""#, hex(between(&SEQUENTIAL, along)))
}

/// The same, and the class of a text on it.
pub fn sequential_ground(along: f64) -> (String, &'static str) {
    ground(between(&SEQUENTIAL, along))
}

/// The fill of a value from -1 to 1, and the class of a text on it.
pub fn diverging(value: f64) -> (String, &'static str) {
    ground(between(&DIVERGING, (value + 1.0) / 2.0))
}

/// A fill, and the class of a text that can be read on it.
fn ground(colour: Rgb) -> (String, &'static str) {
    let text = if contrast(colour, [0; 3]) >= contrast(colour, [0xff; 3]) { "on-light" } else { "on-dark" };
    (format!(r#"style="fill:{}""#, hex(colour)), text)
}

/// The colour `along` evenly spaced `stops`, from 0 to 1.
fn between(stops: &[Rgb], along: f64) -> Rgb {
    let along = along.clamp(0.0, 1.0) * (stops.len() - 1) as f64;
    let (stop, part) = (along as usize, along.fract());
    let next = stops[(stop + 1).min(stops.len() - 1)];
    std::array::from_fn(|i| (f64::from(stops[stop][i]) * (1.0 - part) + f64::from(next[i]) * part).round() as u8)
}

/// The colour of one of `widths` widths, between the two nearest stops.
fn colour(stops: [Rgb; 4], index: usize, widths: usize) -> Rgb {
    between(&stops, index as f64 / (widths.max(2) - 1) as f64)
}

/// Relative luminance (WCAG 2).
fn luminance(colour: Rgb) -> f64 {
    let linear = colour.map(|channel| match f64::from(channel) / 255.0 {
        c if c <= 0.04045 => c / 12.92,
        c => ((c + 0.055) / 1.055).powf(2.4),
    });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

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
    fn every_colour_can_be_read_as_text() {
        for widths in 1..=8 {
            for index in 0..widths {
                assert!(contrast(colour(ON_WHITE, index, widths), [255; 3]) >= 4.5, "{index} of {widths}");
                assert!(contrast(colour(ON_BLACK, index, widths), [0x15, 0x16, 0x1b]) >= 4.5, "{index} of {widths}");
            }
        }
    }

    #[test]
    fn numbers_on_heat_can_be_read() {
        let of_both = |n: i32| [diverging(f64::from(n) / 20.0), sequential_ground(f64::from(n) / 20.0)];
        for (fill, text) in (-20..=20).flat_map(of_both) {
            let channel = |at: usize| u8::from_str_radix(&fill[at..at + 2], 16).unwrap();
            let at = fill.find('#').unwrap() + 1;
            let ground = [channel(at), channel(at + 2), channel(at + 4)];
            let ink = if text == "on-light" { [0; 3] } else { [0xff; 3] };
            assert!(contrast(ground, ink) >= 4.5, "{fill}");
        }
    }

    #[test]
    fn a_style_of_its_own_has_no_variables() {
        let style = on_white(include_str!("chart.css"), 4);
        assert!(!style.contains("var(") && style.contains(".w3{color:#9a6a00}"), "{style}");
    }

    #[test]
    fn four_widths_have_the_four_stops() {
        assert_eq!([0, 1, 2, 3].map(|index| colour(ON_WHITE, index, 4)), ON_WHITE);
        assert!(rules(1).contains("--w0:#151a6b;"));
    }
}
