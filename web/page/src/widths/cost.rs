//! The width slider and the cost of each width.

use leptos::prelude::*;
use slimclr_report::compact;

use super::viewer::Viewer;

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
            </dl>
        </section>
    }
}

/// One cost of the width, as a number and as a share of the full network's.
#[component]
fn Cost(name: &'static str, values: Signal<Option<[f64; 2]>>, format: fn(f64) -> String) -> impl IntoView {
    let share = move || values.get().map_or(0.0, |[value, full]| 100.0 * value / full.max(f64::MIN_POSITIVE));
    view! {
        <div>
            <dt>{name}</dt>
            <dd>
                <strong>{move || values.get().map_or("…".to_owned(), |[value, _]| format(value))}</strong>
                <span class="share">{move || values.get().map(|_| format!("{:.0} % of full", share()))}</span>
                <span class="bar" aria-hidden="true">
                    <span style:width=move || format!("{:.1}%", share().min(100.0))></span>
                </span>
            </dd>
        </div>
    }
}

/// A table of all widths: cost, nearest neighbour, and the variance that the map explains.
#[component]
pub fn Table(viewer: Viewer) -> impl IntoView {
    let rows = move || {
        let network = viewer.network.get()?;
        let embedded = viewer.embedded.get();
        let rows = network.profile.iter().enumerate().map(|(index, cost)| {
            let embedding = embedded.as_ref().and_then(|embedded| embedded.widths.get(index));
            let nearest = embedding.and_then(|embedding| embedding.neighbours.first().copied());
            // Without labels, its picture tells which it is.
            let name = nearest.map(|(image, _)| match network.label(image) {
                Some((_, class)) => class.to_owned().into_any(),
                None => view! { <img src=network.images.url(image) alt=format!("image {image}")/> }.into_any(),
            });
            let explained = network.maps.get(index).map(|map| percents(map.explained));
            view! {
                <tr class:chosen=move || viewer.width.get() == index>
                    <th scope="row">{cost.width}</th>
                    <td>{compact(cost.parameters)}</td>
                    <td>{compact(cost.macs)}</td>
                    <td>{embedding.map(|embedding| milliseconds(embedding.milliseconds))}</td>
                    <td>{name}</td>
                    <td>{nearest.map(|(_, cosine)| format!("{cosine:.3}"))}</td>
                    <td>{explained}</td>
                </tr>
            }
        });
        Some(rows.collect_view())
    };
    let note = move || {
        viewer.device.get().map(|device| format!("Time: one image to its features, median of 5 runs, on {device}."))
    };
    view! {
        <section class="panel all-widths" aria-labelledby="all-widths-title">
            <h2 id="all-widths-title">"All widths"</h2>
            <div class="scroll" tabindex="0" role="group" aria-labelledby="all-widths-title">
                <table>
                    <thead>
                        <tr>
                            <th scope="col">"Width"</th><th scope="col">"Parameters"</th><th scope="col">"MACs"</th>
                            <th scope="col">"Time"</th><th scope="col">"Nearest"</th><th scope="col">"Cosine"</th>
                            <th scope="col">"Variance on the map"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
            <p class="note">{note}</p>
        </section>
    }
}

/// Formats the shares of the variance along two components.
pub fn percents(explained: [f64; 2]) -> String {
    let [first, second] = explained.map(|share| format!("{:.0} %", 100.0 * share));
    format!("{first} + {second}")
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
