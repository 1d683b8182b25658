//! The page around the figures.

use slimclr_network::encoder::BackboneKind;
use slimclr_run::{config::Config, event::Evaluated, method::MethodKind};

use crate::{
    Neighbours, Report, colour,
    figure::{self, Accuracy, Figure, Missing, Panel, groups},
    key::{Key, Mark},
    picture, plate,
    record::{End, Record},
    runs::Runs,
    text::{compact, count, duration, escape, list, percent, plural, width},
};

/// The report of one run as an HTML document.
pub fn document(report: &Report) -> String {
    let runs = Runs::read(std::slice::from_ref(report));
    let body = match runs.all.as_slice() {
        [run] => body(&runs, &run.record, &report.neighbours),
        _ => missing("The events hold no beginning of a run, so there is nothing to report."),
    };
    shell(&report.name, "one", runs.widths.len(), &body)
}

/// The page around `body`, titled `name`.
pub fn shell(name: &str, class: &str, widths: usize, body: &str) -> String {
    let name = escape(name);
    // The policy makes the browser itself refuse whatever would not be self-contained.
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" 
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{name} – SlimCLR report</title>
<link rel="icon" href="data:,">
<style>
{}
{}
{}
</style>
</head>
<body class="{class}">
<header><p class="kind">SlimCLR report</p><h1>{name}</h1></header>
<main>
{body}
</main>
</body>
</html>
"#,
        concat!(include_str!("page.css"), include_str!("figure.css"), include_str!("article.css")),
        include_str!("chart.css"),
        colour::rules(widths),
    )
}

fn body(runs: &Runs, record: &Record, neighbours: &[Neighbours]) -> String {
    let section = |heading, figure| section(heading, &[figure]);
    [
        headline(record),
        section("Accuracy against cost", figure::accuracy_by_cost(record)),
        section("Linear probes", figure::probes_by_cost(record)),
        section("Accuracy over training", figure::accuracy_over_training(runs)),
        section("Loss of each width", figure::losses(runs)),
        interference(runs),
        nearest(record, neighbours),
        configuration(record.config),
    ]
    .join("\n")
}

/// How the widths interfered.
pub fn interference(runs: &Runs) -> String {
    plate::interference(runs).map(|plate| section(plate.title, &plate.parts)).join("\n")
}

