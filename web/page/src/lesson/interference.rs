//! Step 4: two gradients on the same weights.

use std::f64::consts::PI;

use js_sys::Math;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{Element, PointerEvent};

use super::{Live, Step, answer, range_input::RangeInput};

/// SVG units for a gradient of length 1.
const UNIT: f64 = 38.0;
/// SVG units from the centre to the edge.
const REACH: f64 = 120.0;
/// Minimum and maximum length of the second gradient.
const LENGTHS: [f64; 2] = [0.1, 2.0];

pub const STEP: Step = Step {
    title: "When gradients conflict",
    text: "lesson/interference.html",
    control: || view! { <Gradients/> }.into_any(),
    live: Some(Live {
        text: "lesson/interference-run.html",
        setups: &[
            ("Four widths", "slow_start=0&distill=none&reweighting=0"),
            ("Only 1 and 0.25", "slow_start=0&distill=none&reweighting=0&widths=1,0.25"),
            ("With gradient surgery", "slow_start=0&distill=none&reweighting=0&surgery=pcgrad"),
        ],
        figures: &["figure3", "cosines"],
        answer: answer::conflicts,
    }),
};

/// A two-dimensional gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Arrow {
    x: f64,
    y: f64,
}

impl Arrow {
    const FIRST: Self = Self { x: 1.0, y: 0.0 };

    fn new(degrees: f64, length: f64) -> Self {
        // By the browser, because Rust's tables for it are large.
        let radians = degrees * PI / 180.0;
        Self { x: length * Math::cos(radians), y: length * Math::sin(radians) }
    }

    fn plus(self, other: Self) -> Self {
        Self { x: self.x + other.x, y: self.y + other.y }
    }

    fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y
    }

    fn length(self) -> f64 {
        self.dot(self).sqrt()
    }

    /// Returns the SVG path of an arrow from the origin.
    fn path(self) -> String {
        let (x, y) = (self.x * UNIT, -self.y * UNIT);
        let length = x.hypot(y);
        if length < 1.0 {
            return String::new();
        }
        let head = |side: f64| {
            let (along, across) = (-9.0 / length, side * 5.0 / length);
            format!("M{x:.2} {y:.2}l{:.2} {:.2}", x * along - y * across, y * along + x * across)
        };
        format!("M0 0L{x:.2} {y:.2}{}{}", head(1.0), head(-1.0))
    }
}

/// Two gradients, of which the second can be dragged, and how a step along their sum changes each width's loss.
#[component]
fn Gradients() -> impl IntoView {
    let (angle, length) = (RwSignal::new(60.0), RwSignal::new(1.0));
    let second = Signal::derive(move || Arrow::new(angle.get(), length.get()));
    let sum = Signal::derive(move || Arrow::FIRST.plus(second.get()));
    let cosine = Signal::derive(move || second.get().dot(Arrow::FIRST) / second.get().length());
    let drag = move |event: PointerEvent| {
        if let Some((to, held)) = pointer(&event)
            && held
        {
            angle.set((Math::atan2(to.y, to.x) * 180.0 / PI).round());
            length.set(((to.length() * 20.0).round() / 20.0).clamp(LENGTHS[0], LENGTHS[1]));
        }
    };
    let press = move |event: PointerEvent| {
        if let Some(drawing) = event.current_target() {
            // Without the capture, dragging ends at the edge.
            let _ = drawing.unchecked_ref::<Element>().set_pointer_capture(event.pointer_id());
        }
        drag(event);
    };
    let end = |arrow: Arrow| (arrow.x * UNIT, -arrow.y * UNIT);
    // Places a label beyond an arrow's head.
    let beyond = move |arrow: Arrow| {
        let (x, y) = end(arrow);
        let longer = 1.0 + 20.0 / x.hypot(y).max(1.0);
        (x * longer, (y * longer + 4.0).clamp(12.0 - REACH, REACH - 6.0))
    };
    let label = move || {
        format!(
            "Two gradients at an angle of {:.0} degrees, the second {:.2} times as long as the first, and their sum",
            angle.get().abs(),
            length.get()
        )
    };
    view! {
        <svg
            class="arrows" role="img" aria-label=label on:pointerdown=press on:pointermove=drag
            viewBox=format!("{} {} {} {}", -REACH, -REACH, 2.0 * REACH, 2.0 * REACH)
        >
            <circle class="unit" r=UNIT/>
            <path class="sum" d=move || sum.get().path()/>
            <path class="first" d=Arrow::FIRST.path()/>
            <path class="second" d=move || second.get().path()/>
            <circle class="grip" r="9" cx=move || end(second.get()).0 cy=move || end(second.get()).1/>
            <text class="first" x=end(Arrow::FIRST).0 - 10.0 y="16">"g₁"</text>
            <text class="second" x=move || beyond(second.get()).0 y=move || beyond(second.get()).1>"g₂"</text>
            <text class="sum" x=move || beyond(sum.get()).0 y=move || beyond(sum.get()).1>"g₁ + g₂"</text>
        </svg>
        <RangeInput label="Angle of g₂" value=angle min=-180.0 max=180.0 step=1.0 digits=0 unit="°"/>
        <RangeInput label="Length of g₂" value=length min=LENGTHS[0] max=LENGTHS[1] step=0.05 digits=2/>
        <p class="verdict" role="status">
            <strong>{move || format!("cos φ = {}", number(cosine.get()))}</strong>
            {move || if cosine.get() < -0.005 { " (conflict)" } else { "" }}
        </p>
        <dl class="verdict">
            <Effect name="Width 1" gain=Signal::derive(move || Arrow::FIRST.dot(sum.get()))/>
            <Effect name="Width 2" gain=Signal::derive(move || second.get().dot(sum.get()))/>
        </dl>
    }
}

/// The change of one width's loss.
#[component]
fn Effect(name: &'static str, gain: Signal<f64>) -> impl IntoView {
    let change = move || match rounded(gain.get()) {
        gain if gain > 0.0 => "loss falls",
        gain if gain < 0.0 => "loss rises",
        _ => "loss is unchanged",
    };
    view! {
        <dt>{name}</dt>
        <dd class:worse=move || rounded(gain.get()) < 0.0>{change}", ΔL ≈ "{move || number(-gain.get())}" η"</dd>
    }
}

/// Formats a number with a minus sign instead of a hyphen.
fn number(value: f64) -> String {
    format!("{:.2}", rounded(value)).replace('-', "−")
}

/// Rounds to the two decimals that are shown, without a negative zero.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0 + 0.0
}

/// Returns the pointer's position in the plane, and whether its button is pressed.
fn pointer(event: &PointerEvent) -> Option<(Arrow, bool)> {
    let drawing: Element = event.current_target()?.dyn_into().ok()?;
    let frame = drawing.get_bounding_client_rect();
    let along = |at: i32, start: f64, extent: f64| ((f64::from(at) - start) / extent * 2.0 - 1.0) * REACH / UNIT;
    let x = along(event.client_x(), frame.left(), frame.width());
    let y = -along(event.client_y(), frame.top(), frame.height());
    Some((Arrow { x, y }, event.buttons() & 1 == 1))
}
