//! The comparison of several runs.

use slimclr_run::event::Evaluated;

use crate::{
    figures::accuracy::Accuracy,
    history::RunHistory,
    plot::legend::Symbol,
    render::{html, widths_table::MEASURES_NOTE},
    report::Report,
    runs::{Run, Runs},
    text::{count, escape, fixed, list, percent, plural, width},
};

/// The name of a measure, and its text for an evaluation that has it.
type Measure = (&'static str, fn(&Evaluated) -> Option<String>);

const ACCURACIES: [Measure; 5] = [
    ("kNN (%)", |evaluated| Accuracy::knn(evaluated).map(Accuracy::text)),
    ("Switchable probe (%)", |evaluated| tops(evaluated.probes()[0])),
    ("Slimmable probe (%)", |evaluated| tops(evaluated.probes()[1])),
    ("Ridge probe (%)", |evaluated| tops(evaluated.probes()[2])),
    ("Trained classifier (%)", |evaluated| tops(evaluated.own_classifier())),
];

/// Measures that need no labels.
const WITHOUT_LABELS: [Measure; 4] = [
    ("RankMe", |evaluated| evaluated.rankme.map(|rank| fixed(rank, 1))),
    ("Alignment", |evaluated| Some(fixed(evaluated.views?.alignment, 2))),
    ("Uniformity", |evaluated| Some(fixed(evaluated.views?.uniformity, 2))),
    ("Mean cosine: views of one image / of different images", |evaluated| {
        let views = evaluated.views?;
        Some(format!("{}\u{a0}/ {}", fixed(views.cosine_same_image, 2), fixed(views.cosine_different_images, 2)))
    }),
];

fn tops(tops: Option<[f64; 2]>) -> Option<String> {
    tops.map(|[top1, top5]| format!("{}\u{a0}/ {}", percent(top1), percent(top5)))
}

/// Returns the comparison as an HTML document.
pub fn document(reports: &[Report]) -> String {
    let runs = Runs::new(reports);
    let not_started = match runs.not_started.as_slice() {
        [] => String::new(),
        names => {
            html::missing(&format!("Not in this report, because events.jsonl has no `started` event: {}.", list(names)))
        }
    };
    let names: Vec<String> = runs.all.iter().map(|run| run.name.into()).collect();
    let title = format!("{} compared", plural(runs.all.len() as u64, "run"));
    let body = format!(
        r#"<section><p class="lead">{}.</p>{not_started}{}</section>
{}
{}"#,
        escape(&list(&names)),
        accuracies(&runs),
        without_labels(&runs),
        html::interference(&runs)
    );
    html::document(&title, "several", runs.widths.len(), &body)
}

/// Returns a table for each accuracy that any run has, and says which runs have none.
fn accuracies(runs: &Runs) -> String {
    let tables: String = ACCURACIES.iter().filter_map(|measure| table(runs, measure, true)).collect();
    let without = runs.all.iter().filter_map(|run| Some((run.name, run.history.no_accuracy()?)));
    let without: String =
        without.map(|(name, reason)| html::missing(&format!("{name} has no accuracy, because {reason}."))).collect();
    if tables.is_empty() && without.is_empty() {
        return html::missing("No width of any run was evaluated after training.");
    }
    if tables.is_empty() {
        return without;
    }
    format!(
        r#"{tables}{without}<p class="note">Accuracy on the test images, at each width’s last evaluation that has it; the
best run of each width is bold. kNN is a vote of the nearest training images, ± one standard error. Probes and
classifiers: top-1 / top-5; the ridge probe is solved in closed form.</p>"#
    )
}

/// Returns a table for each measure without labels that any run has; empty if there is none.
fn without_labels(runs: &Runs) -> String {
    let tables: String = WITHOUT_LABELS.iter().filter_map(|measure| table(runs, measure, false)).collect();
    if tables.is_empty() {
        return tables;
    }
    format!(
        r#"<section><h2>Measures without labels</h2>{tables}<p class="note">{MEASURES_NOTE} Uniformity and cosines of
networks with different embedding dimensions are not comparable.</p></section>"#
    )
}

/// Returns the table of a measure, with a row for each run and a column for each width; `None` if no run has it. If
/// `marks_best`, the highest numbers are bold.
fn table(runs: &Runs, (name, measure): &Measure, marks_best: bool) -> Option<String> {
    let last = |history: &RunHistory, width: f64| {
        let evaluations = history.evaluations(width).into_iter();
        evaluations.rev().filter(|evaluated| evaluated.step > 0).find_map(measure)
    };
    let value = |run: &Run, width: f64| last(&run.history, width);
    let has_value = |run: &&Run| runs.widths.iter().any(|width| value(run, *width).is_some());
    let measured: Vec<&Run> = runs.all.iter().filter(has_value).collect();
    // Compared as shown, rounded to one decimal, so that equal numbers are both bold.
    let number = |run: &Run, width: f64| -> Option<f64> {
        value(run, width)?.split_whitespace().next()?.parse().ok().filter(|number: &f64| number.is_finite())
    };
    let best = |width: f64| measured.iter().filter_map(|run| number(run, width)).max_by(f64::total_cmp);
    let heads: String = runs
        .widths
        .iter()
        .enumerate()
        .map(|(index, value)| format!(r#"<th scope="col">{}{}</th>"#, Symbol::Width(index).swatch(), width(*value)))
        .collect();
    let rows: String = measured
        .iter()
        .map(|run| {
            let cells: String = runs
                .widths
                .iter()
                .map(|width| match value(run, *width) {
                    None => "<td>–</td>".into(),
                    Some(cell) if marks_best && number(run, *width) == best(*width) => {
                        format!("<td><b>{cell}</b></td>")
                    }
                    Some(cell) => format!("<td>{cell}</td>"),
                })
                .collect();
            format!(
                r#"<tr><th scope="row">{}</th><td>{}</td>{cells}</tr>"#,
                escape(run.name),
                count(run.history.steps_taken)
            )
        })
        .collect();
    (!measured.is_empty()).then(|| {
        format!(
            r#"<div class="scroll" role="region" aria-label="{name}" tabindex="0"><table><caption>{name}</caption>
<thead><tr><th scope="col">Run</th><th scope="col">Steps</th>{heads}</tr></thead>
<tbody>{rows}</tbody>
</table></div>"#
        )
    })
}
