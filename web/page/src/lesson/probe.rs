//! The fifth step: how widths are compared, and why each has a probe of its own.

use std::f64::consts::TAU;

use leptos::prelude::*;

use super::{Live, Step, dial::Dial};

/// Images that are drawn.
const IMAGES: usize = 150;
/// From the drawing's middle to its edges, in standard deviations of the narrow network's feature.
const REACH: [f64; 2] = [3.2, 5.0];
/// Units of the drawing in one of them.
const SCALE: f64 = 30.0;
/// The golden ratio's fractional part, which spreads points evenly.
const GOLDEN: f64 = 0.618_033_988_749_895;

pub const STEP: Step = Step {
    title: "The probe",
    text: "lesson/probe.html",
    control: || view! { <Layers/> }.into_any(),
    live: Some(Live {
        watch: "After each epoch the test images are classified at every width by their nearest neighbours among the training images. Compare with the untrained network’s.",
        setup: || super::lab([&[]], &["widths"], &["accuracy"]),
    }),
};

/// Images by the feature that the narrow network has and the answer, and what two layers make of the feature.
///
/// The answer is `x₁ + b x₂` of two features of variance 1. The narrow network has `x₁` alone.
#[component]
fn Layers() -> impl IntoView {
    let (correlation, rest) = (RwSignal::new(0.6_f64), RwSignal::new(1.0_f64));
    let shared = 1.0;
    let own = Signal::derive(move || shared + correlation.get() * rest.get());
    let errors = [
        Signal::derive(move || rest.get().powi(2)),
        Signal::derive(move || (1.0 - correlation.get().powi(2)) * rest.get().powi(2)),
    ];
    let answer = move |[first, second]: [f64; 2]| {
        let correlated = correlation.get() * first + (1.0 - correlation.get().powi(2)).sqrt() * second;
        first + rest.get() * correlated
    };
    let line = |slope: f64| {
        let x = REACH[0].min(REACH[1] / slope.abs().max(1e-9));
        format!("M{} {}L{} {}", -x * SCALE, x * slope * SCALE, x * SCALE, -x * slope * SCALE)
    };
    let [width, height] = REACH.map(|reach| reach * SCALE);
    let label = move || {
        format!(
            "The answer against the narrow network’s feature: {IMAGES} images, the line of the shared layer with slope 1, and that of the network’s own with slope {:.2}",
            own.get()
        )
    };
    view! {
        <svg class="layers" role="img" aria-label=label viewBox=format!("{} {} {} {}", -width, -height, 2.0 * width, 2.0 * height)>
            <path class="axes" d=format!("M{} 0h{}M0 {}v{}", -width, 2.0 * width, -height, 2.0 * height)/>
            {(0..IMAGES).map(|index| {
                let image = normal(index);
                view! { <circle class="image" r="1.8" cx=image[0] * SCALE cy=move || -answer(image) * SCALE/> }
            }).collect_view()}
            <path class="shared" d=line(shared)/>
            <path class="own" d=move || line(own.get())/>
            <text class="axis" x=width - 4.0 y="-5" text-anchor="end">"feature x₁"</text>
            <text class="axis" x="5" y=12.0 - height>"answer"</text>
        </svg>
        <Dial label="Correlation of the features" value=correlation min=-0.9 max=0.9 step=0.1 digits=1/>
        <Dial label="What the rest says" value=rest min=0.0 max=1.5 step=0.1 digits=1/>
        <table>
            <thead><tr><th scope="col">"Layer of the narrow network"</th><th scope="col">"Slope"</th><th scope="col">"Squared error"</th></tr></thead>
            <tbody>
                <tr class="shared"><th scope="row">"its part of the shared one"</th><td>"1.00"</td><td>{move || format!("{:.2}", errors[0].get())}</td></tr>
                <tr class="own"><th scope="row">"its own"</th><td>{move || format!("{:.2}", own.get())}</td><td>{move || format!("{:.2}", errors[1].get())}</td></tr>
            </tbody>
        </table>
    }
}

/// The `index`-th of some points that are spread like two independent normal variables.
fn normal(index: usize) -> [f64; 2] {
    let radius = (-2.0 * ((index as f64 + 0.5) / IMAGES as f64).ln()).sqrt();
    let (sine, cosine) = (TAU * (index as f64 * GOLDEN).fract()).sin_cos();
    [radius * cosine, radius * sine]
}
