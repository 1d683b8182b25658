//! Step 7: what kNN and a linear probe ask of features.

use leptos::prelude::*;

use super::{
    Live, Step, answer,
    probe::{IMAGES, normal},
    range_input::RangeInput,
};

/// Neighbours that vote.
const NEIGHBOURS: usize = 5;
/// Distance of the classes, and the spread within a class, along the feature that separates them.
const DISTANCE: f64 = 0.3;
const SPREAD: f64 = 0.06;
/// Half the plot's width and height.
const REACH: [f64; 2] = [0.75, 9.0];
/// SVG units for 1 along each feature. The irrelevant feature can spread so far that it is drawn smaller.
const SCALE: [f64; 2] = [180.0, 18.0];

pub const STEP: Step = Step {
    title: "What has it learned?",
    text: "lesson/evaluation.html",
    control: || view! { <Questions/> }.into_any(),
    live: Some(Live {
        text: "lesson/evaluation-run.html",
        setups: &[("As it is", ""), ("A tenth of the learning rate", "learning_rate=0.002")],
        figures: &["accuracy"],
        answer: answer::gain,
    }),
};

/// A plot of two classes by two features, with sliders that mislead one method or the other.
#[component]
fn Questions() -> impl IntoView {
    let (split, noise) = (RwSignal::new(0.0_f64), RwSignal::new(0.6_f64));
    let points = Memo::new(move |_| (0..IMAGES).map(|at| point(at, split.get(), noise.get())).collect::<Vec<_>>());
    let line = Memo::new(move |_| points.with(|points| probe(points)));
    let accuracies = [
        Signal::derive(move || points.with(|points| knn_accuracy(points))),
        Signal::derive(move || points.with(|points| probe_accuracy(points, line.get()))),
    ];
    let dots = move || {
        let dot = |(index, [x, y]): (usize, &[f64; 2])| {
            let class = if is_first(index) { "first" } else { "second" };
            format!(r#"<circle class="{class}" r="2.4" cx="{:.1}" cy="{:.1}"/>"#, x * SCALE[0], -y * SCALE[1])
        };
        points.with(|points| points.iter().enumerate().map(dot).collect::<String>())
    };
    let [width, height] = [REACH[0] * SCALE[0], REACH[1] * SCALE[1]];
    let cut = move || {
        let [a, b, c] = line.get();
        // The points where a x + b y + c is 0, from the bottom to the top.
        let at = |y: f64| if a.abs() < 1e-9 { f64::INFINITY } else { -(b * y + c) / a };
        let [bottom, top] = [at(-REACH[1]), at(REACH[1])];
        let is_drawn = bottom.is_finite() && top.is_finite();
        if is_drawn { format!("M{} {height}L{} {}", bottom * SCALE[0], top * SCALE[0], -height) } else { String::new() }
    };
    let row = |name: &'static str, accuracy: Signal<f64>| {
        view! {
            <tr>
                <th scope="row">{name}</th>
                <td>
                    <span class="share"><span class="bar" style:width=move || format!("{}%", 100.0 * accuracy.get())></span></span>
                    {move || format!("{:.0} %", 100.0 * accuracy.get())}
                </td>
            </tr>
        }
    };
    view! {
        <svg
            class="layers questions" role="img" aria-label="Pictures of two classes by two features, and the probe’s cut"
            viewBox=format!("{} {} {} {}", -width, -height, 2.0 * width, 2.0 * height)
        >
            <g inner_html=dots></g>
            <path class="own" d=cut/>
            <text class="axis" x=width - 4.0 y=height - 5.0 text-anchor="end">"feature that separates the classes →"</text>
            <text class="axis" x=4.0 - width y=12.0 - height>"↑ irrelevant feature, drawn ten times smaller"</text>
        </svg>
        <RangeInput label="Second class on both sides of the first" value=split min=0.0 max=1.0 step=0.05 digits=2/>
        <RangeInput label="Spread of the irrelevant feature" value=noise min=0.2 max=4.0 step=0.2 digits=1/>
        <table>
            <thead><tr><th scope="col">"Question"</th><th scope="col">"Correct"</th></tr></thead>
            <tbody>{row("Who are your neighbours?", accuracies[0])}{row("Is there a straight cut?", accuracies[1])}</tbody>
        </table>
    }
}

/// Returns whether a picture is of the first class.
fn is_first(picture: usize) -> bool {
    picture.is_multiple_of(2)
}

/// Returns the features of a picture. Of the second class, every other picture moves to the other side as `split` grows.
fn point(picture: usize, split: f64, noise: f64) -> [f64; 2] {
    let [x, y] = normal(picture);
    let centre = match picture % 4 {
        1 => DISTANCE / 2.0,
        3 => DISTANCE / 2.0 - split * 2.0 * DISTANCE,
        _ => -DISTANCE / 2.0,
    };
    // Both sides are equally far when the class is split.
    [centre + split * DISTANCE / 2.0 + SPREAD * x, noise * y]
}

/// Returns the share of pictures whose nearest others are mostly of their class.
fn knn_accuracy(points: &[[f64; 2]]) -> f64 {
    let is_right = |index: usize| {
        let [x, y] = points[index];
        let mut nearest = [(f64::INFINITY, false); NEIGHBOURS];
        for (other, at) in points.iter().enumerate().filter(|(other, _)| *other != index) {
            let mut candidate = ((at[0] - x).hypot(at[1] - y), is_first(other));
            for slot in &mut nearest {
                if candidate.0 < slot.0 {
                    std::mem::swap(slot, &mut candidate);
                }
            }
        }
        let votes = nearest.iter().filter(|(_, is_first)| *is_first).count();
        (2 * votes > NEIGHBOURS) == is_first(index)
    };
    (0..points.len()).filter(|index| is_right(*index)).count() as f64 / points.len() as f64
}

/// Fits `a x + b y + c` to 1 for the first class and -1 for the second, by least squares. Returns a, b and c.
fn probe(points: &[[f64; 2]]) -> [f64; 3] {
    let mean = |value: &dyn Fn(usize) -> f64| (0..points.len()).map(value).sum::<f64>() / points.len() as f64;
    let target = |index: usize| if is_first(index) { 1.0 } else { -1.0 };
    let [x, y, t] = [mean(&|at| points[at][0]), mean(&|at| points[at][1]), mean(&target)];
    let covariance = |one: &dyn Fn(usize) -> f64, other: &dyn Fn(usize) -> f64| mean(&|at| one(at) * other(at));
    let (dx, dy, dt) = (|at: usize| points[at][0] - x, |at: usize| points[at][1] - y, |at: usize| target(at) - t);
    let [xx, xy, yy] = [covariance(&dx, &dx), covariance(&dx, &dy), covariance(&dy, &dy)];
    let [xt, yt] = [covariance(&dx, &dt), covariance(&dy, &dt)];
    let determinant = xx * yy - xy * xy;
    let (a, b) = ((yy * xt - xy * yt) / determinant, (xx * yt - xy * xt) / determinant);
    [a, b, t - a * x - b * y]
}

/// Returns the share of pictures that are on the right side of the cut.
fn probe_accuracy(points: &[[f64; 2]], [a, b, c]: [f64; 3]) -> f64 {
    let right = |(index, [x, y]): &(usize, &[f64; 2])| (a * x + b * y + c > 0.0) == is_first(*index);
    points.iter().enumerate().filter(right).count() as f64 / points.len() as f64
}
