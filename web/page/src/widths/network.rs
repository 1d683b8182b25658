//! The choice of the network and its device.

use js_sys::Uint8Array;
use leptos::prelude::*;
use slimclr_protocol::{DeviceChoice, Progress};
use slimclr_report::capitalized;

use super::{DEVICES, file_input::FileInput, viewer::Viewer};
use crate::{
    address,
    data::Source,
    files,
    worker_code::{Loading, WorkerCode},
};

/// The path of the latest checkpoint of the run that the server streams.
const LIVE_CHECKPOINT: &str = "run/checkpoint.safetensors";

/// The network that is shown, the progress of loading, and the choice of another one.
#[component]
pub fn NetworkPanel(viewer: Viewer, device: RwSignal<DeviceChoice>) -> impl IntoView {
    let choose = move |event: web_sys::HtmlSelectElement| {
        if let Some((choice, ..)) = DEVICES.iter().find(|(_, name, _)| *name == event.value()) {
            device.set(*choice);
        }
    };
    let load = Callback::new(move |(name, bytes): (String, Uint8Array)| viewer.load(name, bytes));
    let fail = Callback::new(move |message| viewer.error.set(Some(message)));
    let running_on = move || viewer.device.get().map(|device| format!("Running on {device}. "));
    view! {
        <section class="panel network" aria-labelledby="network-title">
            <h2 id="network-title">"Network"</h2>
            {move || viewer.network.get().map(|network| {
                let steps = network.steps.map(|steps| format!(", trained for {steps} steps"));
                view! { <p><strong>{network.name.clone()}</strong><br/>{network.architecture.clone()}{steps}</p> }
            })}
            <ProgressBar viewer/>
            <p class="problem" role="alert">{viewer.error}</p>
            <Show when=move || viewer.has_crashed.get()>
                <button type="button" on:click=move |_| viewer.open(device.get_untracked())>"Restart"</button>
            </Show>
            <div class="actions">
                <button type="button" on:click=move |_| viewer.load_built_in()>"Built-in network"</button>
                {address::is_live().then(|| view! {
                    <button type="button" on:click=move |_| viewer.load_from(LIVE_CHECKPOINT)>
                        "The run’s checkpoint"
                    </button>
                })}
                <FileInput
                    label="Drop or choose a network (safetensors or PyTorch)"
                    accept=".safetensors,.tar,.pth,.pt,.ckpt,.bin"
                    on_file=load on_error=fail
                />
                <label class="device">"Device "
                    <select on:change:target=move |event| choose(event.target())>
                        {DEVICES.map(|(choice, name, title)| {
                            let selected = move || device.get() == choice;
                            view! { <option value=name selected=selected>{title}</option> }
                        })}
                    </select>
                </label>
            </div>
            <p class="note">{running_on}{viewer.instead}</p>
            <Gallery viewer/>
        </section>
    }
}

/// The progress of the current job, and a button to cancel it.
#[component]
fn ProgressBar(viewer: Viewer) -> impl IntoView {
    let code: WorkerCode = expect_context();
    let loading = move || match code.loading().get() {
        Loading::Fetching { loaded, total } => Some((loaded as usize, total.map_or(0, |total| total as usize))),
        Loading::Ready | Loading::Failed => None,
    };
    let progress = move || {
        // Once the device is open, the code has been loaded.
        let loading = loading().filter(|_| viewer.device.with(Option::is_none));
        let code = loading.map(|(done, total)| Progress { what: "loading the trainer".to_owned(), done, total });
        code.or_else(|| viewer.progress.get())
    };
    let is_busy = Memo::new(move |_| progress().is_some());
    // Downloads cannot be cancelled.
    let can_cancel =
        Memo::new(move |_| viewer.progress.with(|progress| progress.as_ref().is_some_and(|job| job.total > 1)));
    // `None` if the total is unknown.
    let share =
        move || progress().filter(|job| job.total > 1).map(|job| (job.done as f64 / job.total as f64).to_string());
    let what = Memo::new(move |_| progress().map(|progress| progress.what));
    view! {
        <p class="unseen" role="status">{what}</p>
        <Show when=move || is_busy.get()>
            <p class="busy">
                <span aria-hidden="true">{move || what.get().map(|what| format!("{}…", capitalized(&what)))}</span>
                <progress aria-label=what max="1" value=share/>
                <button type="button" hidden=move || !can_cancel.get() on:click=move |_| viewer.cancel()>
                    "Cancel"
                </button>
            </p>
        </Show>
    }
}

/// The choice of the images among which neighbours are found.
#[component]
fn Gallery(viewer: Viewer) -> impl IntoView {
    let open = move |event: leptos::ev::Targeted<leptos::ev::Event, web_sys::HtmlInputElement>| {
        let files = files::take_chosen(&event.target());
        if files.is_empty() {
            viewer.error.set(Some("There are no files in that folder.".into()));
        } else {
            viewer.set_images(Source::Files(files.into_iter().map(|(path, file)| (path, file.into())).collect()));
        }
    };
    let are_own = move || viewer.data.is_own();
    view! {
        <div class="actions">
            <span class="note">"Neighbours are found among: " {move || viewer.data.description()}</span>
            <label class="picker">
                <input type="file" class="unseen" prop:webkitdirectory=true on:change:target=open/>
                "Your images…"
            </label>
            {move || are_own().then(|| view! {
                <button type="button" class="quiet" on:click=move |_| viewer.set_images(Source::Bundle)>
                    "Use this page’s"
                </button>
            })}
        </div>
        <p class="note">{viewer.damaged}</p>
    }
}
