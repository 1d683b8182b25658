//! Means over seeds.

use serde::Serialize;

use super::tables::Unit;

/// The mean of a measure over runs with different seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Its standard error, if there are several runs.
    pub standard_error: Option<f64>,
    /// The number of runs.
    pub runs: usize,
}

impl Mean {
    /// Computes the mean of `values`, unless there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let runs = values.len();
        let mean = values.iter().sum::<f64>() / runs as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let standard_error = (runs > 1).then(|| (squares / (runs - 1) as f64 / runs as f64).sqrt());
        (runs > 0).then_some(Self { mean, standard_error, runs })
    }

    /// Formats the mean, and its standard error. It says of how many of `seeds` runs it is, if not of all.
    pub fn text(self, unit: Unit, seeds: usize) -> String {
        unit.text(self.mean) + &self.error(unit, seeds)
    }

    /// Formats the mean of a difference likewise, with its sign.
    pub fn signed(self, unit: Unit, seeds: usize) -> String {
        unit.signed(self.mean) + &self.error(unit, seeds)
    }

    fn error(self, unit: Unit, seeds: usize) -> String {
        let error = self.standard_error.map(|error| format!(" ± {}", unit.text(error))).unwrap_or_default();
        let of = if self.runs < seeds { format!(" ({} of {seeds} seeds)", self.runs) } else { String::new() };
        error + &of
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_error_is_that_of_the_mean() {
        assert_eq!(Mean::of(&[]), None);
        assert_eq!(Mean::of(&[0.5]), Some(Mean { mean: 0.5, standard_error: None, runs: 1 }));
        // The sample variance is 4.
        let three = Mean::of(&[2.0, 4.0, 6.0]).unwrap();
        assert_eq!((three.mean, three.runs), (4.0, 3));
        assert!((three.standard_error.unwrap() - (4f64 / 3.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn means_are_written_with_their_error_and_the_seeds_that_are_missing() {
        let mean = Mean { mean: 0.612, standard_error: Some(0.0034), runs: 2 };
        assert_eq!([2, 3].map(|seeds| mean.text(Unit::Percent, seeds)), ["61.2 ± 0.3", "61.2 ± 0.3 (2 of 3 seeds)"]);
        assert_eq!(mean.signed(Unit::Percent, 2), "+61.2 ± 0.3");
        let loss = Mean { mean: -0.5, standard_error: None, runs: 1 };
        assert_eq!([loss.text(Unit::Number(2), 1), loss.signed(Unit::Number(2), 1)], ["-0.50", "-0.50"]);
    }
}