/// A paragraph about something that is not there.
pub fn missing(reason: &str) -> String {
    format!(r#"<p class="missing">{}</p>"#, escape(reason))
}

fn headline(record: &Record) -> String {
    let findings = findings(record).map(|text| format!("<p>{}</p>", escape(&text))).unwrap_or_default();
    format!(
        r#"<section><p class="lead">{}</p>{findings}{}</section>"#,
        escape(&what_was_trained(record)),
        table(record)
    )
}

fn what_was_trained(record: &Record) -> String {
    let started = record.started;
    let config = &started.config;
    let depth = config.depth;
    let backbone = match config.backbone {
        BackboneKind::Cifar => format!("A CIFAR ResNet-{depth}"),
        BackboneKind::Resnet => format!("A ResNet-{depth}"),
        BackboneKind::EfficientnetB0 => "An EfficientNet-B0".into(),
    };
    let channels = match config.multiplier {
        1.0 => String::new(),
        n => format!(" with {n} times the channels"),
    };
    let widths: Vec<String> = record.widths().iter().copied().map(width).collect();
    let at_widths = match widths.len() {
        1 => format!("at width {}", list(&widths)),
        _ => format!("at widths {}", list(&widths)),
    };
    let (taken, steps) = (count(record.taken), plural(started.steps, "step"));
    let epochs = match started.steps_per_epoch {
        0 => String::new(),
        per_epoch => format!(" ({:.1} epochs)", record.taken as f64 / per_epoch as f64),
    };
    let resumed = match record.resumed {
        0 => String::new(),
        1 => ", resumed once".into(),
        n => format!(", resumed {n} times"),
    };
    let course = match record.end {
        _ if record.taken == 0 => format!("None of {steps} was taken"),
        End::Finished(seconds) if !seconds.is_finite() => {
            format!("It took all {taken} steps{epochs}{resumed}")
        }
        End::Finished(seconds) if record.resumed > 0 => {
            // The seconds before the resumption are in no event.
            format!("It took {taken} steps{epochs}{resumed}, the last part in {}", duration(seconds))
        }
        End::Finished(seconds) => format!("It took {taken} steps{epochs} in {}", duration(seconds)),
        End::Stopped => format!("It was stopped after {taken} of {steps}{epochs}{resumed}"),
        End::Open => format!("Its events end after {taken} of {steps}{epochs}{resumed}"),
    };
    let trained = match started.config.method {
        MethodKind::Mocov2 => "pre-trained by MoCo v2 without labels",
        MethodKind::Mocov3 => "pre-trained by MoCo v3 without labels",
        MethodKind::Simclr => "pre-trained by SimCLR without labels",
        MethodKind::Supervised => "trained with labels",
    };
    format!(
        "{backbone}{channels} {at_widths} was {trained} on {}. {course} on {}.",
        plural(started.images as u64, "image"),
        started.device,
    )
}

/// What the run found, where the full and the narrowest network were evaluated after training.
fn findings(record: &Record) -> Option<String> {
    let [full, .., narrowest] = record.widths() else {
        return None;
    };
    let (of_full, of_narrowest) = (record.after(*full)?, record.after(*narrowest)?);
    let macs = |width: f64| record.started.profile.iter().find(|p| p.width == width).map(|p| p.macs as f64);
    let share = macs(*narrowest)? / macs(*full)?;
    [of_full.knn, of_narrowest.knn, share].iter().all(|x| x.is_finite()).then(|| {
        format!(
            "Width {} classifies {} % of the test images correctly with {} % of the multiply-accumulates \
             of the full network, which classifies {} %.",
            width(*narrowest),
            percent(of_narrowest.knn),
            percent(share),
            percent(of_full.knn),
        )
    })
}

/// Each width in numbers.
pub fn table(record: &Record) -> String {
    const DASH: &str = "–";
    let rows = record.widths().iter().enumerate().map(|(index, value)| {
        let profile = record.started.profile.iter().find(|profile| profile.width == *value);
        let (before, after) = (record.before(*value), record.after(*value));
        let accuracy = |evaluated: Option<&Evaluated>| evaluated.map_or(DASH.into(), |e| Accuracy::knn(e).in_words());
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
            Mark::Width(index).swatch(),
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
    let steps = |at: fn(&Record, f64) -> Option<u64>| {
        let mut steps: Vec<u64> = record.widths().iter().filter_map(|width| at(record, *width)).collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    };
    let after = match steps(|record, width| Some(record.after(width)?.step)).as_slice() {
        [] => "The run has no evaluation after training.".into(),
        [step] => format!("After: at step {}.", count(*step)),
        [first, .., last] => {
            format!("After: each width's last evaluation, between steps {} and {}.", count(*first), count(*last))
        }
    };
    let before = match steps(|record, width| Some(record.before(width)?.step)).as_slice() {
        [] => " The run has no evaluation before training.",
        _ => " Before: the untrained network.",
    };
    format!(
        r#"<div class="scroll" role="region" aria-label="Each width in numbers" tabindex="0"><table>
<thead><tr>{columns}</tr></thead>
<tbody>{rows}</tbody>
</table></div>
<p class="note">Parameters and multiply-accumulates (MACs, one image) include the projection head. kNN: test
images whose class the {} nearest training images vote for, ± one standard error. Probes: linear classifiers of the
frozen features, top-1 / top-5; ridge is least squares in closed form. {after}{before}</p>"#,
        count(record.config.knn as u64)
    )
}

fn section(heading: &str, parts: &[Result<Figure, Missing>]) -> String {
    format!("<section><h2>{heading}</h2>{}</section>", elements(parts))
}

/// The figures one below the other.
pub fn elements(parts: &[Result<Figure, Missing>]) -> String {
    let mut parts: Vec<String> = parts
        .iter()
        .map(|part| match part {
            Ok(figure) => element(figure),
            Err(reason) => missing(reason),
        })
        .collect();
    // What all parts lack for the same reason is said once.
    parts.dedup();
    parts.concat()
}

fn element(Figure { panels, key, reading, notes, lacking, .. }: &Figure) -> String {
    let drawn = panels.iter().find_map(|panel| panel.content.as_ref().ok());
    let class = match drawn.map(|drawing| drawing.class) {
        Some("wide") => "single",
        Some("tile") => "tiles",
        _ => "panels",
    };
    let charts = groups(panels).into_iter().map(|(heading, panels)| {
        let headed = heading.map(|heading| format!(r#"<h3 class="group">{}</h3>"#, escape(heading)));
        let panels = panels.iter().map(|panel| {
            let heading = if heading.is_some() { panel.heading.clone() } else { panel.full_heading() };
            self::panel(panel, &heading)
        });
        format!(r#"{}<div class="charts">{}</div>"#, headed.unwrap_or_default(), panels.collect::<String>())
    });
    let charts: String = charts.collect();
    let key: String = key.iter().map(Key::item).collect();
    let key = if key.is_empty() { key } else { format!(r#"<ul class="key">{key}</ul>"#) };
    let notes: String = notes.iter().map(|note| format!(r#"<p class="note">{}</p>"#, escape(note))).collect();
    let lacking = lacking.as_deref().map(missing).unwrap_or_default();
    format!(
        r#"<figure class="{class}"><div>{charts}</div>
<figcaption>{key}<p>{}</p>{notes}{lacking}</figcaption></figure>"#,
        escape(reading)
    )
}

fn panel(panel: &Panel, heading: &str) -> String {
    let content = match &panel.content {
        Ok(drawing) => drawing.element(),
        Err(reason) => missing(reason),
    };
    let (class, mark) = match panel.width {
        Some(index) => (format!(r#" class="w{index}""#), Mark::Width(index).swatch()),
        None => Default::default(),
    };
    let heading = match heading {
        "" => String::new(),
        heading => format!("<h4{class}>{mark}{}</h4>", escape(heading)),
    };
    format!("<div>{heading}{content}</div>")
}

fn nearest(record: &Record, neighbours: &[Neighbours]) -> String {
    let body = if neighbours.is_empty() {
        missing("No neighbours were looked up; “slimclr evaluate” does.")
    } else {
        let queries: String = neighbours.iter().map(|query| query_with_neighbours(record, query)).collect();
        format!(
            r#"<p>Each test image and the training images closest to it in the embedding of each width,
nearest first. A solid frame and a tick mark the same class, a dashed frame and a cross another: look where a
narrower width starts to confuse classes.</p><div class="queries">{queries}</div>"#
        )
    };
    format!("<section><h2>Nearest neighbours</h2>{body}</section>")
}

fn query_with_neighbours(record: &Record, Neighbours { query, class, per_width }: &Neighbours) -> String {
    let rows = per_width.iter().map(|(value, neighbours)| {
        let same = neighbours.iter().filter(|(_, other)| other == class).count();
        let images = neighbours.iter().map(|(image, other)| {
            let (kind, words) = if other == class { ("same", "same class") } else { ("other", "another class") };
            format!(
                r#"<li class="{kind}">{}<span>{}</span></li>"#,
                picture::element(image, &format!("{other}, {words}")),
                escape(other)
            )
        });
        let images: String = images.collect();
        let mark = record
            .widths()
            .iter()
            .position(|width| width == value)
            .map(|index| Mark::Width(index).swatch())
            .unwrap_or_default();
        format!(r#"<h3>{mark}{} <span>{same} of {}</span></h3><ol>{images}</ol>"#, width(*value), neighbours.len())
    });
    let rows: String = rows.collect();
    format!(
        r#"<article><div class="query">{}<span>{}</span></div><div class="widths">{rows}</div></article>"#,
        picture::element(query, &format!("test image of class {class}")),
        escape(class)
    )
}

fn configuration(config: &Config) -> String {
    let options = match toml::to_string(config) {
        Ok(options) => format!("<pre>{}</pre>", escape(&options)),
        Err(error) => missing(&format!("The options cannot be written as TOML: {error}.")),
    };
    format!("<section><details><summary><h2>Configuration</h2></summary>{options}</details></section>")
}
