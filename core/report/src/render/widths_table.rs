//! The table of a run: cost and accuracy of each width.

use slimclr_run::event::Evaluated;

use crate::{
    figures::accuracy::Accuracy,
    history::RunHistory,
    plot::legend::Symbol,
    text::{compact, count, escape, percent, width},
};

/// Returns a table of the cost and the accuracy of each width.
pub fn table(history: &RunHistory) -> String {
    const DASH: &str = "–";
    let rows = history.widths().iter().enumerate().map(|(index, value)| {
        let profile = history.started.profile.iter().find(|profile| profile.width == *value);
        let (before, after) = (history.before(*value), history.after(*value));
        let accuracy = |evaluated: Option<&Evaluated>| evaluated.map_or(DASH.into(), |e| Accuracy::knn(e).text());
        let [switchable, slimmable, ridge] = after
            .map(Evaluated::probes)
            .unwrap_or_default()
            .map(|tops| tops.map_or(DASH.into(), |[top1, top5]| format!("{}\u{a0}/ {}", percent(top1), percent(top5))));
        let cells = [
            profile.map_or(DASH.into(), |profile| compact(profile.parameters)),
            profile.map_or(DASH.into(), |profile| compact(profile.macs)),
            accuracy(before),
            accuracy(after),
            switchable,
            slimmable,
            ridge,
        ]
        .map(|cell| format!("<td>{cell}</td>"));
        format!(
            r#"<tr><th scope="row">{}{}</th>{}</tr>"#,
            Symbol::Width(index).swatch(),
            escape(&width(*value)),
            cells.concat()
        )
    });
    let rows: String = rows.collect();
    let columns: String = [
        "Width",
        "Parameters",
        "MACs",
        "kNN before (%)",
        "kNN after (%)",
        "Switchable probe (%)",
        "Slimmable probe (%)",
        "Ridge probe (%)",
    ]
    .map(|column| format!(r#"<th scope="col">{column}</th>"#))
    .concat();
    let steps = |at: fn(&RunHistory, f64) -> Option<u64>| {
        let mut steps: Vec<u64> = history.widths().iter().filter_map(|width| at(history, *width)).collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    };
    let after = match steps(|history, width| Some(history.after(width)?.step)).as_slice() {
        [] => "The run has no evaluation after training.".into(),
        [step] => format!("“After” is step {}.", count(*step)),
        [first, .., last] => {
            format!("“After” is each width’s last evaluation, between steps {} and {}.", count(*first), count(*last))
        }
    };
    let before = match steps(|history, width| Some(history.before(width)?.step)).as_slice() {
        [] => " The run has no evaluation before training.",
        _ => " “Before” is the untrained network.",
    };
    format!(
        r#"<div class="scroll" role="region" aria-label="Cost and accuracy of each width" tabindex="0"><table>
<thead><tr>{columns}</tr></thead>
<tbody>{rows}</tbody>
</table></div>
<p class="note">Parameters and multiply-accumulates (MACs, for one image) include the projection head. kNN is a vote
of the {} nearest training images, ± one standard error. Probes are linear classifiers on frozen features, top-1 /
top-5; the ridge probe is solved in closed form. {after}{before}</p>"#,
        count(history.config.knn as u64)
    )
}
