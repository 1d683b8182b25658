//! The report of one run.

use slimclr_network::encoder::BackboneKind;
use slimclr_run::{config::Config, event::Step, method::MethodKind};

use crate::{
    figures::{
        accuracy::accuracy_over_training,
        accuracy_by_cost::{accuracy_by_cost, probes_by_cost},
        learned_nothing,
        losses::losses,
        measures::measures_over_training,
    },
    history::{End, RunHistory},
    render::{html, neighbours, widths_table},
    report::{Neighbours, Report},
    runs::Runs,
    text::{count, duration, escape, fixed, list, percent, plural, width},
};

/// Share of the time spent waiting for images from which on it is mentioned.
const WAITS: f64 = 0.1;
/// Steps at the start that do not count for it.
const FIRST_STEPS: usize = 10;

/// Returns the report of one run as an HTML document.
pub fn document(report: &Report) -> String {
    let runs = Runs::new(std::slice::from_ref(report));
    let body = match runs.all.as_slice() {
        [run] => body(&runs, &run.history, &report.neighbours),
        _ => html::missing("events.jsonl has no `started` event, so there is nothing to draw."),
    };
    html::document(&report.name, "one", runs.widths.len(), &body)
}

fn body(runs: &Runs, history: &RunHistory, neighbours: &[Neighbours]) -> String {
    let section = |heading, figure| html::section(heading, &[figure]);
    let mut sections = vec![headline(history)];
    if history.no_accuracy().is_none() {
        sections.extend([
            section("Accuracy against cost", accuracy_by_cost(history)),
            section("Linear probes", probes_by_cost(history)),
            section("Accuracy over training", accuracy_over_training(runs)),
        ]);
    }
    sections.extend([
        measures(runs, history),
        html::section("Loss of each width", &losses(runs)),
        html::interference(runs),
        neighbours::section(history, neighbours),
        configuration(history.config),
    ]);
    sections.join("\n")
}

fn measures(runs: &Runs, history: &RunHistory) -> String {
    let table = widths_table::measures(history).unwrap_or_default();
    let figure = html::elements(&[measures_over_training(runs)]);
    format!("<section><h2>Measures without labels</h2>{table}{figure}</section>")
}

fn headline(history: &RunHistory) -> String {
    let findings = findings(history).map(|text| format!("<p>{}</p>", escape(&text))).unwrap_or_default();
    let collapse = history.collapse.map(|(step, sign)| {
        format!("<p><b>The run has collapsed.</b> After {}: {}.</p>", plural(step, "step"), escape(&sign.to_string()))
    });
    let collapse = collapse.unwrap_or_default();
    format!(
        r#"<section><p class="lead">{}</p>{collapse}{findings}{}</section>"#,
        escape(&what_was_trained(history)),
        widths_table::table(history)
    )
}

fn what_was_trained(history: &RunHistory) -> String {
    let started = history.started;
    let config = &started.config;
    let depth = config.depth;
    let backbone = match config.backbone {
        BackboneKind::Cifar => format!("A CIFAR ResNet-{depth}"),
        BackboneKind::Resnet => format!("A ResNet-{depth}"),
        BackboneKind::ResnetCifarStem => format!("A ResNet-{depth} with a stem for small images"),
        kind @ (BackboneKind::EfficientnetB0 | BackboneKind::EfficientnetB1) => format!("An {}", kind.name()),
        kind @ (BackboneKind::TfEfficientnetB0 | BackboneKind::TfEfficientnetB1) => kind.name().into(),
        kind @ BackboneKind::MobilenetV3Large => format!("A {}", kind.name()),
    };
    let channels = match config.multiplier {
        1.0 => String::new(),
        n => format!(" with {n} times the channels"),
    };
    let widths: Vec<String> = history.widths().iter().copied().map(width).collect();
    let at_widths = match widths.len() {
        1 => format!("at width {}", list(&widths)),
        _ => format!("at widths {}", list(&widths)),
    };
    let (taken, steps) = (count(history.steps_taken), plural(started.steps, "step"));
    let epochs = match started.steps_per_epoch {
        0 => None,
        per_epoch => Some(format!("{:.1} epochs", history.steps_taken as f64 / per_epoch as f64)),
    };
    let resumed = match history.resumed {
        0 => None,
        1 => Some("resumed once".into()),
        n => Some(format!("resumed {n} times")),
    };
    let details: Vec<String> = epochs.into_iter().chain(resumed).collect();
    let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
    let progress = match history.end {
        _ if history.steps_taken == 0 => format!("It took none of {steps}"),
        End::Finished(seconds) if !seconds.is_finite() => {
            format!("It took all {taken} steps{details}")
        }
        End::Finished(seconds) if history.resumed > 0 => {
            // The time before the resumption is not recorded.
            format!("It took {taken} steps{details}, the last part in {}", duration(seconds))
        }
        End::Finished(seconds) => format!("It took {taken} steps{details} in {}", duration(seconds)),
        End::Stopped => format!("It was stopped after {taken} of {steps}{details}"),
        End::Unfinished => format!("It has taken {taken} of {steps}{details}"),
    };
    let trained = match started.config.method {
        MethodKind::Mocov2 => "pre-trained by MoCo v2 without labels",
        MethodKind::Mocov3 => "pre-trained by MoCo v3 without labels",
        MethodKind::Simclr => "pre-trained by SimCLR without labels",
        MethodKind::Supervised => "trained with labels",
        MethodKind::Seed => "distilled from a teacher by SEED without labels",
        MethodKind::Kd => "distilled from a teacher by matching its outputs (KD)",
        MethodKind::Disco => "distilled from a teacher by DisCo without labels",
        MethodKind::Bingo => "distilled from a teacher by BINGO without labels",
        MethodKind::Compress => "distilled from a teacher by CompRess without labels",
        MethodKind::Simdis if started.config.needs_teacher() || started.config.online_teacher => {
            "distilled from a teacher by SimDis without labels"
        }
        MethodKind::Simdis => "pre-trained by BYOL without labels",
        MethodKind::Swav => "pre-trained by SwAV without labels",
    };
    format!(
        "{backbone}{channels} {at_widths} was {trained} on {}. {progress} on {}.{}",
        plural(started.images as u64, "image"),
        started.device,
        waited(history)
            .map(|share| format!(" It waited for images {} % of the time.", percent(share)))
            .unwrap_or_default(),
    )
}

