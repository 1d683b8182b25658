//! The picture as the network sees it, and its nearest neighbours in the gallery.

use leptos::prelude::*;
use slimclr_report::escape;

use super::{
    marker,
    viewer::{EmbeddedPicture, Network, Viewer},
};

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
                    <ol inner_html=neighbours(&network, &embedded, viewer.width.get())></ol>
                })
            }}
        </section>
    }
}

/// Returns the nearest neighbours as list items in HTML.
fn neighbours(network: &Network, embedded: &EmbeddedPicture, width: usize) -> String {
    let item = |&(image, cosine): &(usize, f32)| {
        let label = network.label(image).map(|(class, name)| {
            let is_same = embedded.class == Some(class);
            let tick =
                if is_same { r#"<span class="tick">✓<span class="unseen"> same class</span></span>"# } else { "" };
            format!(r#"{tick}<span class="class">{}{}</span>"#, marker::html(class), escape(name))
        });
        let (url, label) = (network.images.url(image).unwrap_or_default(), label.unwrap_or_default());
        format!(r#"<li><img src="{url}" alt="">{label}<span class="cosine">{cosine:.3}</span></li>"#)
    };
    embedded.nearest(width).iter().map(item).collect()
}

/// Summarises the neighbours' classes; empty if the images have no labels.
fn summary(network: &Network, embedded: &EmbeddedPicture, width: usize) -> String {
    let shown = embedded.nearest(width).len();
    if let Some(same) = embedded.same_class(network, width) {
        let name = embedded.class.and_then(|class| network.class(class)).unwrap_or_default();
        let of_full = embedded.same_class(network, 0).filter(|_| width > 0);
        let of_full = of_full.map(|same| format!(" At full width, {same} have.")).unwrap_or_default();
        return format!("{same} of {shown} neighbours have its class, {name}.{of_full}");
    }
    let labels = || embedded.nearest(width).iter().filter_map(|(image, _)| network.label(*image));
    let count = |class: u32| labels().filter(|(other, _)| *other == class).count();
    // Reversed, because `max_by_key` returns the last of several maxima, and the nearest should win.
    let all: Vec<(u32, &str)> = labels().collect();
    let most = all.iter().rev().max_by_key(|(class, _)| count(*class));
    most.map_or(String::new(), |(class, name)| format!("{} of {shown} neighbours are of class {name}.", count(*class)))
}
