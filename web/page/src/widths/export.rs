//! Downloads: the embeddings as JSON, the map as SVG or PNG.

use leptos::prelude::*;
use serde::Serialize;
use wasm_bindgen_futures::spawn_local;

use super::{
    map,
    viewer::{EmbeddedPicture, Network, Viewer},
};
use crate::{download, fetch};

/// The map's file name, without extension.
const MAP_NAME: &str = "embedding-map";

/// A picture as embedded at all widths.
#[derive(Serialize)]
struct Export<'a> {
    network: &'a str,
    architecture: &'a str,
    device: String,
    picture: &'a str,
    widths: Vec<AtWidth<'a>>,
}

/// A picture as embedded at one width.
#[derive(Serialize)]
struct AtWidth<'a> {
    width: f64,
    parameters: u64,
    macs: u64,
    milliseconds: f64,
    /// A unit vector.
    feature: &'a [f32],
    /// Coordinates on the map.
    place: [f32; 2],
    /// Nearest first.
    neighbours: Vec<Neighbour<'a>>,
}

/// A gallery image.
#[derive(Serialize)]
struct Neighbour<'a> {
    image: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'a str>,
    cosine: f32,
}

impl<'a> Export<'a> {
    fn new(network: &'a Network, embedded: &'a EmbeddedPicture, device: String) -> Self {
        let widths =
            network.profile.iter().zip(&embedded.widths).zip(&embedded.features).map(|((cost, at), feature)| AtWidth {
                width: at.width,
                parameters: cost.parameters,
                macs: cost.macs,
                milliseconds: at.milliseconds,
                feature,
                place: at.at,
                neighbours: (at.neighbours.iter())
                    .map(|&(image, cosine)| Neighbour {
                        image,
                        class: network.label(image).map(|(_, name)| name),
                        cosine,
                    })
                    .collect(),
            });
        Self {
            network: &network.name,
            architecture: &network.architecture,
            device,
            picture: &embedded.caption,
            widths: widths.collect(),
        }
    }
}

/// Returns the embeddings of the picture that is shown, as JSON.
fn embeddings(viewer: Viewer) -> Option<String> {
    let (network, embedded) = (viewer.network.get_untracked()?, viewer.embedded.get_untracked()?);
    let device = viewer.device.get_untracked().unwrap_or_default();
    serde_json::to_string(&Export::new(&network, &embedded, device)).ok()
}

/// The download buttons.
#[component]
pub fn Downloads(viewer: Viewer) -> impl IntoView {
    let failed =
        move |error| viewer.error.set(Some(format!("The file could not be saved ({}).", fetch::message(error))));
    let as_json = move |_| {
        let saved = embeddings(viewer).map(|json| download::save("embeddings.json", &json.into(), "application/json"));
        saved.into_iter().filter_map(Result::err).for_each(failed);
    };
    let as_svg = move |_| {
        let saved = map::svg(viewer).map(|svg| download::save_svg(MAP_NAME, &svg));
        saved.into_iter().filter_map(Result::err).for_each(failed);
    };
    let as_png = move |_| {
        if let Some(svg) = map::svg(viewer) {
            spawn_local(async move { download::save_png(MAP_NAME, &svg).await.unwrap_or_else(failed) });
        }
    };
    let no_picture = move || viewer.embedded.with(Option::is_none);
    view! {
        <p class="actions downloads" role="group" aria-label="Downloads">
            <button type="button" disabled=no_picture on:click=as_json>"Embeddings (JSON)"</button>
            <button type="button" on:click=as_svg>"Map (SVG)"</button>
            <button type="button" on:click=as_png>"Map (PNG)"</button>
        </p>
    }
}
