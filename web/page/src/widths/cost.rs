//! The width slider, and the cost and accuracy of each width.

use leptos::prelude::*;
use slimclr_report::{compact, escape};

use super::viewer::{EmbeddedPicture, Network, Viewer};

/// The width slider, with the cost of the chosen width.
#[component]
pub fn WidthPanel(viewer: Viewer) -> impl IntoView {
    let last = Memo::new(move |_| {
        viewer.network.with(|network| network.as_ref().map_or(0, |network| network.profile.len() - 1))
    });
    // The slider's right end is the widest network, which has index 0.
    let slide = move |value: &str| {
        if let Ok(position) = value.parse::<usize>() {
            viewer.width.set(last.get_untracked().saturating_sub(position));
        }
    };
    let stops = move || {
        let network = viewer.network.get()?;
        Some(network.profile.iter().rev().map(|cost| view! { <span>{cost.width}</span> }).collect_view())
    };
    let of_network = move |cost: fn(&slimclr_network::profile::Profile) -> f64| {
        let network = viewer.network.get()?;
        Some([cost(network.profile.get(viewer.width.get())?), cost(network.profile.first()?)])
    };
    let latency = move || {
        let embedded = viewer.embedded.get()?;
        Some([embedded.widths.get(viewer.width.get())?.milliseconds, embedded.widths.first()?.milliseconds])
    };
    let parameters = Signal::derive(move || of_network(|cost| cost.parameters as f64));
    let macs = Signal::derive(move || of_network(|cost| cost.macs as f64));
    let knn = Signal::derive(move || {
        let network = viewer.network.get()?;
        Some([*network.knn.get(viewer.width.get())?, *network.knn.first()?])
    });
    view! {
        <section class="panel width" aria-label="Width and cost">
            <label class="slider">
                <span>"Width " <strong>{move || viewer.width_name()}</strong></span>
                <input
                    type="range" min="0" max=last step="1" disabled=move || last.get() == 0
                    prop:value=move || (last.get() - viewer.width.get().min(last.get())).to_string()
                    aria-valuetext=move || format!("width {}", viewer.width_name())
                    on:input:target=move |event| slide(&event.target().value())
                />
                <span class="stops" aria-hidden="true">{stops}</span>
            </label>
            <dl class="costs">
                <Cost name="Parameters" values=parameters format=|cost| compact(cost as u64)/>
                <Cost name="Multiply-accumulates" values=macs format=|cost| compact(cost as u64)/>
                <Cost name="Time per image, here" values=Signal::derive(latency) format=milliseconds/>
                <Cost name="kNN accuracy" values=knn format=percent/>
            </dl>
        </section>
    }
}

/// One cost of the width, or what it buys, as a number and as a share of the full network's.
#[component]
fn Cost(name: &'static str, values: Signal<Option<[f64; 2]>>, format: fn(f64) -> String) -> impl IntoView {
    let share = move || values.get().map_or(0.0, |[value, full]| 100.0 * value / full.max(f64::MIN_POSITIVE));
    view! {
        <div>
            <dt>{name}</dt>
            <dd>
                <strong>{move || values.get().map_or("–".to_owned(), |[value, _]| format(value))}</strong>
                <span class="share">{move || values.get().map(|_| format!("{:.0} % of full", share()))}</span>
                <span class="bar" aria-hidden="true">
                    <span style:width=move || format!("{:.1}%", share().min(100.0))></span>
                </span>
            </dd>
        </div>
    }
}

/// A table of all widths: cost, kNN accuracy, nearest neighbours, and the variance that the map explains.
#[component]
pub fn Table(viewer: Viewer) -> impl IntoView {
    let rows = move || {
        let (network, embedded) = (viewer.network.get(), viewer.embedded.get());
        let embedded = embedded.as_deref();
        network.map_or_else(String::new, |network| {
            let row = |index: usize| row(&network, embedded, index, viewer.width.get() == index);
            (0..network.profile.len()).map(row).collect()
        })
    };
    let note = move || {
        let device = viewer.device.get()?;
        let shown = viewer.network.with(|network| network.as_ref().map(|network| network.labels.len()))?;
        Some(format!(
            "Time: one image to its features, median of 5 runs, on {device}. kNN: how many of the {shown} pictures on \
             the map a vote of their nearest neighbours gets right."
        ))
    };
    view! {
        <section class="panel all-widths" aria-labelledby="all-widths-title">
            <h2 id="all-widths-title">"All widths"</h2>
            <div class="scroll" tabindex="0" role="group" aria-labelledby="all-widths-title">
                <table>
                    <thead>
                        <tr>
                            <th scope="col">"Width"</th><th scope="col">"Parameters"</th><th scope="col">"MACs"</th>
                            <th scope="col">"Time"</th><th scope="col">"kNN"</th><th scope="col">"Same class"</th>
                            <th scope="col">"Nearest"</th><th scope="col">"Cosine"</th>
                            <th scope="col">"Variance on the map"</th>
                        </tr>
                    </thead>
                    <tbody inner_html=rows></tbody>
                </table>
            </div>
            <p class="note">{note}</p>
        </section>
    }
}

/// Returns the row of a width, as HTML.
fn row(network: &Network, embedded: Option<&EmbeddedPicture>, index: usize, is_chosen: bool) -> String {
    let Some(cost) = network.profile.get(index) else { return String::new() };
    let time = embedded.and_then(|embedded| Some(milliseconds(embedded.widths.get(index)?.milliseconds)));
    let knn = network.knn.get(index).map(|share| percent(*share));
    let same = embedded.and_then(|embedded| {
        Some(format!("{} of {}", embedded.same_class(network, index)?, embedded.nearest(index).len()))
    });
    let nearest = embedded.and_then(|embedded| embedded.nearest(index).first());
    // Without labels, its picture tells which it is.
    let name = nearest.map(|(image, _)| match network.label(*image) {
        Some((_, class)) => escape(class),
        None => {
            let url = network.images.url(*image).unwrap_or_default();
            format!(r#"<img src="{url}" alt="image {image}">"#)
        }
    });
    let cosine = nearest.map(|(_, cosine)| format!("{cosine:.3}"));
    let explained = network.maps.get(index).map(|map| percents(map.explained));
    let costs = [Some(compact(cost.parameters)), Some(compact(cost.macs))];
    let cells = costs.into_iter().chain([time, knn, same, name, cosine, explained]);
    let cells: String = cells.map(|cell| format!("<td>{}</td>", cell.unwrap_or_default())).collect();
    let class = if is_chosen { "chosen" } else { "" };
    format!(r#"<tr class="{class}"><th scope="row">{}</th>{cells}</tr>"#, cost.width)
}

/// Formats the shares of the variance along two components.
pub fn percents(explained: [f64; 2]) -> String {
    explained.map(percent).join(" + ")
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

fn milliseconds(value: f64) -> String {
    let digits = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.digits$} ms")
}
