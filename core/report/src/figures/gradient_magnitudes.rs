//! Gradient norms of the widths (paper figure 3).

use crate::{
    figures::is_positive,
    plot::{
        axes::Axis,
        figure::{Figure, Missing},
        frame::{PANEL_LABELLED, WIDE},
        legend::{LegendItem, Symbol, widths_legend},
        scale::Scale,
        training_curve::{Curve, CurvePanels, Curves, changes_note, omitted, over_training, smoothing_note},
    },
    runs::Runs,
    text::{plural, width},
};

/// Draws the gradient norms on the weights of each width, and on those of the full network that the narrowest width
/// does not use (paper figure 3).
///
/// # Errors
/// If no positive gradient norm is recorded.
pub fn gradient_magnitudes(runs: &Runs) -> Result<Figure, Missing> {
    const NO_NORMS: &str = "no gradient norms are recorded";
    let curves = runs.all.iter().map(|run| {
        let widths = run.history.widths();
        let mut curves: Vec<Curve> = widths
            .iter()
            .enumerate()
            .map(|(index, value)| Curve {
                name: width(*value),
                class: format!("w{}", runs.index(*value)),
                points: over_training(run, |at| at.gradient.norms.get(index).copied()),
            })
            .collect();
        if widths.len() > 1 {
            let points = over_training(run, |at| Some(at.gradient.rest));
            curves.push(Curve { name: "rest".into(), class: "plain dashed".into(), points });
        }
        Curves { run, heading: String::new(), curves }
    });
    let curves: Vec<Curves> = curves.filter(|curves| curves.values().any(is_positive)).collect();
    let values = || curves.iter().flat_map(Curves::values);
    let scale = Scale::logarithmic(values()).ok_or_else(|| runs.all_omitted(NO_NORMS))?;
    let panels = CurvePanels {
        id: "figure3",
        title: "Gradient norms over training",
        frame: if runs.all.len() == 1 { WIDE } else { PANEL_LABELLED },
        y: Axis { title: "Mean gradient norm (l2)".into(), scale },
    };
    let (panels, window) = panels.draw(runs, &curves);
    let mut legend = widths_legend(&runs.widths);
    let mut caption = String::from(
        "The l2 norm of the gradient on the weights that each width uses, averaged over convolution and linear layers \
         (logarithmic axis).",
    );
    if curves.iter().any(|curves| curves.run.history.widths().len() > 1) {
        legend.push(LegendItem::new(Symbol::Line("plain dashed"), "rest, θ(1.0 ∖ min)"));
        caption += " “Rest” are the weights of the full network that the narrowest width does not use. If the narrowest \
                    width is above “rest”, a minority of the weights receives most of the gradient, as in figure 3 of \
                    the paper.";
    }
    caption += &smoothing_note(window);
    let not_drawn = values().filter(|norm| !is_positive(*norm)).count() as u64;
    let mut notes = Vec::new();
    if not_drawn > 0 {
        notes.push(format!("Zero, NaN or infinite, so not drawn: {}.", plural(not_drawn, "norm")));
    }
    notes.extend(changes_note(runs));
    Ok(Figure { panels, legend, caption, notes, omitted: omitted(runs, &curves, NO_NORMS) })
}
