//! The room where trained networks are looked at: the same weights at every width, on a picture of one's choice.

mod camera;
mod cost;
mod drawing;
mod file;
mod look;
mod map;
mod mark;
mod neighbours;
mod picture;
mod pixels;
mod record;
mod source;

use leptos::prelude::*;
use slimclr_protocol::Choice;

use crate::{
    address::{self, Address, Options},
    link::WorkerCode,
};
use look::{Chosen, Look};

/// The room.
#[component]
pub fn Room() -> impl IntoView {
    let address: Address = expect_context();
    let options = address.options(address::Room::Widths);
    let look = Look::new(expect_context::<WorkerCode>());
    let (device, sample, asked) = (RwSignal::new(Choice::Auto), RwSignal::new(0), RwSignal::new(None));
    let read = move |options: &Options| {
        change(device, device_of(options));
        change(sample, option(options, "sample").unwrap_or(0));
        change(asked, option::<f64>(options, "width"));
    };
    options.with_untracked(read);

    Effect::new(move || options.with(read));
    Effect::new(move || look.open(device.get()));
    Effect::new(move || look.show(Chosen::Sample(sample.get())));
    Effect::new(move || {
        let index = look.network.with(|network| {
            let asked = asked.get()?;
            network.as_ref()?.profile.iter().position(|of| of.width == asked)
        });
        if let Some(index) = index {
            change(look.width, index);
        }
    });
    Effect::new(move || {
        let mut options = Options::new();
        if look.network.with(Option::is_some) {
            options.push(("width".to_owned(), look.width_name()));
            options.push(("sample".to_owned(), sample.get().to_string()));
            if let Some(name) = name_of(device.get()) {
                options.push(("device".to_owned(), name.to_owned()));
            }
            address.set_options(address::Room::Widths, options);
        }
    });

    view! {
        <section class="widths" aria-labelledby="widths-title">
            <header>
                <h1 id="widths-title">"Switch widths"</h1>
                <p>"One trained network, run at any of its widths: the same weights, nothing is loaded anew. Choose a picture, then slide."</p>
            </header>
            <div class="choices">
                <source::NetworkPanel look device/>
                <picture::PicturePanel look sample/>
            </div>
            <Show when=move || look.network.with(Option::is_some)>
                <cost::WidthPanel look/>
                <div class="views">
                    <neighbours::NeighbourPanel look/>
                    <map::MapPanel look/>
                </div>
                <cost::Table look/>
                <record::Downloads look/>
            </Show>
        </section>
    }
}

/// Sets a signal that has another value.
fn change<T: PartialEq + Send + Sync + 'static>(signal: RwSignal<T>, value: T) {
    if signal.with_untracked(|before| *before != value) {
        signal.set(value);
    }
}

/// The value of an option, if it is there and can be read.
fn option<T: std::str::FromStr>(options: &Options, name: &str) -> Option<T> {
    options.iter().find(|(key, _)| key == name)?.1.parse().ok()
}

/// The devices to choose from, with their names in the address; the first is the default.
const DEVICES: [(Choice, &str, &str); 3] =
    [(Choice::Auto, "auto", "Automatic"), (Choice::Webgpu, "webgpu", "WebGPU"), (Choice::Cpu, "cpu", "CPU")];

fn device_of(options: &Options) -> Choice {
    let name: Option<String> = option(options, "device");
    DEVICES.iter().find(|(_, known, _)| name.as_deref() == Some(known)).map_or(Choice::Auto, |(device, ..)| *device)
}

/// The name in the address; none of the default.
fn name_of(device: Choice) -> Option<&'static str> {
    DEVICES[1..].iter().find(|(known, ..)| *known == device).map(|(_, name, _)| *name)
}
