//! The colour of each width: a sequence from the widest to the narrowest.
//!
//! Both sequences run from blue over magenta to a yellow, as the colour map *plasma* does. As
//! colour-blind eyes see them (simulated after Machado et al. 2009), any two of the four stops stay at least
//! 0.1 apart in OKLab. All are dark, or on black light, enough to be read as text.

type Rgb = [u8; 3];

const ON_WHITE: [Rgb; 4] = [[0x15, 0x1a, 0x6b], [0x7b, 0x2f, 0xd0], [0xd4, 0x2a, 0x78], [0x9a, 0x6a, 0x00]];
const ON_BLACK: [Rgb; 4] = [[0x45, 0x82, 0xff], [0xcf, 0xa0, 0xff], [0xff, 0x94, 0xa8], [0xff, 0xe2, 0x8a]];

/// The style rules that give the classes `w0`, `w1`, ... of `widths` widths their colours.
pub fn rules(widths: usize) -> String {
    let variables = |stops: [Rgb; 4]| -> String {
        (0..widths).map(|index| format!("--w{index}:{};", hex(colour(stops, index, widths)))).collect()
    };
    let classes: String = (0..widths).map(|index| format!(".w{index}{{color:var(--w{index})}}")).collect();
    format!(
        ":root{{{}}}@media screen and (prefers-color-scheme:dark){{:root{{{}}}}}{classes}",
        variables(ON_WHITE),
        variables(ON_BLACK)
    )
}

/// The colour of one of `widths` widths, between the two nearest stops.
fn colour(stops: [Rgb; 4], index: usize, widths: usize) -> Rgb {
    let along = 3.0 * index as f64 / (widths.max(2) - 1) as f64;
    let (stop, part) = (along as usize, along.fract());
    let next = stops[(stop + 1).min(3)];
    std::array::from_fn(|i| (f64::from(stops[stop][i]) * (1.0 - part) + f64::from(next[i]) * part).round() as u8)
}

fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn four_widths_have_the_four_stops() {
        assert_eq!([0, 1, 2, 3].map(|index| colour(ON_WHITE, index, 4)), ON_WHITE);
        assert!(rules(1).contains("--w0:#151a6b;"));
    }
}
