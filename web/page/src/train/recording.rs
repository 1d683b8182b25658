//! The view of recorded runs: a slider over their steps, and each run's status.

use leptos::prelude::*;

use super::{card::StatusTable, playback::Playback, run_events::RunEvents};

/// The slider and the recordings' status.
#[component]
pub fn Recording(
    /// The recordings.
    playback: Playback,
) -> impl IntoView {
    let last = Memo::new(move |_| playback.last());
    let at = move || playback.at.get().unwrap_or_else(|| last.get());
    let seek = move |value: String| {
        playback.pause();
        let at = value.parse().ok().filter(|at| *at < last.get_untracked());
        playback.seek(at);
    };
    let toggle = move |_| if playback.is_playing.get_untracked() { playback.pause() } else { playback.play() };
    let kind = move || if playback.is_live.get() { "Live from the server" } else { "Recording" };
    let card = move |events: RunEvents| {
        view! {
            <article class="card">
                <header><h3>{events.name}</h3><span class="state">{kind}</span></header>
                <StatusTable events/>
            </article>
        }
    };
    view! {
        <div class="transport" role="group" aria-label=kind>
            <button type="button" class="main" on:click=toggle>
                {move || if playback.is_playing.get() { "Pause" } else { "Play" }}
            </button>
            <label class="slider">
                <span>{move || format!("Step {} of {}", at(), last.get())}</span>
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
            <button type="button" on:click=move |_| playback.close()>"Close"</button>
        </div>
        <div class="cards">
            {move || playback.recordings.get().into_iter().map(card).collect_view()}
        </div>
    }
}
