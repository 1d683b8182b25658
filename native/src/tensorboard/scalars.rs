//! The scalars in a run's events.

use serde_json::Value;
use slimclr_core::event::Event;

/// Fields that are not measured.
const NOT_MEASURED: [&str; 3] = ["step", "epoch", "width"];

/// The scalars in an event, as pairs of tag and value. The tag is the field's name in `events.jsonl`.
#[derive(Debug, Default, PartialEq)]
pub struct Scalars {
    /// Those of the whole run.
    pub run: Vec<(String, f64)>,
    /// Those of each width, widest first.
    pub widths: Vec<Vec<(String, f64)>>,
}

impl Scalars {
    /// Returns the scalars in an event of a run with these widths: numbers, and lists with a number for each width. A
    /// width that a step did not train has none.
    pub fn of(event: &Event, widths: &[f64]) -> Self {
        let mut scalars = Self { run: Vec::new(), widths: vec![Vec::new(); widths.len()] };
        let (group, of_width) = match event {
            Event::Step(_) => ("training", None),
            Event::Interference(_) => ("interference", None),
            Event::Evaluated(evaluated) => match widths.iter().position(|width| *width == evaluated.width) {
                Some(index) => ("evaluation", Some(index)),
                None => return scalars,
            },
            _ => return scalars,
        };
        let trains = |index: usize| match event {
            Event::Step(step) => step.losses.get(index).is_some_and(|loss| *loss != 0.0),
            _ => true,
        };
        let Ok(Value::Object(fields)) = serde_json::to_value(event) else { return scalars };
        for (field, value) in fields.into_iter().filter(|(field, _)| !NOT_MEASURED.contains(&field.as_str())) {
            // The losses of the widths are shown with that of the run.
            let tag = format!("{group}/{}", if field == "losses" { "loss" } else { &field });
            match value {
                Value::Number(number) => {
                    let scalars = match of_width {
                        Some(index) => &mut scalars.widths[index],
                        None => &mut scalars.run,
                    };
                    scalars.extend(number.as_f64().map(|number| (tag, number)));
                }
                Value::Array(values) if values.len() == widths.len() => {
                    for (index, value) in values.iter().enumerate().filter(|(index, _)| trains(*index)) {
                        scalars.widths[index].extend(value.as_f64().map(|number| (tag.clone(), number)));
                    }
                }
                _ => {}
            }
        }
        scalars
    }
}

#[cfg(test)]
mod tests {
    use slimclr_core::event::{Evaluated, Interference, Step};

    use super::*;

    fn found(event: &Event) -> [Vec<String>; 3] {
        let text = |scalars: &[(String, f64)]| {
            let mut lines: Vec<String> = scalars.iter().map(|(tag, value)| format!("{tag} {value}")).collect();
            lines.sort();
            lines
        };
        let Scalars { run, widths } = Scalars::of(event, &[1.0, 0.5]);
        [text(&run), text(&widths[0]), text(&widths[1])]
    }

    #[test]
    fn a_step_has_a_loss_of_the_run_and_of_each_trained_width() {
        let step = Step {
            step: 3,
            epoch: 0.5,
            loss: 2.5,
            losses: vec![2.5, 0.0],
            learning_rate: 0.25,
            images_per_second: 100.0,
            ..serde_json::from_str(
                r#"{"step":3,"epoch":0,"loss":0,"losses":[],"learning_rate":0,"images_per_second":0}"#,
            )
            .unwrap()
        };
        let [run, full, half] = found(&Event::Step(step));
        assert_eq!(run, ["training/images_per_second 100", "training/learning_rate 0.25", "training/loss 2.5"]);
        assert_eq!((full, half), (vec!["training/loss 2.5".to_owned()], vec![]), "the sub-network has not started");
    }

    #[test]
    fn an_evaluation_has_what_was_measured_of_its_width() {
        let evaluated =
            Evaluated { step: 9, width: 0.5, knn: Some(0.25), rankme: Some(f64::NAN), ..Default::default() };
        assert_eq!(found(&Event::Evaluated(evaluated)), [vec![], vec![], vec!["evaluation/knn 0.25".to_owned()]]);
        assert_eq!(found(&Event::Stopped { step: 9 }), [const { Vec::<String>::new() }; 3]);
    }

    #[test]
    fn interference_has_the_norm_of_each_width() {
        let mut interference = Interference { step: 9, ..Interference::default() };
        interference.gradient.norms = vec![2.0, 1.0];
        interference.agreement.cosines = vec![vec![Some(1.0); 2]; 2];
        let [run, full, half] = found(&Event::Interference(interference));
        assert_eq!(run, ["interference/rest 0"]);
        assert_eq!([full, half], [["interference/norms 2"], ["interference/norms 1"]]);
    }
}
