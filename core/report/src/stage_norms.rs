//! How strongly each width pulls on each stage of the network, as a table in colour.

use std::collections::BTreeSet;

use slimclr_run::{event::Interference, interference::agreement::StageAgreement};

use crate::{
    chart::{drawable, extent},
    colour,
    drawing::Drawing,
    figure::{Figure, Missing, Panel},
    interference::{MEASURE, nothing},
    key::{Key, Mark},
    runs::{Run, Runs},
    text::{count, escape, significant, width},
};

/// Room for the names of rows and columns, and the sides of a cell, in user units.
const LEFT: f64 = 84.0;
const TOP: f64 = 24.0;
const CELL: [f64; 2] = [72.0, 30.0];

/// The latest measurement of a run.
struct Latest<'a> {
    name: &'a str,
    label: String,
    widths: &'a [f64],
    at: &'a Interference,
}

impl<'a> Latest<'a> {
    fn of(runs: &Runs<'a>, run: &Run<'a>) -> Option<Self> {
        let measured = run.record.interference.iter().copied();
        let at = measured.rev().find(|at| at.stages.iter().any(|stage| values(stage).next().is_some()))?;
        Some(Self { name: run.name, label: runs.label(run), widths: run.record.widths(), at })
    }

    fn is_incomplete(&self) -> bool {
        self.at.stages.iter().any(|stage| (0..self.widths.len()).any(|index| norm(stage, index).is_none()))
    }
}

/// The norm of a width, if it has one that can be drawn.
fn norm(stage: &StageAgreement, index: usize) -> Option<f64> {
    stage.norms.get(index).copied().flatten().filter(|norm| *norm >= 0.0 && drawable(*norm))
}

fn values(stage: &StageAgreement) -> impl Iterator<Item = f64> {
    (0..stage.norms.len()).filter_map(|index| norm(stage, index))
}

/// The norm of each width's own gradient in each stage, at the latest measurement.
pub fn stage_norms(runs: &Runs) -> Result<Figure, Missing> {
    let what = format!("no gradient norms by stage are recorded; {MEASURE}");
    let latest: Vec<Latest> = runs.all.iter().filter_map(|run| Latest::of(runs, run)).collect();
    let all: Vec<f64> = latest.iter().flat_map(|latest| &latest.at.stages).flat_map(values).collect();
    let Some(shades) = Shades::of(&all) else { return Err(nothing(runs, &what)) };
    let panel = |(number, latest): (usize, &Latest)| {
        let after = format!("after step {}", count(latest.at.step));
        Panel::new(latest.label.as_str(), after, Ok(table(latest, &shades, &format!("stages-{number}"))))
    };
    let mut key = shades.key();
    if latest.iter().any(Latest::is_incomplete) {
        key.push(Key::new(Mark::Void, "not trained"));
    }
    let drawn: BTreeSet<&str> = latest.iter().map(|latest| latest.name).collect();
    Ok(Figure {
        panels: latest.iter().enumerate().map(panel).collect(),
        key,
        reading: "How strongly each width by itself pulls on each stage: the l2 norm of that width’s own gradient over all \
                  weights of the stage that it uses, at the latest measurement. Colours are logarithmic, so that equal \
                  steps are equal ratios. A narrow width with a larger norm than the full one’s, though it uses fewer of \
                  the weights, pushes the shared ones its own way."
            .into(),
        notes: Vec::new(),
        lacking: runs.lacking(|run| drawn.contains(run.name), &what),
    })
}

/// A logarithmic scale of colours.
struct Shades {
    low: f64,
    high: f64,
}

impl Shades {
    /// From the least to the greatest positive one of `values`; none if there are no values.
    fn of(values: &[f64]) -> Option<Self> {
        let positive = values.iter().copied().filter(|value| *value > 0.0);
        let (low, high) = extent(positive).unwrap_or((1.0, 1.0));
        (!values.is_empty()).then_some(Self { low, high })
    }