/// Returns the share of the steps' time that was spent waiting for images, if it is worth a word.
fn waited(history: &RunHistory) -> Option<f64> {
    // A step's time is proportional to this.
    let time = |step: &Step| 1.0 / step.images_per_second;
    // The first batches have not been made in advance.
    let measured = || history.steps.iter().skip(FIRST_STEPS).filter_map(|step| Some((time(step), step.waited?)));
    let (waiting, all) =
        measured().fold((0.0, 0.0), |(waiting, all), (time, waited)| (waiting + time * waited, all + time));
    Some(waiting / all).filter(|share| *share > WAITS)
}

/// Compares the full and the narrowest network by their accuracy or, without labels, says how the full network's
/// embeddings have changed; `None` if they were not evaluated after training.
fn findings(history: &RunHistory) -> Option<String> {
    if history.no_accuracy().is_some() { cosines(history) } else { accuracies(history) }
}

fn accuracies(history: &RunHistory) -> Option<String> {
    let [full, .., narrowest] = history.widths() else {
        return None;
    };
    let [of_full, of_narrowest] = [history.after(*full)?.knn?, history.after(*narrowest)?.knn?];
    let macs = |width: f64| history.started.profile.iter().find(|p| p.width == width).map(|p| p.macs as f64);
    let share = macs(*narrowest)? / macs(*full)?;
    [of_full, of_narrowest, share].iter().all(|x| x.is_finite()).then(|| {
        format!(
            "Width {} classifies {} % of the test images correctly with {} % of the multiply-accumulates \
             of the full network, which classifies {} %.",
            width(*narrowest),
            percent(of_narrowest),
            percent(share),
            percent(of_full),
        )
    })
}

fn cosines(history: &RunHistory) -> Option<String> {
    let evaluations = |width: &f64| Some((history.before(*width)?, history.after(*width)?));
    let (before, after) = evaluations(history.widths().first()?)?;
    let [from, to] = [before.views?, after.views?];
    let all = history.widths().iter().filter_map(evaluations);
    let warnings = all.filter_map(|(before, after)| learned_nothing(before, after));
    let sentence = format!(
        "In the full network’s embedding, two views of one image have a mean cosine of {}, views of different images {}. \
         Before training, these were {} and {}.",
        fixed(to.cosine_same_image, 2),
        fixed(to.cosine_different_images, 2),
        fixed(from.cosine_same_image, 2),
        fixed(from.cosine_different_images, 2),
    );
    Some(std::iter::once(sentence).chain(warnings).collect::<Vec<_>>().join(" "))
}

fn configuration(config: &Config) -> String {
    let options = match toml::to_string(config) {
        Ok(options) => format!("<pre>{}</pre>", escape(&options)),
        Err(error) => html::missing(&format!("The options cannot be written as TOML: {error}.")),
    };
    format!("<section><details><summary><h2>Configuration</h2></summary>{options}</details></section>")
}
