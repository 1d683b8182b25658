//! The tables of a run, with a row for each width: cost and accuracy, and measures that need no labels.

use slimclr_network::profile::Profile;
use slimclr_run::event::Evaluated;

use crate::{
    figures::accuracy::Accuracy,
    history::RunHistory,
    plot::legend::Symbol,
    text::{compact, count, escape, fixed, percent, width},
};

/// A column: its head, and a width's cell if there is a value.
type Column = (&'static str, fn(&Row) -> Option<String>);

const COST: [Column; 2] =
    [("Parameters", |row| Some(compact(row.profile?.parameters))), ("MACs", |row| Some(compact(row.profile?.macs)))];

const ACCURACIES: [Column; 5] = [
    ("kNN before (%)", |row| Some(Accuracy::knn(row.before?)?.text())),
    ("kNN after (%)", |row| Some(format!("<b>{}</b>", Accuracy::knn(row.after?)?.text()))),
    ("Switchable probe (%)", |row| row.probe(0)),
    ("Slimmable probe (%)", |row| row.probe(1)),
    ("Ridge probe (%)", |row| row.probe(2)),
];

const MEASURES: [Column; 6] = [
    ("RankMe", |row| row.change(1, |it| it.rankme)),
    ("Spread", |row| row.change(3, |it| it.views?.spread)),
    ("Alignment", |row| row.change(2, |it| Some(it.views?.alignment))),
    ("Uniformity", |row| row.change(2, |it| Some(it.views?.uniformity))),
    ("Cosine, same image", |row| row.change(2, |it| Some(it.views?.cosine_same_image))),
    ("Cosine, different images", |row| row.change(2, |it| Some(it.views?.cosine_different_images))),
];

/// What the measures are.
pub const MEASURES_NOTE: &str = "RankMe is the effective rank of the training images’ features. The other measures \
    are of embeddings of augmented views. Spread is their mean standard deviation per dimension: 0 if all are equal, at \
    most 1/√d in d dimensions. Alignment is the mean squared distance between two views of an image. Uniformity is 0 if \
    all embeddings are equal, and about -4 if they are spread evenly. Low alignment and low uniformity together mean \
    that the network recognises images by what augmentation keeps.";

/// What is known of one width.
struct Row<'a> {
    index: usize,
    width: f64,
    profile: Option<&'a Profile>,
    before: Option<&'a Evaluated>,
    after: Option<&'a Evaluated>,
}

impl Row<'_> {
    fn probe(&self, number: usize) -> Option<String> {
        let [top1, top5] = self.after?.probes()[number]?;
        Some(format!("{}\u{a0}/ {}", percent(top1), percent(top5)))
    }

    /// Formats a measure before and after training, as far as it was measured.
    fn change(&self, decimals: usize, measure: impl Fn(&Evaluated) -> Option<f64>) -> Option<String> {
        let [before, after] =
            [self.before, self.after].map(|evaluated| evaluated.and_then(&measure).map(|value| fixed(value, decimals)));
        match (before, after) {
            (None, after) => after.map(|after| format!("<b>{after}</b>")),
            (Some(before), None) => Some(format!(r#"<span class="before">{before}</span>"#)),
            (Some(before), Some(after)) => Some(format!(r#"<span class="before">{before} →</span> <b>{after}</b>"#)),
        }
    }
}

/// Returns a table of the cost of each width and its accuracy; without accuracies, of the measures that need no labels,
/// and the reason.
pub fn table(history: &RunHistory) -> String {
    let costs = "Parameters and multiply-accumulates (MACs, for one image) include the projection head.";
    match history.no_accuracy() {
        None => {
            let note = format!(
                "{costs} kNN is a vote of the {} nearest training images, ± one standard error. Probes are linear \
                 classifiers on frozen features, top-1 / top-5; the ridge probe is solved in closed form. {}",
                count(history.config.knn as u64),
                before_and_after(history)
            );
            of_columns(history, "Cost and accuracy of each width", &[&COST[..], &ACCURACIES].concat(), &note)
        }
        Some(reason) => {
            let note = format!(
                "There is no accuracy, because {reason}. {MEASURES_NOTE} {costs} {}{}",
                arrows(history),
                before_and_after(history)
            );
            of_columns(history, "Cost and measures of each width", &[&MEASURES[..], &COST].concat(), &note)
        }
    }
}

/// Returns a table of the measures that need no labels, where [`table`] has accuracies; `None` if there are none.
pub fn measures(history: &RunHistory) -> Option<String> {
    let is_measured = |row: &Row| MEASURES.iter().any(|(_, cell)| cell(row).is_some());
    (history.no_accuracy().is_none() && rows(history).iter().any(is_measured)).then(|| {
        let note = format!("{}{MEASURES_NOTE}", arrows(history));
        of_columns(history, "Measures without labels", &MEASURES, &note)
    })
}

fn rows<'a>(history: &RunHistory<'a>) -> Vec<Row<'a>> {
    let row = |(index, width): (usize, &f64)| Row {
        index,
        width: *width,
        profile: history.started.profile.iter().find(|profile| profile.width == *width),
        before: history.before(*width),
        after: history.after(*width),
    };
    history.widths().iter().enumerate().map(row).collect()
}

fn of_columns(history: &RunHistory, name: &str, columns: &[Column], note: &str) -> String {
    let heads: String = columns.iter().map(|(head, _)| format!(r#"<th scope="col">{head}</th>"#)).collect();
    let row = |row: &Row| {
        let cells: String =
            columns.iter().map(|(_, cell)| format!("<td>{}</td>", cell(row).unwrap_or_else(|| "–".into()))).collect();
        let (swatch, width) = (Symbol::Width(row.index).swatch(), escape(&width(row.width)));
        format!(r#"<tr><th scope="row">{swatch}{width}</th>{cells}</tr>"#)
    };
    let rows: String = rows(history).iter().map(row).collect();
    format!(
        r#"<div class="scroll" role="region" aria-label="{name}" tabindex="0"><table>
<thead><tr><th scope="col">Width</th>{heads}</tr></thead>
<tbody>{rows}</tbody>
</table></div>
<p class="note">{}</p>"#,
        escape(note)
    )
}

/// Says what the arrows in a table of measures show, if it has any.
fn arrows(history: &RunHistory) -> &'static str {
    let is_evaluated_before = history.widths().iter().any(|width| history.before(*width).is_some());
    if is_evaluated_before { "Arrows show the change from before training to after. " } else { "" }
}

/// Says which evaluations are meant by before and after training.
fn before_and_after(history: &RunHistory) -> String {
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
        _ => " “Before” is step 0.",
    };
    format!("{after}{before}")
}
