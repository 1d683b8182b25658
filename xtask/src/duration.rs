//! Durations as text.

use std::{fmt, time::Duration};

/// Displays a duration as `0.4 s`, `12 s` or `3 min 05 s`.
pub struct HumanDuration(pub Duration);

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let seconds = self.0.as_secs_f64().round() as u64;
        if self.0 < Duration::from_millis(9950) {
            write!(f, "{:.1} s", self.0.as_secs_f64())
        } else if seconds < 60 {
            write!(f, "{seconds} s")
        } else {
            write!(f, "{} min {:02} s", seconds / 60, seconds % 60)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_magnitude_has_its_format() {
        let shown = |seconds| HumanDuration(Duration::from_secs_f64(seconds)).to_string();
        assert_eq!([0.36, 9.96, 59.4, 59.6, 185.0].map(shown), ["0.4 s", "10 s", "59 s", "1 min 00 s", "3 min 05 s"]);
    }
}
