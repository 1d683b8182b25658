//! The picture as the network sees it, and its nearest neighbours in the gallery.

use leptos::prelude::*;

use super::{
    marker::Marker,
    viewer::{EmbeddedPicture, Network, Viewer},
};

/// Number of neighbours to show.
const SHOWN: usize = 12;

/// The picture and its nearest neighbours at the width that is shown.
#[component]
pub fn NeighbourPanel(viewer: Viewer) -> impl IntoView {
    view! {
        <section class="panel neighbours" aria-labelledby="neighbours-title">
            <h2 id="neighbours-title">"Nearest neighbours at width " {move || viewer.width_name()}</h2>
            {move || {
                let (embedded, network) = (viewer.embedded.get()?, viewer.network.get()?);
                let url = embedded.pixels.url(0);
                let description = format!("The network’s input: {}", embedded.caption);
                Some(view! {
                    <div class="input">
                        <figure>
                            <img src=url alt=description/><figcaption>{embedded.caption.clone()}</figcaption>
                        </figure>
                        <p role="status">{summary(&network, &embedded, viewer.width.get())}</p>
                    </div>
                    <ol>{neighbours(&network, &embedded, viewer.width.get())}</ol>
                })
            }}
        </section>
    }
}

fn neighbours(network: &Network, embedded: &EmbeddedPicture, width: usize) -> impl IntoView + use<> {
    let nearest = embedded.widths.get(width).map_or(&[][..], |embedding| &embedding.neighbours);
    let items = nearest.iter().take(SHOWN).map(|&(image, cosine)| {
        let label = network.label(image).map(|(class, name)| {
            let same = embedded.class == Some(class);
            view! {
                {same.then(|| view! { <span class="tick">"✓"<span class="unseen">" same class"</span></span> })}
                <span class="class"><Marker class/>{name.to_owned()}</span>
            }
        });
        view! {
            <li>
                <img src=network.images.url(image) alt=""/>
                {label}
                <span class="cosine">{format!("{cosine:.3}")}</span>
            </li>
        }
    });
    items.collect_view()
}

/// Summarises the neighbours' classes in a sentence; empty if the images have no labels.
fn summary(network: &Network, embedded: &EmbeddedPicture, width: usize) -> String {
    let nearest = embedded.widths.get(width).map_or(&[][..], |embedding| &embedding.neighbours);
    let shown: Vec<(u32, &str)> = nearest.iter().take(SHOWN).filter_map(|(image, _)| network.label(*image)).collect();
    let count = |class: u32| shown.iter().filter(|(other, _)| *other == class).count();
    match embedded.class.and_then(|class| Some((class, network.class(class)?))) {
        Some((class, name)) => format!("{} of {} neighbours have its class, {name}.", count(class), shown.len()),
        None => {
            // Reversed, because `max_by_key` returns the last of several maxima, and the nearest should win.
            let most = shown.iter().rev().max_by_key(|(class, _)| count(*class));
            most.map_or(String::new(), |(class, name)| {
                format!("{} of {} neighbours are of class {name}.", count(*class), shown.len())
            })
        }
    }
}
