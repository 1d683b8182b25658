//! Switching widths: a trained network embeds a picture with the same weights at every width.

mod camera;
mod cost;
mod drawing;
mod export;
mod file_input;
mod map;
mod marker;
mod neighbours;
mod network;
mod picture;
mod viewer;

use leptos::prelude::*;
use slimclr_protocol::DeviceChoice;

use crate::{
    address::{Address, Options, Route},
    worker_code::WorkerCode,
};
use viewer::{ChosenPicture, Viewer};

/// The page for switching widths. Width, sample and device are part of the address.
#[component]
pub fn WidthsPage() -> impl IntoView {
    let address: Address = expect_context();
    let options = address.options(Route::Widths);
    let viewer = Viewer::new(expect_context::<WorkerCode>());
    let (device, sample, named_width) = (RwSignal::new(DeviceChoice::Auto), RwSignal::new(0), RwSignal::new(None));
    let read = move |options: &Options| {
        set_if_changed(device, device_of(options));
        set_if_changed(sample, option(options, "sample").unwrap_or(0));
        set_if_changed(named_width, option::<String>(options, "width"));
    };
    options.with_untracked(read);

    Effect::new(move || options.with(read));
    Effect::new(move || viewer.open(device.get()));
    Effect::new(move || viewer.show(ChosenPicture::Sample(sample.get())));
    Effect::new(move || {
        let index = viewer.network.with(|network| {
            let named = named_width.get()?;
            network.as_ref()?.profile.iter().position(|cost| cost.width.to_string() == named)
        });
        if let Some(index) = index {
            set_if_changed(viewer.width, index);
        }
    });
    Effect::new(move || {
        let mut options = Options::new();
        if viewer.network.with(Option::is_some) {
            options.push(("width".to_owned(), viewer.width_name()));
            options.push(("sample".to_owned(), sample.get().to_string()));
            if let Some(name) = name_of(device.get()) {
                options.push(("device".to_owned(), name.to_owned()));
            }
            address.set_options(Route::Widths, options);
        }
    });

    view! {
        <section class="widths" aria-labelledby="widths-title">
            <header>
                <h1 id="widths-title">"Switch widths"</h1>
                <p>
                    "One trained network runs at every width with the same weights. "
                    "Choose a picture, then move the slider."
                </p>
            </header>
            <div class="choices">
                <network::NetworkPanel viewer device/>
                <picture::PicturePanel viewer sample/>
            </div>
            <Show when=move || viewer.network.with(Option::is_some)>
                <cost::WidthPanel viewer/>
                <div class="views">
                    <neighbours::NeighbourPanel viewer/>
                    <map::MapPanel viewer/>
                </div>
                <cost::Table viewer/>
                <export::Downloads viewer/>
            </Show>
        </section>
    }
}

/// Sets a signal, unless it already has the value.
fn set_if_changed<T: PartialEq + Send + Sync + 'static>(signal: RwSignal<T>, value: T) {
    if signal.with_untracked(|before| *before != value) {
        signal.set(value);
    }
}

/// Parses an option; `None` if it is missing or invalid.
fn option<T: std::str::FromStr>(options: &Options, name: &str) -> Option<T> {
    options.iter().find(|(key, _)| key == name)?.1.parse().ok()
}

/// The devices with their names in the address and on the page. The first is the default.
const DEVICES: [(DeviceChoice, &str, &str); 3] = [
    (DeviceChoice::Auto, "auto", "Automatic"),
    (DeviceChoice::Webgpu, "webgpu", "WebGPU"),
    (DeviceChoice::Cpu, "cpu", "CPU"),
];

fn device_of(options: &Options) -> DeviceChoice {
    let name: Option<String> = option(options, "device");
    DEVICES
        .iter()
        .find(|(_, known, _)| name.as_deref() == Some(known))
        .map_or(DeviceChoice::Auto, |(device, ..)| *device)
}

/// Returns a device's name in the address; `None` for the default.
fn name_of(device: DeviceChoice) -> Option<&'static str> {
    DEVICES[1..].iter().find(|(known, ..)| *known == device).map(|(_, name, _)| *name)
}
