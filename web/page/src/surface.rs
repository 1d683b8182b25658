//! The loss surface in three dimensions, by WebGPU. The heat maps of the report show the same where there is none.

use js_sys::{Float32Array, Promise};
use leptos::{html, prelude::*};
use slimclr_report::relief::{self, Relief, Reliefs, STRIDE};
use slimclr_run::interference::landscape::Landscape;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{HtmlCanvasElement, KeyboardEvent, PointerEvent};

use crate::{download, fetch};

/// The relief's height, as a share of its diagonal.
const HEIGHT: f32 = 0.5;
/// The radius of the weights' way, in the same unit.
const RADIUS: f32 = 0.0075;
/// The eye's distance, in the same unit: near, but all is seen from everywhere.
const DISTANCE: f32 = 1.5;
/// Facets along each direction, about: enough to look round.
const FACETS: usize = 96;

/// Radians for each pixel that a pointer is dragged.
const BY_PIXEL: f32 = 0.008;
/// Radians for each press of an arrow key.
const BY_KEY: f32 = 0.12;
/// Radians a second.
const SPIN: f64 = 0.35;

#[wasm_bindgen(module = "/src/surface.js")]
extern "C" {
    /// A relief on a canvas.
    type Stage;

    fn offered() -> bool;

    #[wasm_bindgen(catch)]
    async fn relief(
        canvas: &HtmlCanvasElement,
        scene: &Float32Array,
        heights: &Float32Array,
        way: &Float32Array,
        lost: &Closure<dyn Fn()>,
    ) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method)]
    fn turn(this: &Stage, yaw: f32, pitch: f32);

    #[wasm_bindgen(method)]
    fn png(this: &Stage) -> Promise;

    #[wasm_bindgen(method)]
    fn close(this: &Stage);
}

/// A relief that is shown until it is dropped.
struct Shown {
    stage: Stage,
    _lost: Closure<dyn Fn()>,
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.stage.close();
    }
}

/// Where the eye is, in radians.
#[derive(Clone, Copy, PartialEq)]
struct Turn {
    yaw: f32,
    /// Above the horizon.
    pitch: f32,
}

impl Turn {
    const FIRST: Self = Self { yaw: 0.6, pitch: 0.6 };

    fn by(self, yaw: f32, pitch: f32) -> Self {
        Self { yaw: self.yaw + yaw, pitch: (self.pitch + pitch).clamp(0.0, 1.5) }
    }

    /// Where a key turns it to.
    fn by_key(self, key: &str) -> Option<Self> {
        match key {
            "ArrowLeft" => Some(self.by(BY_KEY, 0.0)),
            "ArrowRight" => Some(self.by(-BY_KEY, 0.0)),
            "ArrowUp" => Some(self.by(0.0, BY_KEY)),
            "ArrowDown" => Some(self.by(0.0, -BY_KEY)),
            "Home" => Some(Self::FIRST),
            _ => None,
        }
    }
}

/// The loss around the weights of the widest and of the narrowest network, which are turned together. Nothing without a
/// landscape; one line where the browser cannot draw it.
#[component]
pub fn SurfaceView(
    /// The landscape.
    landscape: Signal<Option<Landscape>>,
) -> impl IntoView {
    let missing = RwSignal::new((!offered()).then(|| "this browser offers no WebGPU".to_owned()));
    let reliefs = Memo::new(move |_| landscape.with(|landscape| landscape.as_ref().and_then(relief::reliefs)));
    move || {
        let reliefs = reliefs.get()?;
        Some(match missing.get() {
            Some(why) => view! {
                <p class="note">"No loss surface in three dimensions, for " {why} ": the heat maps show the same."</p>
            }
            .into_any(),
            None => figure(reliefs, missing).into_any(),
        })
    }
}

fn figure(reliefs: Reliefs, missing: RwSignal<Option<String>>) -> impl IntoView {
    let turn = RwSignal::new(Turn::FIRST);
    let Reliefs { reliefs, steps, reading, ends: [low, high] } = reliefs;
    let panels = reliefs.into_iter().map(|relief| view! { <Panel relief steps turn missing/> });
    view! {
        <section class="figure surface" aria-label="The loss surface">
            <header><h2>"The loss around the weights"</h2>{spin(turn)}</header>
            <div class="panels">{panels.collect_view()}</div>
            <p class="key" aria-hidden="true">
                <span>"Loss " {low}</span><span class="ramp" style=ramp()></span><span>{high}</span>
            </p>
            <p class="note">{reading} " Drag it, or use the arrow keys; Home turns it back."</p>
        </section>
    }
}

/// The colours as CSS has them.
fn ramp() -> String {
    let stops = relief::colours().map(|stop| {
        let [red, green, blue] = stop.map(|channel| (channel * 255.0).round());
        format!("rgb({red} {green} {blue})")
    });
    format!("background: linear-gradient(to right, {})", stops.join(", "))
}

/// The switch that lets it turn by itself; there is none for who wants little motion.
fn spin(turn: RwSignal<Turn>) -> Option<impl IntoView> {
    let still = window().match_media("(prefers-reduced-motion: reduce)").ok().flatten();
    let spins = RwSignal::new(false);
    still.is_none_or(|still| !still.matches()).then(|| {
        let toggle = move |_| {
            spins.update(|spins| *spins = !*spins);
            if spins.get_untracked() {
                go_on(spins, turn, None);
            }
        };
        view! { <button type="button" class="quiet" aria-pressed=move || spins.get().to_string() on:click=toggle>"Spin"</button> }
    })
}

