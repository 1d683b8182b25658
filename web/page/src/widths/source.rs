//! Which network is looked at, and where it computes.

use js_sys::Uint8Array;
use leptos::prelude::*;
use slimclr_protocol::{Choice, Progress};

use super::{DEVICES, file::FilePlace, look::Look};
use crate::{
    address,
    link::{Loading, WorkerCode},
};

/// The latest checkpoint of the run that the server streams.
const LIVE: &str = "run/checkpoint.safetensors";

/// The network: what it is, how far its reading has come, and how to choose another.
#[component]
pub fn NetworkPanel(look: Look, device: RwSignal<Choice>) -> impl IntoView {
    let choose = move |event: web_sys::HtmlSelectElement| {
        if let Some((choice, ..)) = DEVICES.iter().find(|(_, name, _)| *name == event.value()) {
            device.set(*choice);
        }
    };
    let take = Callback::new(move |(name, bytes): (String, Uint8Array)| look.load(name, bytes));
    let fail = Callback::new(move |words| look.trouble.set(Some(words)));
    view! {
        <section class="panel network" aria-labelledby="network-title">
            <h2 id="network-title">"Network"</h2>
            {move || look.network.get().map(|network| {
                let steps = network.steps.map(|steps| format!(", trained for {steps} steps"));
                view! { <p><strong>{network.name.clone()}</strong><br/>{network.architecture.clone()}{steps}</p> }
            })}
            <Busy look/>
            <p class="problem" role="alert">{look.trouble}</p>
            <Show when=move || look.dead.get()>
                <button type="button" on:click=move |_| look.open(device.get_untracked())>"Start again"</button>
            </Show>
            <div class="actions">
                <button type="button" on:click=move |_| look.load_shipped()>"Shipped network"</button>
                {address::is_live().then(|| view! {
                    <button type="button" on:click=move |_| look.load_from(LIVE)>"The run’s checkpoint"</button>
                })}
                <FilePlace label="Drop or choose a checkpoint (.safetensors, .pth.tar)" accept=".safetensors,.tar,.pth,.pt" on_file=take on_trouble=fail/>
                <label class="device">"Compute on "
                    <select on:change:target=move |event| choose(event.target())>
                        {DEVICES.map(|(choice, name, title)| view! { <option value=name selected=move || device.get() == choice>{title}</option> })}
                    </select>
                </label>
            </div>
            <p class="note">{move || look.device.get().map(|device| format!("Computes on: {device}. "))}{look.instead}</p>
        </section>
    }
}

/// How far it has come, and a way to end it.
#[component]
fn Busy(look: Look) -> impl IntoView {
    let code: WorkerCode = expect_context();
    let loading = move || match code.loading().get() {
        Loading::Fetching { loaded, total } => Some((loaded as usize, total.map_or(0, |total| total as usize))),
        Loading::Ready | Loading::Failed => None,
    };
    let progress = move || {
        // Once there is a device, the program is there.
        let loading = loading().filter(|_| look.device.with(Option::is_none));
        let program = loading.map(|(done, total)| Progress { what: "loading the program".to_owned(), done, total });
        program.or_else(|| look.progress.get())
    };
    let busy = Memo::new(move |_| progress().is_some());
    // What is merely fetched has nothing to end.
    let ends = Memo::new(move |_| look.progress.with(|progress| progress.as_ref().is_some_and(|of| of.total > 1)));
    // None of work whose extent is unknown.
    let share = move || progress().filter(|of| of.total > 1).map(|of| (of.done as f64 / of.total as f64).to_string());
    let what = Memo::new(move |_| progress().map(|progress| progress.what));
    view! {
        <p class="unseen" role="status">{what}</p>
        <Show when=move || busy.get()>
            <p class="busy">
                <span aria-hidden="true">{move || what.get().map(|what| format!("{}…", capital(&what)))}</span>
                <progress aria-label=what max="1" value=share/>
                <button type="button" hidden=move || !ends.get() on:click=move |_| look.cancel()>"Cancel"</button>
            </p>
        </Show>
    }
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
