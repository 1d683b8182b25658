//! Comparison of the losses of two runs.

use std::fmt;

use anyhow::{Result, ensure};

use super::events::Step;

/// The largest relative differences that are allowed.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    /// At the first step, which starts from the same weights.
    pub first: f64,
    /// At later steps, when rounding has made the weights differ.
    pub later: f64,
}

/// The difference between a loss and the CPU's.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Relative to the CPU's loss; infinite if either is NaN or infinite.
    pub relative: f64,
    /// The step, counted from 1.
    pub step: u64,
    /// The index of the width, widest first.
    pub width: usize,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:.1e} (step {}, width {})", self.relative, self.step, self.width + 1)
    }
}

/// The differences between a run's losses and the CPU's.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The largest relative difference.
    pub largest: Difference,
    /// The first difference above the tolerance.
    pub first_above: Option<Difference>,
}

impl Comparison {
    /// Compares every width's loss at every step.
    ///
    /// # Errors
    /// If the runs logged different steps or widths, or no losses.
    pub fn new(reference: &[Step], steps: &[Step], tolerance: Tolerance) -> Result<Self> {
        let shape =
            |steps: &[Step]| -> Vec<(u64, usize)> { steps.iter().map(|step| (step.step, step.losses.len())).collect() };
        ensure!(
            shape(reference) == shape(steps),
            "it logged {} steps and the CPU {}, or their numbers or widths differ",
            steps.len(),
            reference.len()
        );
        let differences: Vec<Difference> = reference.iter().zip(steps).flat_map(differences).collect();
        let largest = differences.iter().max_by(|a, b| a.relative.total_cmp(&b.relative)).cloned();
        let first = reference.first().map(|step| step.step);
        let allowed = |step| {
            if Some(step) == first { tolerance.first } else { tolerance.later }
        };
        let first_above = differences.into_iter().find(|it| it.relative > allowed(it.step));
        let Some(largest) = largest else { anyhow::bail!("no losses were logged") };
        Ok(Self { largest, first_above })
    }
}

fn differences((reference, step): (&Step, &Step)) -> impl Iterator<Item = Difference> {
    let number = reference.step;
    reference.losses.iter().zip(&step.losses).enumerate().map(move |(width, (expected, found))| {
        let relative = (found - expected).abs() / expected.abs();
        Difference { relative: if relative.is_nan() { f64::INFINITY } else { relative }, step: number, width }
    })
}

/// Checks that the CPU's losses can serve as the reference.
///
/// # Errors
/// If one is missing, NaN, infinite or 0, as the sub-networks' are before they are trained, or if the sum is wrong.
pub fn check_reference(steps: &[Step]) -> Result<()> {
    ensure!(!steps.is_empty(), "the CPU's run logged no steps");
    for step in steps {
        let are_valid = !step.losses.is_empty() && step.losses.iter().all(|loss| loss.is_normal());
        let sum: f64 = step.losses.iter().sum();
        ensure!(
            are_valid && (sum - step.loss).abs() <= 1e-4 * sum.abs(),
            "the CPU's losses at step {} cannot be a reference: {:?}, with the sum {}",
            step.step,
            step.losses,
            step.loss
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Tolerance = Tolerance { first: 1e-3, later: 1e-2 };

    fn steps(losses: &[[f64; 2]]) -> Vec<Step> {
        let step = |(losses, step): (&[f64; 2], u64)| Step {
            step,
            loss: losses.iter().sum(),
            losses: losses.to_vec(),
            images_per_second: 1.0,
        };
        losses.iter().zip(1..).map(step).collect()
    }

    #[test]
    fn the_largest_difference_has_its_step_and_width() {
        let compared =
            Comparison::new(&steps(&[[2.0, 4.0], [2.0, 4.0]]), &steps(&[[2.0, 4.0], [2.0, 4.02]]), TOLERANCE).unwrap();
        assert!((compared.largest.relative - 0.005).abs() < 1e-12);
        assert_eq!((compared.largest.step, compared.largest.width), (2, 1));
        assert_eq!(compared.first_above, None);
        assert_eq!(compared.largest.to_string(), "5.0e-3 (step 2, width 2)");
    }

    #[test]
    fn the_first_step_has_a_tighter_tolerance() {
        let reference = steps(&[[2.0, 4.0], [2.0, 4.0]]);
        let early = Comparison::new(&reference, &steps(&[[2.0, 4.02], [2.0, 4.0]]), TOLERANCE).unwrap();
        assert_eq!(early.first_above.map(|it| it.step), Some(1));
        // Above the tolerance, although a later difference is larger.
        let both = Comparison::new(&reference, &steps(&[[2.0, 4.02], [3.0, 4.0]]), TOLERANCE).unwrap();
        assert_eq!((both.first_above.unwrap().step, both.largest.step), (1, 2));
    }

    #[test]
    fn nan_and_infinity_never_agree() {
        let reference = steps(&[[2.0, 4.0]]);
        for wrong in [f64::NAN, f64::INFINITY] {
            let compared = Comparison::new(&reference, &steps(&[[2.0, wrong]]), TOLERANCE).unwrap();
            assert_eq!(compared.largest.relative, f64::INFINITY);
            assert!(compared.first_above.is_some());
        }
    }

    #[test]
    fn a_run_that_stops_early_does_not_agree() {
        let reference = steps(&[[2.0, 4.0], [2.0, 4.0]]);
        assert!(Comparison::new(&reference, &steps(&[[2.0, 4.0]]), TOLERANCE).is_err());
        assert!(Comparison::new(&[], &[], TOLERANCE).is_err());
    }

    #[test]
    fn untrained_sub_networks_cannot_be_a_reference() {
        assert!(check_reference(&steps(&[[2.0, 4.0]])).is_ok());
        assert!(check_reference(&steps(&[[2.0, 0.0]])).is_err());
        assert!(check_reference(&steps(&[[2.0, f64::NAN]])).is_err());
        assert!(check_reference(&[]).is_err());
    }
}