/// Turns it a little with every picture, until it is to stop or is gone.
fn go_on(spins: RwSignal<bool>, turn: RwSignal<Turn>, last: Option<f64>) {
    request_animation_frame(move || {
        if spins.try_get_untracked() != Some(true) {
            return;
        }
        let now = js_sys::Date::now();
        // A page in the background is given no pictures.
        let seconds = ((now - last.unwrap_or(now)) / 1000.0).min(0.1);
        turn.update(|turn| *turn = turn.by((SPIN * seconds) as f32, 0.0));
        go_on(spins, turn, Some(now));
    });
}

#[component]
fn Panel(relief: Relief, steps: usize, turn: RwSignal<Turn>, missing: RwSignal<Option<String>>) -> impl IntoView {
    let place = NodeRef::<html::Canvas>::new();
    let shown = StoredValue::new_local(None::<Shown>);
    let trouble = RwSignal::new(None::<String>);
    let width = relief.width;
    let description = format!("{} Arrow keys turn it.", relief.description);
    let redraw = move |Turn { yaw, pitch }| {
        shown.with_value(|shown| shown.iter().for_each(|shown| shown.stage.turn(yaw, pitch)));
    };
    place.on_load(move |canvas| {
        spawn_local(async move {
            match show(&canvas, &relief, steps, missing).await {
                // Handed back, and closed, if the panel is gone by now.
                Ok(stage) => drop(shown.try_set_value(Some(stage))),
                Err(why) => drop(missing.try_set(Some(why))),
            }
            if let Some(turn) = turn.try_get_untracked() {
                redraw(turn);
            }
        });
    });
    Effect::new(move || redraw(turn.get()));
    let save = move |_| {
        let Some(png) = shown.with_value(|shown| shown.as_ref().map(|shown| shown.stage.png())) else { return };
        spawn_local(async move {
            let saved = match JsFuture::from(png).await {
                Ok(png) => download::save(&format!("surface-{width}.png"), &png, "image/png"),
                Err(error) => Err(error),
            };
            let why = saved.err().map(|error| format!("The picture could not be saved: {}.", fetch::words(error)));
            drop(trouble.try_set(why));
        });
    };
    view! {
        <figure>
            <figcaption>
                <strong>"Width " {width}</strong>
                <button type="button" class="quiet" aria-label=format!("Save the surface of width {width} as PNG") on:click=save>"PNG"</button>
            </figcaption>
            <canvas
                node_ref=place tabindex="0" role="img" aria-label=description
                on:pointerdown=grab
                on:pointermove=move |event| drag(&event, turn)
                on:keydown=move |event| press(&event, turn)
            ></canvas>
            <p class="problem" role="alert">{trouble}</p>
        </figure>
    }
}

/// Draws a relief.
///
/// # Errors
/// Why there is none, as what “for” is followed by.
async fn show(
    canvas: &HtmlCanvasElement,
    it: &Relief,
    steps: usize,
    missing: RwSignal<Option<String>>,
) -> Result<Shown, String> {
    let lost = Closure::new(move || drop(missing.try_set(Some("the graphics device was lost".into()))));
    let [scene, heights, way] = [&scene(it, steps)[..], &it.heights, it.path.as_flattened()].map(Float32Array::from);
    let stage = relief(canvas, &scene, &heights, &way, &lost).await.map_err(fetch::words)?;
    Ok(Shown { stage: stage.unchecked_into(), _lost: lost })
}

/// What the shader calls `Scene`; what is the canvas' own is left to it.
fn scene(relief: &Relief, steps: usize) -> Vec<f32> {
    let [columns, rows] = relief.places;
    let facets = (FACETS / (columns.max(rows) - 1)).clamp(1, 8);
    let own = 0.0;
    let numbers = [
        [Turn::FIRST.yaw, Turn::FIRST.pitch, DISTANCE, own],
        [own; 4],
        [own; 4],
        [columns as f32, rows as f32, relief.sides[0], relief.sides[1]],
        [HEIGHT, RADIUS, facets as f32, steps as f32],
        [relief.path.len() as f32, STRIDE as f32, 0.0, 0.0],
    ];
    let colours = relief::colours().map(|[red, green, blue]| [red, green, blue, 1.0]);
    numbers.into_iter().chain(colours).flatten().collect()
}

/// Lets a pointer that leaves the canvas drag on.
fn grab(event: PointerEvent) {
    let canvas: HtmlCanvasElement = event_target(&event);
    // It is refused for a pointer that is gone already.
    let _ = canvas.set_pointer_capture(event.pointer_id());
}

fn drag(event: &PointerEvent, turn: RwSignal<Turn>) {
    if event.buttons() & 1 != 0 {
        let [right, down] = [event.movement_x(), event.movement_y()].map(|pixels| pixels as f32 * BY_PIXEL);
        turn.update(|turn| *turn = turn.by(right, down));
    }
}

fn press(event: &KeyboardEvent, turn: RwSignal<Turn>) {
    if let Some(turned) = turn.get_untracked().by_key(&event.key()) {
        event.prevent_default();
        turn.set(turned);
    }
}
