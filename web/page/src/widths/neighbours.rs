//! The picture as the network sees it, and the images of the gallery that it finds most alike.

use leptos::prelude::*;

use super::{
    look::{Look, Network, Seen},
    mark::Mark,
};

/// Neighbours that are shown.
const SHOWN: usize = 12;

/// The picture and its nearest neighbours at the width that is shown.
#[component]
pub fn NeighbourPanel(look: Look) -> impl IntoView {
    view! {
        <section class="panel neighbours" aria-labelledby="neighbours-title">
            <h2 id="neighbours-title">"Nearest neighbours at width " {move || look.width_name()}</h2>
            {move || {
                let (seen, network) = (look.seen.get()?, look.network.get()?);
                let url = seen.pixels.url(0);
                Some(view! {
                    <div class="seen">
                        <figure><img src=url alt=format!("The picture as the network sees it: {}", seen.what)/><figcaption>{seen.what.clone()}</figcaption></figure>
                        <p role="status">{verdict(&network, &seen, look.width.get())}</p>
                    </div>
                    <ol>{neighbours(&network, &seen, look.width.get())}</ol>
                })
            }}
        </section>
    }
}

fn neighbours(network: &Network, seen: &Seen, width: usize) -> impl IntoView + use<> {
    let nearest = seen.widths.get(width).map_or(&[][..], |embedding| &embedding.neighbours);
    let items = nearest.iter().take(SHOWN).map(|&(image, cosine)| {
        let (class, name) = network.label(image);
        let same = seen.class == Some(class);
        view! {
            <li>
                <img src=network.images.url(image) alt=""/>
                {same.then(|| view! { <span class="tick">"✓"<span class="unseen">" same class"</span></span> })}
                <span class="class"><Mark class/>{name.to_owned()}</span>
                <span class="cosine">{format!("{cosine:.3}")}</span>
            </li>
        }
    });
    items.collect_view()
}

/// What the neighbours say, in a sentence.
fn verdict(network: &Network, seen: &Seen, width: usize) -> String {
    let Some(embedding) = seen.widths.get(width) else { return String::new() };
    let shown = &embedding.neighbours[..embedding.neighbours.len().min(SHOWN)];
    let counted = |class: u32| shown.iter().filter(|(image, _)| network.label(*image).0 == class).count();
    match seen.class {
        Some(class) => format!("{} of {} have its class, {}.", counted(class), shown.len(), network.class(class)),
        None => {
            // The nearer of two classes with as many.
            let most =
                shown.iter().rev().map(|(image, _)| network.label(*image)).max_by_key(|(class, _)| counted(*class));
            most.map_or(String::new(), |(class, name)| format!("{} of {} are: {name}.", counted(class), shown.len()))
        }
    }
}
