//! Step 8: why each width has its own probe.

use std::f64::consts::TAU;

use js_sys::Math;
use leptos::prelude::*;

use super::{Live, Step, answer, range_input::RangeInput};

/// Number of images in the plot.
pub const IMAGES: usize = 150;
/// Half the plot's width and height, in standard deviations of the narrow network's feature.
const REACH: [f64; 2] = [3.2, 5.0];
/// SVG units per standard deviation.
const SCALE: f64 = 30.0;
/// The fractional part of the golden ratio, for a low-discrepancy sequence of angles.
const GOLDEN: f64 = 0.618_033_988_749_895;

pub const STEP: Step = Step {
    title: "A probe for each width",
    text: "lesson/probe.html",
    control: || view! { <Layers/> }.into_any(),
    live: Some(Live {
        text: "lesson/probe-run.html",
        setups: &[("Four widths", ""), ("Only 1 and 0.25", "widths=1,0.25")],
        figures: &["accuracy"],
        answer: answer::lag,
    }),
};

/// A plot of the target against the narrow network's feature, with the fits of the shared and of a separate layer.
///
/// The target is `x₁ + b x₂`, of two features with variance 1. The narrow network has only `x₁`.
#[component]
fn Layers() -> impl IntoView {
    let (correlation, coefficient) = (RwSignal::new(0.6_f64), RwSignal::new(1.0_f64));
    let shared = 1.0;
    let own = Signal::derive(move || shared + correlation.get() * coefficient.get());
    let errors = [
        Signal::derive(move || coefficient.get().powi(2)),
        Signal::derive(move || (1.0 - correlation.get().powi(2)) * coefficient.get().powi(2)),
    ];
    let target = move |[first, second]: [f64; 2]| {
        let correlated = correlation.get() * first + (1.0 - correlation.get().powi(2)).sqrt() * second;
        first + coefficient.get() * correlated
    };
    let dots = move || {
        let dot = |image: [f64; 2]| {
            let [x, y] = [image[0] * SCALE, -target(image) * SCALE];
            format!(r#"<circle class="image" r="1.8" cx="{x:.1}" cy="{y:.1}"/>"#)
        };
        (0..IMAGES).map(normal).map(dot).collect::<String>()
    };
    let line = |slope: f64| {
        let x = REACH[0].min(REACH[1] / slope.abs().max(1e-9));
        format!("M{} {}L{} {}", -x * SCALE, x * slope * SCALE, x * SCALE, -x * slope * SCALE)
    };
    let [width, height] = REACH.map(|reach| reach * SCALE);
    let label = move || {
        format!(
            "The target against the narrow network’s feature for {IMAGES} images. The shared layer’s line has slope 1, \
             the separate layer’s line has slope {:.2}.",
            own.get()
        )
    };
    view! {
        <svg
            class="layers" role="img" aria-label=label
            viewBox=format!("{} {} {} {}", -width, -height, 2.0 * width, 2.0 * height)
        >
            <path class="axes" d=format!("M{} 0h{}M0 {}v{}", -width, 2.0 * width, -height, 2.0 * height)/>
            <g inner_html=dots></g>
            <path class="shared" d=line(shared)/>
            <path class="own" d=move || line(own.get())/>
            <text class="axis" x=width - 4.0 y="-5" text-anchor="end">"feature x₁"</text>
            <text class="axis" x="5" y=12.0 - height>"target y"</text>
        </svg>
        <RangeInput label="Correlation of x₁ and x₂" value=correlation min=-0.9 max=0.9 step=0.1 digits=1/>
        <RangeInput label="Coefficient b of x₂" value=coefficient min=0.0 max=1.5 step=0.1 digits=1/>
        <table>
            <thead><tr>
                <th scope="col">"Layer of the narrow network"</th>
                <th scope="col">"Slope"</th><th scope="col">"Squared error"</th>
            </tr></thead>
            <tbody>
                <tr class="shared">
                    <th scope="row">"slice of the shared layer"</th><td>"1.00"</td>
                    <td>{move || format!("{:.2}", errors[0].get())}</td>
                </tr>
                <tr class="own">
                    <th scope="row">"separate layer"</th><td>{move || format!("{:.2}", own.get())}</td>
                    <td>{move || format!("{:.2}", errors[1].get())}</td>
                </tr>
            </tbody>
        </table>
    }
}

/// Returns the `index`-th of [`IMAGES`] points that are distributed like two independent normal variables.
pub fn normal(index: usize) -> [f64; 2] {
    let radius = (-2.0 * ((index as f64 + 0.5) / IMAGES as f64).ln()).sqrt();
    // By the browser, because Rust's tables for it are large.
    let angle = TAU * (index as f64 * GOLDEN).fract();
    [radius * Math::cos(angle), radius * Math::sin(angle)]
}
