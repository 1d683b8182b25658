//! A run in numbers, with what can be done with it.

use leptos::prelude::*;
use slimclr_protocol::Progress;
use slimclr_run::event::Event;

use super::{
    run::{Phase, Run},
    track::{AtWidth, Standing, Track},
};
use crate::{download, fetch};

/// How far a run has come, and each width in numbers.
#[component]
pub fn Numbers(
    /// The run.
    track: Track,
) -> impl IntoView {
    let standing = Memo::new(move |_| track.standing());
    move || standing.get().map(numbers)
}

fn numbers(standing: Standing) -> impl IntoView {
    let Standing { step, steps, epoch, steps_per_epoch, device, speed, rate, slow, widths } = standing;
    let speed = speed.map(|speed| format!("{} images/s", three_digits(speed)));
    let rate = rate.map(|rate| format!("learning rate {}", three_digits(rate)));
    let epochs = steps as f64 / steps_per_epoch.max(1) as f64;
    let place = format!("step {step} of {steps}, epoch {epoch:.1} of {epochs:.1}");
    let facts: Vec<String> = [Some(place), speed, rate, Some(device)].into_iter().flatten().collect();
    view! {
        <progress max=steps.to_string() value=step.to_string() aria-label="Steps taken"></progress>
        <p class="facts">{facts.join(" · ")}</p>
        {slow.then(|| view! { <p class="note">"Slow start: only the full network learns so far."</p> })}
        <table class="numbers">
            <thead><tr>
                <th scope="col">"Width"</th>
                <th scope="col">"Loss"</th>
                <th scope="col"><abbr title="Test images whose class the nearest training images vote for">"kNN"</abbr></th>
                <th scope="col">"untrained"</th>
            </tr></thead>
            <tbody>{widths.into_iter().enumerate().map(row).collect::<Vec<_>>()}</tbody>
        </table>
    }
}

fn row((index, AtWidth { width, loss, knn, knn_at_first }): (usize, AtWidth)) -> AnyView {
    let percent = |share: Option<f64>| share.map_or("–".into(), |share| format!("{:.1} %", 100.0 * share));
    view! {
        <tr>
            <th scope="row"><span class=format!("swatch w{index}") aria-hidden="true"></span>{width}</th>
            <td>{loss.map_or("–".into(), |loss| format!("{loss:.3}"))}</td>
            <td>{percent(knn)}</td>
            <td class="faint">{percent(knn_at_first)}</td>
        </tr>
    }
    .into_any()
}

