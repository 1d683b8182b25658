//! A labelled slider that says its value.

use leptos::prelude::*;

/// A slider between `min` and `max`.
#[component]
pub fn Dial(
    label: &'static str,
    value: RwSignal<f64>,
    min: f64,
    max: f64,
    step: f64,
    /// Decimals that are shown.
    digits: usize,
    /// Behind the number.
    #[prop(default = "")]
    unit: &'static str,
) -> impl IntoView {
    let words = move || format!("{:.digits$}{unit}", value.get());
    view! {
        <label class="dial">
            <span>{label}</span>
            <input type="range" min=min max=max step=step prop:value=move || value.get().to_string() aria-valuetext=words
                on:input:target=move |event| if let Ok(chosen) = event.target().value().parse() { value.set(chosen) }/>
            <output>{words}</output>
        </label>
    }
}
