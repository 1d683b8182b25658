//! What can be taken away: the embeddings as JSON, the map as a drawing.

use leptos::prelude::*;
use serde::Serialize;
use wasm_bindgen_futures::spawn_local;

use super::{
    look::{Look, Network, Seen},
    map,
};
use crate::{download, fetch};

/// The map's name as a file.
const MAP: &str = "embedding-map";

/// A picture at all widths.
#[derive(Serialize)]
struct Record<'a> {
    network: &'a str,
    architecture: &'a str,
    device: String,
    picture: &'a str,
    widths: Vec<AtWidth<'a>>,
}

/// A picture at one width.
#[derive(Serialize)]
struct AtWidth<'a> {
    width: f64,
    parameters: u64,
    macs: u64,
    milliseconds: f64,
    /// Of unit length.
    feature: &'a [f32],
    /// On the map's two components.
    place: [f32; 2],
    /// Nearest first.
    neighbours: Vec<Neighbour<'a>>,
}

/// An image of the gallery.
#[derive(Serialize)]
struct Neighbour<'a> {
    image: usize,
    class: &'a str,
    cosine: f32,
}

impl<'a> Record<'a> {
    fn new(network: &'a Network, seen: &'a Seen, device: String) -> Self {
        let widths =
            network.profile.iter().zip(&seen.widths).zip(&seen.features).map(|((cost, at), feature)| AtWidth {
                width: at.width,
                parameters: cost.parameters,
                macs: cost.macs,
                milliseconds: at.milliseconds,
                feature,
                place: at.at,
                neighbours: (at.neighbours.iter())
                    .map(|&(image, cosine)| Neighbour { image, class: network.label(image).1, cosine })
                    .collect(),
            });
        Self {
            network: &network.name,
            architecture: &network.architecture,
            device,
            picture: &seen.what,
            widths: widths.collect(),
        }
    }
}

/// The embeddings of the picture that is shown as JSON.
fn record(look: Look) -> Option<String> {
    let (network, seen) = (look.network.get_untracked()?, look.seen.get_untracked()?);
    let device = look.device.get_untracked().unwrap_or_default();
    serde_json::to_string(&Record::new(&network, &seen, device)).ok()
}

/// Buttons to take it away.
#[component]
pub fn Downloads(look: Look) -> impl IntoView {
    let refused = move |error| look.trouble.set(Some(format!("The file cannot be saved ({}).", fetch::words(error))));
    let as_json = move |_| {
        let saved = record(look).map(|json| download::save("embeddings.json", &json.into(), "application/json"));
        saved.into_iter().filter_map(Result::err).for_each(refused);
    };
    let as_svg = move |_| {
        let saved = map::sheet(look).map(|svg| download::save_svg(MAP, &svg));
        saved.into_iter().filter_map(Result::err).for_each(refused);
    };
    let as_png = move |_| {
        if let Some(svg) = map::sheet(look) {
            spawn_local(async move { download::save_png(MAP, &svg).await.unwrap_or_else(refused) });
        }
    };
    let nothing = move || look.seen.with(Option::is_none);
    view! {
        <p class="actions downloads" role="group" aria-label="Downloads">
            <button type="button" disabled=nothing on:click=as_json>"Embeddings (JSON)"</button>
            <button type="button" on:click=as_svg>"Map (SVG)"</button>
            <button type="button" on:click=as_png>"Map (PNG)"</button>
        </p>
    }
}
