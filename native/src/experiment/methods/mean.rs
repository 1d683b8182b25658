//! Means over seeds.

use serde::Serialize;

use crate::experiment::tables::percent;

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

    /// Formats the mean of a fraction in percent, and its standard error. It says of how many of `seeds` runs it is, if
    /// not of all.
    pub fn percent(self, seeds: usize) -> String {
        let error = self.standard_error.map(|error| format!(" ± {}", percent(error))).unwrap_or_default();
        let of = if self.runs < seeds { format!(" ({} of {seeds} seeds)", self.runs) } else { String::new() };
        percent(self.mean) + &error + &of
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
        let mean = Mean { mean: 0.612, standard_error: Some(0.0034), runs: 2 };
        assert_eq!([mean.percent(2), mean.percent(3)], ["61.2 ± 0.3", "61.2 ± 0.3 (2 of 3 seeds)"]);
    }
}
