//! A picture that the user draws.

use leptos::{ev, html, prelude::*};
use web_sys::HtmlCanvasElement;

use super::viewer::{ChosenPicture, Viewer};
use crate::pixels;

/// Side of the drawing, in pixels.
const SIDE: u32 = 256;
/// Colours and their names.
const PAINTS: [(&str, &str); 8] = [
    ("#000000", "black"),
    ("#ffffff", "white"),
    ("#c0392b", "red"),
    ("#e08e2b", "orange"),
    ("#2e7d4f", "green"),
    ("#2f6fc4", "blue"),
    ("#7a5230", "brown"),
    ("#8a8f98", "grey"),
];

/// A canvas to draw on, with its tools.
#[component]
pub fn Drawing(viewer: Viewer) -> impl IntoView {
    let canvas = NodeRef::<html::Canvas>::new();
    let paint = RwSignal::new(0);
    let size = RwSignal::new(16.0);
    let last = StoredValue::new(None::<[f64; 2]>);
    let show = move || {
        let drawn = canvas.get_untracked().and_then(|canvas| pixels::read(&canvas));
        if let Some(rgba) = drawn {
            viewer.show(ChosenPicture::Square { caption: "the drawing", side: SIDE, rgba: rgba.as_slice().into() });
        }
    };
    let fill = move |colour: &str| {
        if let Some(context) = canvas.get_untracked().and_then(|canvas| pixels::context(&canvas)) {
            context.set_fill_style_str(colour);
            context.fill_rect(0.0, 0.0, f64::from(SIDE), f64::from(SIDE));
            show();
        }
    };
    canvas.on_load(move |_| fill("#ffffff"));
    let stroke = move |event: &ev::PointerEvent| {
        let Some(canvas) = canvas.get_untracked() else { return };
        let to = position(event, &canvas);
        let from = last.get_value().unwrap_or(to);
        last.set_value(Some(to));
        line(&canvas, from, to, PAINTS[paint.get_untracked()].0, size.get_untracked());
        if !viewer.is_waiting() {
            show();
        }
    };
    let press = move |event: ev::PointerEvent| {
        if let Some(canvas) = canvas.get_untracked() {
            // Without the capture, a stroke ends at the edge.
            let _ = canvas.set_pointer_capture(event.pointer_id());
        }
        last.set_value(None);
        stroke(&event);
    };
    let drag = move |event: ev::PointerEvent| {
        if event.buttons() & 1 == 1 {
            stroke(&event);
        }
    };
    view! {
        <div class="drawing">
            <canvas node_ref=canvas width=SIDE height=SIDE aria-label="Canvas to draw on with mouse, pen or finger"
                on:pointerdown=press on:pointermove=drag on:pointerup=move |_| show()></canvas>
            <div class="brushes">
                <fieldset class="paints">
                    <legend>"Colour"</legend>
                    {PAINTS.into_iter().enumerate().map(|(index, (colour, name))| view! {
                        <label title=name>
                            <input
                                type="radio" name="paint" aria-label=name
                                prop:checked=move || paint.get() == index on:change=move |_| paint.set(index)
                            />
                            <span style:background=colour></span>
                        </label>
                    }).collect_view()}
                </fieldset>
                <label class="range-input"><span>"Brush size"</span>
                    <input
                        type="range" min="4" max="64" step="4" prop:value=move || size.get().to_string()
                        on:input:target=move |event| size.set(event.target().value_as_number())
                    />
                </label>
                <p class="actions">
                    <button type="button" on:click=move |_| fill(PAINTS[paint.get_untracked()].0)>"Fill"</button>
                    <button type="button" on:click=move |_| fill("#ffffff")>"Clear"</button>
                </p>
            </div>
        </div>
    }
}

/// Returns the pointer's position in canvas pixels.
fn position(event: &ev::PointerEvent, canvas: &HtmlCanvasElement) -> [f64; 2] {
    let frame = canvas.get_bounding_client_rect();
    let along = |at: i32, start: f64, extent: f64| (f64::from(at) - start) / extent.max(1.0) * f64::from(SIDE);
    [along(event.client_x(), frame.left(), frame.width()), along(event.client_y(), frame.top(), frame.height())]
}

fn line(canvas: &HtmlCanvasElement, from: [f64; 2], to: [f64; 2], colour: &str, size: f64) {
    let Some(context) = pixels::context(canvas) else { return };
    context.set_stroke_style_str(colour);
    context.set_line_width(size);
    context.set_line_cap("round");
    context.begin_path();
    context.move_to(from[0], from[1]);
    context.line_to(to[0], to[1]);
    context.stroke();
}