    /// Where `value` lies between the ends, from 0 to 1.
    fn along(&self, value: f64) -> f64 {
        // A difference of logarithms, as quotients of such numbers may be infinite.
        match self.high.ln() - self.low.ln() {
            _ if value <= 0.0 => 0.0,
            0.0 => 0.5,
            span => (value.ln() - self.low.ln()) / span,
        }
    }

    fn key(&self) -> Vec<Key> {
        let mut values = vec![self.low];
        if self.low < self.high {
            values.extend([self.low.sqrt() * self.high.sqrt(), self.high]);
        }
        let key = |value: f64| Key::new(Mark::Cell(colour::sequential(self.along(value))), significant(value));
        values.into_iter().map(key).collect()
    }
}

/// A row for each stage, a column for each width.
fn table(latest: &Latest, shades: &Shades, id: &str) -> Drawing {
    let [across, down] = CELL;
    let mut marks = String::new();
    let mut description = String::new();
    for (column, value) in latest.widths.iter().enumerate() {
        let x = LEFT + (column as f64 + 0.5) * across;
        let (y, name) = (TOP - 8.0, width(*value));
        marks += &format!(r#"<text class="label w{column}" x="{x:.1}" y="{y:.1}" text-anchor="middle">{name}</text>"#);
    }
    for (row, stage) in latest.at.stages.iter().enumerate() {
        let top = TOP + row as f64 * down;
        let (x, middle, name) = (LEFT - 8.0, top + down / 2.0, escape(&stage.stage));
        marks += &format!(r#"<text x="{x:.1}" y="{middle:.1}" dy=".35em" text-anchor="end">{name}</text>"#);
        let mut words = Vec::new();
        for (column, value) in latest.widths.iter().enumerate() {
            let norm = norm(stage, column);
            marks += &cell([LEFT + column as f64 * across, top], norm, shades);
            words.push(format!("{} {}", width(*value), norm.map_or("not trained".into(), significant)));
        }
        description += &format!("{}: {}. ", stage.stage, words.join(", "));
    }
    Drawing {
        class: "panel",
        size: [LEFT + latest.widths.len() as f64 * across + 2.0, TOP + latest.at.stages.len() as f64 * down + 4.0],
        id: id.into(),
        title: "Gradient norms by stage and width".into(),
        description: description.trim_end().into(),
        marks,
    }
}

fn cell([left, top]: [f64; 2], norm: Option<f64>, shades: &Shades) -> String {
    let [across, down] = CELL;
    let (x, y) = (left + across / 2.0, top + down / 2.0);
    let outline = format!("M{left:.1},{top:.1}h{:.1}v{:.1}h-{:.1}z", across - 2.0, down - 2.0, across - 2.0);
    match norm {
        Some(norm) => {
            let (fill, ink) = colour::sequential_ground(shades.along(norm));
            format!(
                r#"<path class="cells" {fill} d="{outline}"/>
<text class="strong {ink}" x="{:.1}" y="{:.1}" dy=".35em" text-anchor="middle">{}</text>"#,
                x - 1.0,
                y - 1.0,
                significant(norm)
            )
        }
        None => format!(
            r#"<path class="cells void" d="{outline}"/>
<path class="void-cross" d="M{:.1},{:.1}l8,8m0,-8l-8,8"/>"#,
            x - 5.0,
            y - 5.0
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ratios_are_equal_steps_of_colour() {
        let shades = Shades::of(&[0.01, 1.0, 0.0]).unwrap();
        assert_eq!([0.0, 0.01, 0.1, 1.0].map(|value| (shades.along(value) * 1e6).round() / 1e6), [0.0, 0.0, 0.5, 1.0]);
        assert_eq!(Shades::of(&[3.0]).unwrap().along(3.0), 0.5);
        assert_eq!(Shades::of(&[0.0]).unwrap().along(0.0), 0.0);
        assert!(Shades::of(&[]).is_none());
    }
}
