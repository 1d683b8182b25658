//! Answers to the lesson's questions, from the events of the learner's runs.

use slimclr_report::fixed;
use slimclr_run::event::Event;

use crate::train::{RunEvents, WidthStatus};

/// Says how often the gradients of the widest and of the narrowest width conflicted, and which was longer.
pub fn conflicts(runs: &[RunEvents]) -> Option<String> {
    let [mut measured, mut conflicts, mut longer] = [0; 3];
    runs.first()?.with_shown(|events| {
        for event in events {
            let Event::Interference(at) = event else { continue };
            let cosine = at.agreement.cosines.first().and_then(|of_full| *of_full.last()?);
            if let (Some(cosine), [full, .., narrowest]) = (cosine, at.gradient.norms.as_slice()) {
                measured += 1;
                conflicts += u32::from(cosine < 0.0);
                longer += u32::from(narrowest > full);
            }
        }
    });
    (measured > 0).then(|| {
        format!(
            "Measured {measured} times. The widest and the narrowest width conflicted {conflicts} times; the narrowest’s \
             gradient was the longer one {longer} times."
        )
    })
}

/// Says how far the second run is ahead of the first at each width.
pub fn lead(runs: &[RunEvents]) -> Option<String> {
    let [first, second] = runs else { return None };
    let (first, second) = (first.status()?, second.status()?);
    let lead = |(first, second): (&WidthStatus, &WidthStatus)| Some((first.width, second.knn? - first.knn?));
    points("B is ahead of A", first.widths.iter().zip(&second.widths).map(lead))
}

/// Says what training has added at each width.
pub fn gain(runs: &[RunEvents]) -> Option<String> {
    let status = runs.first()?.status()?;
    points("Training has added", status.widths.iter().map(|at| Some((at.width, at.knn? - at.knn_untrained?))))
}

/// Says how far each width is behind the full network.
pub fn lag(runs: &[RunEvents]) -> Option<String> {
    let status = runs.first()?.status()?;
    let (full, narrower) = status.widths.split_first()?;
    points("Behind the full network", narrower.iter().map(|at| Some((at.width, full.knn? - at.knn?))))
}

/// Returns `what` with each width's difference in kNN accuracy; `None` unless all are known.
fn points(what: &str, differences: impl Iterator<Item = Option<(f64, f64)>>) -> Option<String> {
    let point = |(width, difference): (f64, f64)| {
        format!("{} at width {width}", fixed(100.0 * difference, 1).replace('-', "−"))
    };
    let differences: Vec<String> = differences.map(|difference| difference.map(point)).collect::<Option<_>>()?;
    Some(format!("{what}, in points of kNN accuracy: {}.", differences.join(", ")))
}
