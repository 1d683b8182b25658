//! The width, and what it costs.

use leptos::prelude::*;
use slimclr_report::compact;

use super::look::Look;

/// The slider of widths, with the cost of the width that it stands on.
#[component]
pub fn WidthPanel(look: Look) -> impl IntoView {
    let last = Memo::new(move |_| look.network.with(|network| network.as_ref().map_or(0, |of| of.profile.len() - 1)));
    // To the right is wider.
    let slide = move |value: &str| {
        if let Ok(place) = value.parse::<usize>() {
            look.width.set(last.get_untracked().saturating_sub(place));
        }
    };
    let stops = move || {
        let network = look.network.get()?;
        Some(network.profile.iter().rev().map(|of| view! { <span>{of.width}</span> }).collect_view())
    };
    let of_network = move |cost: fn(&slimclr_network::profile::Profile) -> f64| {
        let network = look.network.get()?;
        Some([cost(network.profile.get(look.width.get())?), cost(network.profile.first()?)])
    };
    let latency = move || {
        let seen = look.seen.get()?;
        Some([seen.widths.get(look.width.get())?.milliseconds, seen.widths.first()?.milliseconds])
    };
    view! {
        <section class="panel width" aria-label="Width and cost">
            <label class="slider">
                <span>"Width " <strong>{move || look.width_name()}</strong></span>
                <input type="range" min="0" max=last step="1" disabled=move || last.get() == 0
                    prop:value=move || (last.get() - look.width.get().min(last.get())).to_string()
                    aria-valuetext=move || format!("width {}", look.width_name())
                    on:input:target=move |event| slide(&event.target().value())/>
                <span class="stops" aria-hidden="true">{stops}</span>
            </label>
            <dl class="costs">
                <Cost name="Parameters" values=Signal::derive(move || of_network(|of| of.parameters as f64)) words=|cost| compact(cost as u64)/>
                <Cost name="Multiply-accumulates" values=Signal::derive(move || of_network(|of| of.macs as f64)) words=|cost| compact(cost as u64)/>
                <Cost name="Time an image takes here" values=Signal::derive(latency) words=milliseconds/>
            </dl>
        </section>
    }
}

/// A cost of the width, as a number and a bar beside the full network's.
#[component]
fn Cost(name: &'static str, values: Signal<Option<[f64; 2]>>, words: fn(f64) -> String) -> impl IntoView {
    let share = move || values.get().map_or(0.0, |[value, full]| 100.0 * value / full.max(f64::MIN_POSITIVE));
    view! {
        <div>
            <dt>{name}</dt>
            <dd>
                <strong>{move || values.get().map_or("…".to_owned(), |[value, _]| words(value))}</strong>
                <span class="share">{move || values.get().map(|_| format!("{:.0} % of full", share()))}</span>
                <span class="bar" aria-hidden="true"><span style:width=move || format!("{:.1}%", share().min(100.0))></span></span>
            </dd>
        </div>
    }
}

/// All widths in one table: what the pictures show, in numbers.
#[component]
pub fn Table(look: Look) -> impl IntoView {
    let rows = move || {
        let network = look.network.get()?;
        let seen = look.seen.get();
        let rows = network.profile.iter().enumerate().map(|(index, of)| {
            let embedding = seen.as_ref().and_then(|seen| seen.widths.get(index));
            let nearest = embedding.and_then(|embedding| embedding.neighbours.first().copied());
            let explained = network.maps.get(index).map(|map| percents(map.explained));
            view! {
                <tr class:chosen=move || look.width.get() == index>
                    <th scope="row">{of.width}</th>
                    <td>{compact(of.parameters)}</td>
                    <td>{compact(of.macs)}</td>
                    <td>{embedding.map(|embedding| milliseconds(embedding.milliseconds))}</td>
                    <td>{nearest.map(|(image, _)| network.label(image).1.to_owned())}</td>
                    <td>{nearest.map(|(_, cosine)| format!("{cosine:.3}"))}</td>
                    <td>{explained}</td>
                </tr>
            }
        });
        Some(rows.collect_view())
    };
    view! {
        <section class="panel all-widths" aria-labelledby="all-widths-title">
            <h2 id="all-widths-title">"All widths"</h2>
            <div class="scroll" tabindex="0" role="group" aria-labelledby="all-widths-title">
                <table>
                    <thead>
                        <tr>
                            <th scope="col">"Width"</th><th scope="col">"Parameters"</th><th scope="col">"MACs"</th><th scope="col">"Time"</th>
                            <th scope="col">"Nearest"</th><th scope="col">"Cosine"</th><th scope="col">"Map explains"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
            <p class="note">{move || look.device.get().map(|device| format!("Time: from one image to its feature, median of five, on {device}."))}</p>
        </section>
    }
}

/// Shares of the variance along two components.
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
