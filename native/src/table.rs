//! The result of a run as text: a row for each width.

use std::iter;

use slimclr_core::{
    event::{Evaluated, Event, LossMonitor, NoAccuracy, Started},
    profile::Profile,
};
use slimclr_report::{fixed, learned_nothing};

use crate::terminal::{aligned, count};

/// A column: its head, and the text of a width's cell if there is a value.
type Column = (&'static str, fn(&Row) -> Option<String>);

const COST: [Column; 3] = [
    ("width", |row| Some(row.cost.width.to_string())),
    ("params", |row| Some(count(row.cost.parameters))),
    ("MACs", |row| Some(count(row.cost.macs))),
];

const ACCURACIES: [Column; 5] = [
    ("kNN before", |row| row.before.and_then(knn)),
    ("kNN after", |row| row.after.and_then(knn)),
    ("switchable probe", |row| row.probes()[0].map(two_percentages)),
    ("slimmable probe", |row| row.probes()[1].map(two_percentages)),
    ("ridge probe", |row| row.probes()[2].map(two_percentages)),
];

/// Measures that need no labels.
const MEASURES: [Column; 5] = [
    ("\nRankMe", |row| row.change(1, |it| it.rankme)),
    ("\nspread", |row| row.change(3, |it| it.views?.spread)),
    ("\nuniformity", |row| row.change(2, |it| Some(it.views?.uniformity))),
    ("cosine,\nsame image", |row| row.change(2, |it| Some(it.views?.cosine_same_image))),
    ("cosine,\ndifferent images", |row| row.change(2, |it| Some(it.views?.cosine_different_images))),
];

/// Steps at a run's end whose losses are averaged.
const LAST_STEPS: usize = 100;

/// A quantity of a loss, if the method has it.
type Quantity = fn(&LossMonitor) -> Option<f32>;

/// A column of the table of losses: its head, what it shows, and how it is written.
type LossColumn = (&'static str, Quantity, fn(f64) -> String);

const LOSSES: [LossColumn; 6] = [
    ("loss,\nnats", |it| it.cross_entropy, |value| fixed(value, 3)),
    ("\ntop-1", |it| it.top1, percentage),
    ("\ntop-5", |it| it.top5, percentage),
    ("divergence from\nwider networks", |it| it.divergence, |value| fixed(value, 3)),
    ("divergence from\nthe teacher", |it| it.teacher_divergence, |value| fixed(value, 3)),
    ("\ncosine", |it| it.cosine, |value| fixed(value, 3)),
];

/// What is known of one width.
struct Row<'a> {
    cost: &'a Profile,
    before: Option<&'a Evaluated>,
    after: Option<&'a Evaluated>,
    /// All probes are those of one evaluation, so that they are comparable.
    probed: Option<&'a Evaluated>,
    classifier: Option<[f64; 2]>,
}

impl<'a> Row<'a> {
    fn new(cost: &'a Profile, events: &'a [Event]) -> Self {
        let evaluations = || {
            events.iter().filter_map(|event| match event {
                Event::Evaluated(evaluated) if evaluated.width == cost.width => Some(evaluated),
                _ => None,
            })
        };
        Self {
            cost,
            before: evaluations().find(|it| it.step == 0),
            after: evaluations().rfind(|it| it.step > 0),
            probed: evaluations().rfind(|it| it.was_probed()),
            classifier: evaluations().filter_map(Evaluated::own_classifier).next_back(),
        }
    }

    fn probes(&self) -> [Option<[f64; 2]>; 3] {
        self.probed.map(Evaluated::probes).unwrap_or_default()
    }

    /// Formats a measure before and after training, as far as it was measured.
    fn change(&self, decimals: usize, measure: impl Fn(&Evaluated) -> Option<f64>) -> Option<String> {
        let [before, after] =
            [self.before, self.after].map(|evaluated| evaluated.and_then(&measure).map(|value| fixed(value, decimals)));
        match (before, after) {
            (None, None) => None,
            (None, Some(after)) => Some(after),
            (Some(before), after) => Some(format!("{before} → {}", after.unwrap_or_else(|| "-".into()))),
        }
    }

    /// Returns why the latest evaluation has no accuracy.
    fn no_accuracy(&self) -> Option<NoAccuracy> {
        self.after.or(self.before)?.no_accuracy
    }

    fn has_accuracy(&self) -> bool {
        ACCURACIES.iter().any(|(_, cell)| cell(self).is_some())
    }
}

/// Formats the tables of a run; empty if it never started.
pub fn of_run(events: &[Event]) -> String {
    let Some(started) = Event::latest_start(events) else { return String::new() };
    let evaluations = of_evaluations(&started.profile, events);
    [Some(evaluations), of_losses(started, events)].into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

/// Formats what the losses of the last steps consist of, and chance level; `None` if nothing was reported.
fn of_losses(started: &Started, events: &[Event]) -> Option<String> {
    let config = &started.config;
    let (losses, steps) = last_losses(config.widths.len(), events);
    let has_value = |(_, value, _): &&LossColumn| losses.iter().any(|monitor| value(monitor).is_some());
    let columns: Vec<&LossColumn> = LOSSES.iter().filter(has_value).collect();
    let heads: Vec<&str> = iter::once("\nwidth").chain(columns.iter().map(|(head, ..)| *head)).collect();
    let row = |name: String, values: &dyn Fn(Quantity) -> Option<f64>| {
        let cell = |(_, value, text): &&LossColumn| values(*value).map_or_else(|| "-".into(), text);
        iter::once(name).chain(columns.iter().map(cell)).collect::<Vec<String>>()
    };
    let of_width =
        |(width, monitor): (&f64, &LossMonitor)| row(width.to_string(), &|value| value(monitor).map(f64::from));
    let mut rows: Vec<_> = config.widths.iter().zip(&losses).map(of_width).collect();
    let has_choice = columns.iter().any(|(_, value, _)| value(&LossMonitor::of_guess(2)).is_some());
    let mut note = format!("means of the last {steps} steps, without weights");
    if let Some(guess) = config.candidates().map(LossMonitor::of_guess).filter(|_| has_choice) {
        rows.push(row("chance".into(), &|value| value(&guess).map(f64::from)));
        note += match config.method.has_classes() {
            true => "; top-1: how often the class has the highest score",
            false => "; top-1: how often the positive is most similar",
        };
    }
    (heads.len() > 1).then(|| format!("{}\n{note}", aligned(&heads, &rows)))
}

/// Returns what the loss of each of `widths` widths consisted of in the last steps, 100 if there are as many: means, and
/// the number of steps.
pub fn last_losses(widths: usize, events: &[Event]) -> (Vec<LossMonitor>, usize) {
    let steps = events.iter().rev().filter_map(|event| match event {
        Event::Step(step) => Some(step),
        _ => None,
    });
    let steps: Vec<_> = steps.take(LAST_STEPS).collect();
    let of_width = |width| LossMonitor::mean(steps.iter().filter_map(move |step| step.monitors.get(width)));
    ((0..widths).map(of_width).collect(), steps.len())
}

/// Formats the costs of the widths and the results of their evaluations among `events`: accuracies, and measures that
/// need no labels.
pub fn of_evaluations(profile: &[Profile], events: &[Event]) -> String {
    let rows: Vec<Row> = profile.iter().map(|cost| Row::new(cost, events)).collect();
    let no_accuracy = rows.iter().find_map(Row::no_accuracy).filter(|_| !rows.iter().any(Row::has_accuracy));
    let has_measures = rows.iter().any(|row| MEASURES.iter().any(|(_, cell)| cell(row).is_some()));
    let arrow = rows.iter().any(|row| row.before.is_some()).then_some("before → after training");
    let mut lines = Vec::new();
    if let Some(reason) = no_accuracy {
        lines.push(columns(&[&COST[..], &MEASURES].concat(), &rows));
        lines.extend(arrow.map(String::from));
        lines.push(format!("no kNN and no probes: {reason}"));
    } else {
        lines.push(columns(&[&COST[..], &ACCURACIES].concat(), &rows));
        if rows.iter().any(|row| row.probed.is_some()) {
            lines.push("probes: top-1 / top-5".into());
        }
    }
    lines.extend(rows.iter().filter_map(|row| learned_nothing(row.before?, row.after?)));
    let classifiers =
        rows.iter().filter_map(|row| Some(format!("{} at {}", two_percentages(row.classifier?), row.cost.width)));
    let classifiers: Vec<String> = classifiers.collect();
    if !classifiers.is_empty() {
        lines.push(format!("the network's own classifier, top-1 / top-5: {}", classifiers.join(", ")));
    }
    let nearest =
        rows.iter().filter_map(|row| Some(format!("{:.1}% at {}", 100.0 * row.probed?.nearest?, row.cost.width)));
    let nearest: Vec<String> = nearest.collect();
    if !nearest.is_empty() {
        lines.push(format!("1-NN: {}", nearest.join(", ")));
    }
    if no_accuracy.is_none() && has_measures {
        lines.extend([String::new(), columns(&[&COST[..1], &MEASURES].concat(), &rows)]);
        lines.extend(arrow.map(String::from));
    }
    lines.join("\n")
}

/// Formats one line about an evaluation.
pub fn line(evaluated: &Evaluated) -> String {
    let Evaluated { epoch, width, rankme, views, no_accuracy, .. } = evaluated;
    let accuracy = match no_accuracy {
        Some(NoAccuracy::NoLabels) => None,
        Some(reason) => Some(format!("no kNN: {reason}")),
        None => knn(evaluated).map(|knn| format!("kNN {knn}")),
    };
    let classifier = evaluated.classifier.map(|top1| format!("classifier {:.1}%", 100.0 * top1));
    let rank = rankme.map(|rank| format!("RankMe {rank:.1}"));
    let cosines = views.map(|views| {
        let [same, different] = [views.cosine_same_image, views.cosine_different_images];
        format!("cosine {} same image, {} different images", fixed(same, 2), fixed(different, 2))
    });
    let parts =
        [Some(format!("epoch {epoch:.1}  width {width}")), classifier, accuracy, rank, cosines].into_iter().flatten();
    parts.collect::<Vec<_>>().join("  ")
}

fn columns(columns: &[Column], rows: &[Row]) -> String {
    let heads: Vec<&str> = columns.iter().map(|(head, _)| *head).collect();
    let text = |row| columns.iter().map(|(_, cell)| cell(row).unwrap_or_else(|| "-".into())).collect::<Vec<_>>();
    aligned(&heads, &rows.iter().map(text).collect::<Vec<_>>())
}

fn knn(evaluated: &Evaluated) -> Option<String> {
    let [knn, error] = evaluated.knn_with_error()?.map(|fraction| 100.0 * fraction);
    // So that a line has at most 100 characters.
    let decimals = if error < 9.95 { 1 } else { 0 };
    Some(format!("{knn:.1} ± {error:.decimals$}%"))
}

fn percentage(fraction: f64) -> String {
    format!("{:.1}%", 100.0 * fraction)
}

fn two_percentages([top1, top5]: [f64; 2]) -> String {
    format!("{:.1} / {:.1}%", 100.0 * top1, 100.0 * top5)
}

#[cfg(test)]
mod tests {
    use slimclr_core::{
        config::Config,
        event::{Step, ViewMeasures},
    };

    use super::*;

    fn costs() -> [Profile; 2] {
        [1.0, 0.25].map(|width| Profile { width, parameters: 25_557_032, macs: 4_089_184_256, stages: Vec::new() })
    }

    fn evaluated(step: u64, width: f64, knn: Option<f64>) -> Evaluated {
        Evaluated { step, width, knn, knn_standard_error: knn.map(|_| 0.01), ..Default::default() }
    }

    fn with_views(evaluated: Evaluated, cosine_same_image: f64) -> Evaluated {
        let views = ViewMeasures {
            alignment: 2.0 - 2.0 * cosine_same_image,
            uniformity: -2.125,
            cosine_same_image,
            cosine_different_images: -0.125,
            spread: Some(0.0625 * cosine_same_image),
            prototypes: None,
        };
        Evaluated { rankme: Some(123.45), views: Some(views), ..evaluated }
    }

    #[track_caller]
    fn assert_fits(table: &str) {
        assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    }

    #[test]
    fn the_table_shows_the_probes_of_one_evaluation_within_100_columns() {
        let probed = Evaluated {
            probe: Some(0.361),
            probe_top5: Some(0.852),
            probe_slimmable: Some(0.3),
            probe_slimmable_top5: Some(0.8),
            nearest: Some(0.25),
            ..evaluated(9, 1.0, Some(0.3))
        };
        let after = with_views(evaluated(12, 1.0, Some(0.4)), 0.75);
        let events = [with_views(evaluated(0, 1.0, Some(0.2)), 0.5), probed, after].map(Event::Evaluated);
        let table = of_evaluations(&costs(), &events);
        assert_fits(&table);
        let lines: Vec<&str> = table.lines().collect();
        assert!(
            lines[2].contains("20.0 ± 1.0%  40.0 ± 1.0%      36.1 / 85.2%     30.0 / 80.0%            -"),
            "{table}"
        );
        assert_eq!(lines[4], "probes: top-1 / top-5");
        assert_eq!(lines[5], "1-NN: 25.0% at 1");
        assert!(
            lines[10].contains("123.5 → 123.5  0.031 → 0.047  -2.12 → -2.12  0.50 → 0.75     -0.12 → -0.12"),
            "{table}"
        );
    }

    #[test]
    fn a_table_without_accuracies_has_the_other_measures_and_the_reason() {
        let of = |step, cosine| {
            let unlabelled = Evaluated { no_accuracy: Some(NoAccuracy::NoLabels), ..evaluated(step, 1.0, None) };
            Event::Evaluated(with_views(unlabelled, cosine))
        };
        let table = of_evaluations(&costs(), &[of(0, 0.5), of(9, 0.52)]);
        assert_fits(&table);
        assert!(!table.contains("kNN before") && !table.contains('%'), "{table}");
        assert!(table.contains("0.50 → 0.52") && table.contains("4.09 G"), "{table}");
        assert!(table.contains("before → after training\nno kNN and no probes: the images have no labels"), "{table}");
        assert!(table.contains("Width 1.0 learned nothing"), "{table}");
        assert!(!of_evaluations(&costs(), &[of(0, 0.5), of(9, 0.75)]).contains("learned nothing"));
        assert!(!of_evaluations(&costs(), &[of(9, 0.75)]).contains('→'));
    }

    #[test]
    fn the_losses_of_the_last_steps_are_beside_chance_level() {
        let config = Config { widths: vec![1.0, 0.25], queue: 4096, ..Config::cifar10() };
        let started = Event::Started(Box::new(Started {
            config,
            device: "CPU".into(),
            images: 5000,
            normalisation: None,
            step: 0,
            steps: 101,
            steps_per_epoch: 101,
            slow_start_step: 1,
            queue_filled_step: None,
            ranks: 1,
            profile: Vec::new(),
        }));
        let full = |top1| LossMonitor { cross_entropy: Some(5.5), top1: Some(top1), ..LossMonitor::default() };
        let narrow = LossMonitor { divergence: Some(0.25), ..full(0.125) };
        let step = |monitors| Event::Step(Step { monitors, ..Step::default() });
        let mut events = vec![started, step(vec![full(1.0), LossMonitor::default()])];
        assert!(of_run(&events[..1]).lines().all(|line| !line.contains("chance")));
        events.extend((0..LAST_STEPS).map(|number| step(vec![full((number % 2) as f32), narrow])));
        let table = of_run(&events);
        assert_fits(&table);
        let lines: Vec<&str> = table.lines().rev().take(6).collect();
        assert_eq!(
            lines[0],
            "means of the last 100 steps, without weights; top-1: how often the positive is most similar"
        );
        for (line, expected) in
            [(1, "chance  8.318   0.0%                -"), (2, "0.25  5.500  12.5%            0.250")]
        {
            assert!(lines[line].trim_start().starts_with(expected), "{table}");
        }
        assert!(lines[3].trim_start().starts_with("1  5.500  50.0%                -"), "{table}");
    }

    #[test]
    fn a_line_names_the_reason_only_where_it_is_news() {
        let at = |knn, no_accuracy| line(&Evaluated { no_accuracy, ..evaluated(3, 0.5, knn) });
        assert_eq!(at(Some(0.25), None), "epoch 0.0  width 0.5  kNN 25.0 ± 1.0%");
        let few = Evaluated { knn: Some(1.0), knn_standard_error: Some(0.1), ..Default::default() };
        assert_eq!(knn(&few).unwrap(), "100.0 ± 10%");
        assert_eq!(
            at(None, Some(NoAccuracy::OneTestClass)),
            "epoch 0.0  width 0.5  no kNN: all test images are of one class"
        );
        let unlabelled = Evaluated { no_accuracy: Some(NoAccuracy::NoLabels), ..evaluated(3, 0.5, None) };
        let line = line(&with_views(unlabelled, 0.75));
        assert_eq!(line, "epoch 0.0  width 0.5  RankMe 123.5  cosine 0.75 same image, -0.12 different images");
    }
}
