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
        let (class, name) = network.label(image);
        let same = embedded.class == Some(class);
        view! {
            <li>
                <img src=network.images.url(image) alt=""/>
                {same.then(|| view! { <span class="tick">"✓"<span class="unseen">" same class"</span></span> })}
                <span class="class"><Marker class/>{name.to_owned()}</span>
                <span class="cosine">{format!("{cosine:.3}")}</span>
            </li>
        }
    });
    items.collect_view()
}

/// Summarises the neighbours' classes in a sentence.
fn summary(network: &Network, embedded: &EmbeddedPicture, width: usize) -> String {
    let Some(embedding) = embedded.widths.get(width) else { return String::new() };
    let shown = &embedding.neighbours[..embedding.neighbours.len().min(SHOWN)];
    let count = |class: u32| shown.iter().filter(|(image, _)| network.label(*image).0 == class).count();
    match embedded.class {
        Some(class) => {
            format!("{} of {} neighbours have its class, {}.", count(class), shown.len(), network.class(class))
        }
        None => {
            // Reversed, because `max_by_key` returns the last of several maxima, and the nearest should win.
            let most =
                shown.iter().rev().map(|(image, _)| network.label(*image)).max_by_key(|(class, _)| count(*class));
            most.map_or(String::new(), |(class, name)| {
                format!("{} of {} neighbours are of class {name}.", count(class), shown.len())
            })
        }
    }
}
