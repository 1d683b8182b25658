//! A run's card: its status in numbers, its buttons and downloads.

use leptos::prelude::*;
use slimclr_protocol::Progress;
use slimclr_run::event::{Event, NoAccuracy};

use super::{
    run::{LandscapeJob, Run, State},
    run_events::{RunEvents, Status, WidthStatus},
};
use crate::{download, fetch};

/// A run's progress, its collapse if it has collapsed, and loss and accuracy of each width.
#[component]
pub fn StatusTable(
    /// The run.
    events: RunEvents,
) -> impl IntoView {
    let status = Memo::new(move |_| events.status());
    // A memo, so that screen readers announce it once.
    let collapse = Memo::new(move |_| events.with_shown(collapse));
    view! {
        <p class="problem" role="alert">{collapse}</p>
        {move || status.get().map(status_table)}
    }
}

/// Says how a run has collapsed, as the program does, if it has.
fn collapse(events: &[Event]) -> Option<String> {
    let sign = events.iter().rev().find_map(|event| match event {
        Event::Collapsed { sign, .. } => Some(sign),
        _ => None,
    });
    Some(format!("Warning: {}.", sign?))
}

fn status_table(status: Status) -> AnyView {
    let Status { step, steps, epoch, steps_per_epoch, device, is_slow_start, no_accuracy, widths, .. } = status;
    let speed = status.images_per_second.map(|speed| format!("{} images/s", three_digits(speed)));
    let rate = status.learning_rate.map(|rate| format!("learning rate {}", three_digits(rate)));
    let has_first = widths.iter().any(|width| width.first.is_some());
    let epochs = steps as f64 / steps_per_epoch.max(1) as f64;
    let progress = format!("step {step} of {steps}, epoch {epoch:.1} of {epochs:.1}");
    let facts: Vec<String> = [Some(progress), speed, rate, Some(device)].into_iter().flatten().collect();
    let slow_start = is_slow_start.then(|| "Slow start: only the full network is training for now.".to_owned());
    let notes: Vec<String> =
        [slow_start, no_accuracy.map(|why| format!("No kNN accuracy: {why}."))].into_iter().flatten().collect();
    let mut heads = vec![("Width", ""), ("Loss", "")];
    heads.extend(has_first.then_some(("top-1", "Views whose positive, or class, ranks first")));
    heads.extend(match no_accuracy {
        None => [
            ("kNN", "Accuracy on test images, classified by their nearest training images"),
            ("untrained", "The same before training"),
        ],
        Some(_) => [
            ("rank", "RankMe, the effective rank of the features"),
            ("cosines", "Mean cosine of two views of one image, and of views of different images"),
        ],
    });
    let heads: String = heads.into_iter().map(head).collect();
    let rows: String =
        widths.iter().enumerate().map(|(index, width)| row(index, width, has_first, no_accuracy)).collect();
    view! {
        <progress max=steps.to_string() value=step.to_string() aria-label="Steps taken"></progress>
        <p class="facts">{facts.join(" · ")}</p>
        <p class="note">{notes.join(" ")}</p>
        <table class="numbers"><thead><tr inner_html=heads></tr></thead><tbody inner_html=rows></tbody></table>
    }
    .into_any()
}

