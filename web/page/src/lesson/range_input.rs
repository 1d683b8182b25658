//! A labelled slider that shows its value.

use leptos::prelude::*;

/// A slider from `min` to `max`.
#[component]
pub fn RangeInput(
    label: &'static str,
    value: RwSignal<f64>,
    min: f64,
    max: f64,
    step: f64,
    /// Decimals to show.
    digits: usize,
    /// Suffix of the number.
    #[prop(default = "")]
    unit: &'static str,
) -> impl IntoView {
    let text = move || format!("{:.digits$}{unit}", value.get());
    view! {
        <label class="range-input">
            <span>{label}</span>
            <input
                type="range" min=min max=max step=step prop:value=move || value.get().to_string() aria-valuetext=text
                on:input:target=move |event| value.set(event.target().value_as_number())
            />
            <output>{text}</output>
        </label>
    }
}
