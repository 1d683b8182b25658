//! The view of recorded runs: a slider over their steps, and each run's status.

use leptos::prelude::*;

use super::{card::StatusTable, playback::Playback, run_events::RunEvents};

/// Returns what kind of recording is shown.
fn kind(playback: Playback) -> &'static str {
    match (playback.is_live.get(), playback.is_introduction.get()) {
        (true, _) => "Live from the server",
        (_, true) => "A recorded training",
        _ => "Recording",
    }
}

/// The slider, and the buttons beside it.
pub fn transport(playback: Playback) -> AnyView {
    let last = Memo::new(move |_| playback.last());
    let at = move || playback.at.get().unwrap_or_else(|| last.get());
    let seek = move |value: String| {
        playback.pause();
        let at = value.parse().ok().filter(|at| *at < last.get_untracked());
        playback.seek(at);
    };
    let toggle = move |_| if playback.is_playing.get_untracked() { playback.pause() } else { playback.play() };
    let is_introduction = move || playback.is_introduction.get();
    view! {
        <div class="transport" class:introduction=is_introduction role="group" aria-label=move || kind(playback)>
            <button type="button" class:main=move || !is_introduction() on:click=toggle>
                {move || if playback.is_playing.get() { "Pause" } else { "Play" }}
            </button>
            <label class="slider">
                <span>{move || {
                    let what = if is_introduction() { "A recorded training, step" } else { "Step" };
                    format!("{what} {} of {}", at(), last.get())
                }}</span>
                <input
                    type="range" min="0" max=move || last.get().to_string() prop:value=move || at().to_string()
                    aria-valuetext=move || format!("step {} of {}", at(), last.get())
                    on:input=move |event| seek(event_target_value(&event))
                />
            </label>
            {move || playback.is_live.get().then(|| view! {
                <button type="button" aria-pressed=move || playback.at.get().is_none().to_string() on:click=move |_| {
                    playback.pause();
                    playback.seek(None);
                }>"Follow"</button>
            })}
            <button type="button" hidden=is_introduction on:click=move |_| playback.close()>"Close"</button>
        </div>
    }
    .into_any()
}

/// The recordings' status. The page's own recording needs none beside its overview.
pub fn cards(playback: Playback) -> AnyView {
    let card = move |events: RunEvents| {
        view! {
            <article class="card">
                <header><h3>{events.name}</h3><span class="state">{move || kind(playback)}</span></header>
                <StatusTable events/>
            </article>
        }
    };
    let all = move || playback.recordings.get().into_iter().map(card).collect_view();
    view! { <div class="cards" hidden=move || playback.is_introduction.get()>{all}</div> }.into_any()
}