/// Returns the head of a column, explained unless it needs no explanation, as HTML.
fn head((name, explanation): (&str, &str)) -> String {
    match explanation {
        "" => format!(r#"<th scope="col">{name}</th>"#),
        _ => format!(r#"<th scope="col"><abbr title="{explanation}">{name}</abbr></th>"#),
    }
}

/// Returns the row of a width, as HTML: its accuracies or, without them, measures that need no labels.
fn row(index: usize, status: &WidthStatus, has_first: bool, no_accuracy: Option<NoAccuracy>) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let mut cells = vec![(status.loss.map(|loss| format!("{loss:.3}")), "")];
    cells.extend(has_first.then(|| (status.first.map(|first| percent(first.into())), "")));
    cells.extend(match no_accuracy {
        None => [(status.knn.map(percent), "result"), (status.knn_untrained.map(percent), "faint")],
        Some(_) => [
            (status.rankme.map(|rank| format!("{rank:.1}")), "result"),
            (
                status
                    .views
                    .map(|views| format!("{:.2} / {:.2}", views.cosine_same_image, views.cosine_different_images)),
                "",
            ),
        ],
    });
    let cell = |(text, class): (Option<String>, &str)| {
        format!(r#"<td class="{class}">{}</td>"#, text.as_deref().unwrap_or("–"))
    };
    let cells: String = cells.into_iter().map(cell).collect();
    let width = status.width;
    format!(r#"<tr><th scope="row"><span class="swatch w{index}" aria-hidden="true"></span>{width}</th>{cells}</tr>"#)
}

/// Formats a number with three significant digits.
fn three_digits(value: f64) -> String {
    let digits = (2 - value.abs().max(1e-12).log10().floor() as i32).max(0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A progress bar for a long job.
fn progress_bar(Progress { what, done, total }: Progress) -> impl IntoView {
    view! {
        <label class="bar">
            <span>{what}"…"</span>
            <progress max=total.max(1).to_string() value=done.to_string()></progress>
        </label>
    }
}

/// A run that trains here.
#[component]
pub fn Card(
    /// The run.
    run: Run,
    /// Whether it is the only run, and needs no buttons besides those for all runs.
    #[prop(into)]
    is_single: Signal<bool>,
    /// Whether to offer downloads and the loss landscape.
    full: bool,
) -> impl IntoView {
    let name = run.events.name;
    let state = move || run.state.with(State::name);
    let has_failed = move || run.state.with(|state| *state == State::Failed);
    // Screen readers announce each epoch, not each step.
    let epoch = Memo::new(move |_| run.events.status().map(|status| status.epoch as u64));
    let announcement = Memo::new(move |_| {
        let epoch = epoch.get().map(|epoch| format!(", epoch {epoch}")).unwrap_or_default();
        format!("{}: {}{epoch}.", name.get(), state())
    });
    let problem = move || run.problem.get().map(|problem| view! { <p class="problem">{problem.message}</p> });
    let error = move || run.error.get().map(|error| view! { <div class="error" role="alert"><p>{error}</p></div> });
    let note = |note: String| view! { <p class="note">{note}</p> };
    let images = move || run.images.get()?.note.map(note);
    let damaged = move || run.damaged.get().map(note);
    let fallback = move || run.device.get()?.instead.map(note);
    view! {
        <article class="card" aria-label=move || name.get()>
            <header>
                <h3>{name}</h3>
                <span class="state" data-state=state>{state}</span>
                {move || (!is_single.get()).then(|| buttons(run))}
            </header>
            {fallback}
            {problem}
            {error}
            {move || has_failed().then(|| continue_button(run))}
            {move || run.progress.get().map(progress_bar)}
            {images}
            {damaged}
            <StatusTable events=run.events/>
            <p class="unseen" role="status">{move || announcement.get()}</p>
            {full.then(|| outputs(run))}
        </article>
    }
}

/// A button to continue a failed run from its latest checkpoint.
fn continue_button(run: Run) -> impl IntoView {
    let step = move || run.checkpoint.with(|checkpoint| checkpoint.as_ref().map(|checkpoint| checkpoint.step));
    move || {
        step().map(|step| {
            view! {
                <button type="button" on:click=move |_| run.continue_from_checkpoint()>
                    {format!("Continue from step {step}")}
                </button>
            }
        })
    }
}

fn buttons(run: Run) -> impl IntoView {
    let is_active = move || run.state.with(State::is_active);
    view! {
        <span class="buttons">
            <button type="button" class="quiet" on:click=move |_| if is_active() { run.pause() } else { run.go() }>
                {move || if is_active() { "Pause" } else { "Run" }}
            </button>
            <button type="button" class="quiet" on:click=move |_| run.step()>"Step"</button>
        </span>
    }
}

/// The run's files, and the button that computes its loss landscape.
fn outputs(run: Run) -> impl IntoView {
    let failed = move |error| run.error.set(Some(format!("The file could not be saved ({}).", fetch::message(error))));
    let name = move |kind: &str| run.events.name.with_untracked(|name| format!("{}-{kind}", file_name(name)));
    let save_weights = move |_| {
        if let Some(checkpoint) = run.checkpoint.get_untracked() {
            let name = name(&format!("step{}.safetensors", checkpoint.step));
            download::save(&name, &checkpoint.bytes, "application/octet-stream").unwrap_or_else(failed);
        }
    };
    let save_events = move |_| {
        let lines = run.events.list.with_untracked(|events| lines(events));
        download::save(&name("events.jsonl"), &lines.into(), "application/jsonl").unwrap_or_else(failed);
    };
    let no_weights = move || run.checkpoint.with(Option::is_none);
    let no_events = move || run.events.list.with(Vec::is_empty);
    let weights = move || match run.checkpoint.with(|checkpoint| checkpoint.as_ref().map(|checkpoint| checkpoint.step))
    {
        Some(step) => format!("Weights of step {step}"),
        None => "Weights".into(),
    };
    let landscape = move || {
        if run.landscape_job.get() == LandscapeJob::Idle {
            let disabled = move || !run.can_compute_landscape();
            let compute = move |_| run.compute_landscape();
            view! {
                <button type="button" class="quiet" disabled=disabled on:click=compute>
                    "Compute the loss landscape"
                </button>
            }
            .into_any()
        } else {
            let cancel = move |_| run.cancel_landscape();
            view! { <button type="button" class="quiet" on:click=cancel>"Cancel the loss landscape"</button> }
                .into_any()
        }
    };
    view! {
        <p class="outputs">
            <button type="button" class="quiet" disabled=no_weights on:click=save_weights>{weights}</button>
            <button type="button" class="quiet" disabled=no_events on:click=save_events>"Events"</button>
            {landscape}
        </p>
    }
}

fn lines(events: &[Event]) -> String {
    events.iter().filter_map(|event| Some(serde_json::to_string(event).ok()? + "\n")).collect()
}

/// Returns a name that every file system accepts.
fn file_name(name: &str) -> String {
    let plain = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    plain.collect::<String>().split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}