/// A number with three digits that say something.
fn three_digits(value: f64) -> String {
    let digits = (2 - value.abs().max(1e-12).log10().floor() as i32).max(0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A bar of work that takes long.
pub fn bar(Progress { what, done, total }: Progress) -> impl IntoView {
    view! {
        <label class="bar">
            <span>{what}"…"</span>
            <progress max=total.max(1).to_string() value=done.to_string()></progress>
        </label>
    }
}

/// A run that is trained here.
#[component]
pub fn Card(
    /// The run.
    run: Run,
    /// Whether it has buttons of its own, as one of two has.
    #[prop(into)]
    alone: Signal<bool>,
    /// Whether files and the loss surface are offered.
    whole: bool,
) -> impl IntoView {
    let phase = run.phase;
    let state = move || match phase.get() {
        Phase::Idle => "not begun",
        Phase::Preparing => "getting ready",
        Phase::Running => "training",
        Phase::Paused => "paused",
        Phase::Ended => "finished",
        Phase::Failed => "broken off",
    };
    // Said aloud once an epoch.
    let epoch = Memo::new(move |_| run.track.standing().map(|standing| standing.epoch as u64));
    let spoken = Memo::new(move |_| {
        let name = run.track.name.get();
        let epoch = epoch.get().map(|epoch| format!(", epoch {epoch}")).unwrap_or_default();
        format!("{name}: {}{epoch}.", state())
    });
    view! {
        <article class="card" aria-label=move || run.track.name.get()>
            <header>
                <h3>{run.track.name}</h3>
                <span class="state" data-phase=state>{state}</span>
                {move || (!alone.get()).then(|| buttons(run))}
            </header>
            {move || run.device.get().and_then(|device| device.instead).map(|why| view! { <p class="note">{why}</p> })}
            {move || run.problem.get().map(|problem| view! { <p class="problem">{problem.message}</p> })}
            {move || run.trouble.get().map(|trouble| view! { <div class="trouble" role="alert"><p>{trouble}</p></div> })}
            {move || (phase.get() == Phase::Failed).then(|| to_go_on(run))}
            {move || run.progress.get().map(bar)}
            {move || run.images.get().filter(|images| images.counts[3] > 0).map(|images| view! {
                <p class="note">{format!("{} of the files are no images, or not whole, and were passed over.", images.counts[3])}</p>
            })}
            <Numbers track=run.track/>
            <p class="unseen" role="status">{move || spoken.get()}</p>
            {whole.then(|| products(run))}
        </article>
    }
}

/// A run that broke off can go on from what it had kept.
fn to_go_on(run: Run) -> impl IntoView {
    let kept = move || run.checkpoint.with(|checkpoint| checkpoint.as_ref().map(|checkpoint| checkpoint.step));
    move || {
        kept().map(|step| {
            view! {
                <button type="button" on:click=move |_| run.go_on()>{format!("Continue from step {step}")}</button>
            }
        })
    }
}

fn buttons(run: Run) -> impl IntoView {
    let goes = move || matches!(run.phase.get(), Phase::Running | Phase::Preparing);
    view! {
        <span class="buttons">
            <button type="button" class="quiet" on:click=move |_| if goes() { run.pause() } else { run.go() }>
                {move || if goes() { "Pause" } else { "Go" }}
            </button>
            <button type="button" class="quiet" on:click=move |_| run.step()>"Step"</button>
        </span>
    }
}

/// What a run gives: files, and the loss around its weights.
fn products(run: Run) -> impl IntoView {
    let refused = move |error| run.trouble.set(Some(format!("The file cannot be saved ({}).", fetch::words(error))));
    let name = move |kind: &str| run.track.name.with_untracked(|name| format!("{}-{kind}", plain(name)));
    let save_weights = move |_| {
        if let Some(checkpoint) = run.checkpoint.get_untracked() {
            let name = name(&format!("step{}.safetensors", checkpoint.step));
            download::save(&name, &checkpoint.bytes, "application/octet-stream").unwrap_or_else(refused);
        }
    };
    let save_events = move |_| {
        let lines = run.track.events.with_untracked(|events| lines(events));
        download::save(&name("events.jsonl"), &lines.into(), "application/jsonl").unwrap_or_else(refused);
    };
    let weights = move || match run.checkpoint.with(|checkpoint| checkpoint.as_ref().map(|checkpoint| checkpoint.step))
    {
        Some(step) => format!("Weights of step {step}"),
        None => "Weights".into(),
    };
    let surveys = move || {
        if run.surveying.get() {
            view! { <button type="button" class="quiet" on:click=move |_| run.cancel()>"Cancel the loss surface"</button> }.into_any()
        } else {
            let disabled = move || !run.can_survey();
            view! { <button type="button" class="quiet" disabled=disabled on:click=move |_| run.survey()>"Compute the loss surface"</button> }.into_any()
        }
    };
    view! {
        <p class="products">
            <button type="button" class="quiet" disabled=move || run.checkpoint.with(Option::is_none) on:click=save_weights>{weights}</button>
            <button type="button" class="quiet" disabled=move || run.track.events.with(Vec::is_empty) on:click=save_events>"Events"</button>
            {surveys}
        </p>
    }
}

fn lines(events: &[Event]) -> String {
    events.iter().filter_map(|event| Some(serde_json::to_string(event).ok()? + "\n")).collect()
}

/// A name that every file system takes.
fn plain(name: &str) -> String {
    let plain = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    plain.collect::<String>().split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}
