//! Gradient norms of each width in each stage of the network.

use slimclr_run::{event::Interference, interference::agreement::StageAgreement};

use crate::{
    figures::MEASURE,
    plot::{
        colour,
        drawing::Drawing,
        figure::{Figure, Missing, Panel},
        legend::{LegendItem, Symbol},
        scale::{drawable, min_max},
    },
    runs::{Run, Runs},
    text::{count, escape, significant, width},
};

/// Margins for the names of rows and columns, and the size of a cell, in user units.
const LEFT: f64 = 84.0;
const TOP: f64 = 24.0;
const CELL: [f64; 2] = [72.0, 30.0];

/// The latest measurement of a run that has norms by stage.
struct Latest<'a> {
    name: &'a str,
    label: String,
    widths: &'a [f64],
    at: &'a Interference,
}

impl<'a> Latest<'a> {
    fn of(runs: &Runs<'a>, run: &Run<'a>) -> Option<Self> {
        let measured = run.history.interference.iter().copied();
        let at = measured.rev().find(|at| at.stages.iter().any(|stage| values(stage).next().is_some()))?;
        Some(Self { name: run.name, label: runs.label(run), widths: run.history.widths(), at })
    }

    fn is_incomplete(&self) -> bool {
        self.at.stages.iter().any(|stage| (0..self.widths.len()).any(|index| norm(stage, index).is_none()))
    }
}

/// Returns the norm of a width, or `None` if it is missing or cannot be drawn.
fn norm(stage: &StageAgreement, index: usize) -> Option<f64> {
    stage.norms.get(index).copied().flatten().filter(|norm| *norm >= 0.0 && drawable(*norm))
}

fn values(stage: &StageAgreement) -> impl Iterator<Item = f64> {
    (0..stage.norms.len()).filter_map(|index| norm(stage, index))
}

/// Draws the norm of each width's gradient in each stage, at the latest measurement.
///
/// # Errors
/// If no norms by stage are recorded.
pub fn stage_norms(runs: &Runs) -> Result<Figure, Missing> {
    let not_measured = format!("no gradient norms by stage are recorded; {MEASURE}");
    let latest: Vec<Latest> = runs.all.iter().filter_map(|run| Latest::of(runs, run)).collect();
    let all: Vec<f64> = latest.iter().flat_map(|latest| &latest.at.stages).flat_map(values).collect();
    let Some(colours) = LogColours::of(&all) else { return Err(runs.all_omitted(&not_measured)) };
    let panel = |(number, latest): (usize, &Latest)| {
        let after = format!("after step {}", count(latest.at.step));
        Panel::new(latest.label.as_str(), after, Ok(table(latest, &colours, &format!("stages-{number}"))))
    };
    let mut legend = colours.legend();
    if latest.iter().any(Latest::is_incomplete) {
        legend.push(LegendItem::new(Symbol::NoValue, "not trained"));
    }
    Ok(Figure {
        panels: latest.iter().enumerate().map(panel).collect(),
        legend,
        caption: "The l2 norm of each width’s own gradient on the weights that it uses in each stage, at the latest \
                  measurement (logarithmic colours). A narrow width with a larger norm than the full network dominates \
                  the shared weights."
            .into(),
        notes: Vec::new(),
        omitted: runs.omitted(|run| latest.iter().any(|latest| latest.name == run.name), &not_measured),
    })
}

/// A logarithmic colour scale.
struct LogColours {
    low: f64,
    high: f64,
}

impl LogColours {
    /// A scale from the smallest to the largest positive one of `values`; `None` if there are no values.
    fn of(values: &[f64]) -> Option<Self> {
        let positive = values.iter().copied().filter(|value| *value > 0.0);
        let (low, high) = min_max(positive).unwrap_or((1.0, 1.0));
        (!values.is_empty()).then_some(Self { low, high })
    }

    /// Returns the position of `value`, from 0 to 1.
    fn position(&self, value: f64) -> f64 {
        // A difference of logarithms, because the quotient may overflow.
        match self.high.ln() - self.low.ln() {
            _ if value <= 0.0 => 0.0,
            0.0 => 0.5,
            span => (value.ln() - self.low.ln()) / span,
        }
    }

    fn legend(&self) -> Vec<LegendItem> {
        let mut values = vec![self.low];
        if self.low < self.high {
            values.extend([self.low.sqrt() * self.high.sqrt(), self.high]);
        }
        let item =
            |value: f64| LegendItem::new(Symbol::Cell(colour::sequential(self.position(value))), significant(value));
        values.into_iter().map(item).collect()
    }
}

/// Draws a table with a row for each stage and a column for each width.
fn table(latest: &Latest, colours: &LogColours, id: &str) -> Drawing {
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
        let mut norms = Vec::new();
        for (column, value) in latest.widths.iter().enumerate() {
            let norm = norm(stage, column);
            marks += &cell([LEFT + column as f64 * across, top], norm, colours);
            norms.push(format!("{} {}", width(*value), norm.map_or("not trained".into(), significant)));
        }
        description += &format!("{}: {}. ", stage.stage, norms.join(", "));
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

fn cell([left, top]: [f64; 2], norm: Option<f64>, colours: &LogColours) -> String {
    let [across, down] = CELL;
    let (x, y) = (left + across / 2.0, top + down / 2.0);
    let outline = format!("M{left:.1},{top:.1}h{:.1}v{:.1}h-{:.1}z", across - 2.0, down - 2.0, across - 2.0);
    match norm {
        Some(norm) => {
            let (fill, ink) = colour::sequential_with_text(colours.position(norm));
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
    fn equal_ratios_have_equal_distances_in_colour() {
        let colours = LogColours::of(&[0.01, 1.0, 0.0]).unwrap();
        assert_eq!(
            [0.0, 0.01, 0.1, 1.0].map(|value| (colours.position(value) * 1e6).round() / 1e6),
            [0.0, 0.0, 0.5, 1.0]
        );
        assert_eq!(LogColours::of(&[3.0]).unwrap().position(3.0), 0.5);
        assert_eq!(LogColours::of(&[0.0]).unwrap().position(0.0), 0.0);
        assert!(LogColours::of(&[]).is_none());
    }
}
