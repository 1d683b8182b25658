//! Durations in words.

use std::{fmt, time::Duration};

/// A duration as a person says it: `0.4 s`, `12 s`, `3 min 05 s`.
pub struct InWords(pub Duration);

impl fmt::Display for InWords {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let whole = self.0.as_secs_f64().round() as u64;
        if self.0 < Duration::from_millis(9950) {
            write!(f, "{:.1} s", self.0.as_secs_f64())
        } else if whole < 60 {
            write!(f, "{whole} s")
        } else {
            write!(f, "{} min {:02} s", whole / 60, whole % 60)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_magnitude_has_its_form() {
        let said = |seconds| InWords(Duration::from_secs_f64(seconds)).to_string();
        assert_eq!([0.36, 9.96, 59.4, 59.6, 185.0].map(said), ["0.4 s", "10 s", "59 s", "1 min 00 s", "3 min 05 s"]);
    }
}
