//! The loss landscape in 3D, drawn with WebGPU. The report's heat maps show the same data without it.

use js_sys::{Float32Array, Promise};
use leptos::{html, prelude::*};
use slimclr_report::surface3d::{self, STRIDE, Surface3d, Surfaces3d};
use slimclr_run::interference::landscape::Landscape;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{HtmlCanvasElement, KeyboardEvent, PointerEvent};

use crate::{download, fetch};

/// The surface's height, relative to its diagonal.
const HEIGHT: f32 = 0.5;
/// The radius of the training path, in the same unit.
const RADIUS: f32 = 0.0075;
/// The camera's distance, in the same unit: as near as possible with everything in view from all sides.
const DISTANCE: f32 = 1.5;
/// Approximate number of facets along each direction: enough for a smooth look.
const FACETS: usize = 96;

/// Radians per pixel of dragging.
const BY_PIXEL: f32 = 0.008;
/// Radians per press of an arrow key.
const BY_KEY: f32 = 0.12;
/// Radians per second while rotating.
const SPIN: f64 = 0.35;

#[wasm_bindgen(module = "/src/surface.js")]
extern "C" {
    /// A surface on a canvas.
    type Renderer;

    #[wasm_bindgen(js_name = isSupported)]
    fn is_supported() -> bool;

    #[wasm_bindgen(catch)]
    async fn render(
        canvas: &HtmlCanvasElement,
        scene: &Float32Array,
        heights: &Float32Array,
        path: &Float32Array,
        on_lost: &Closure<dyn Fn()>,
    ) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method)]
    fn rotate(this: &Renderer, yaw: f32, pitch: f32);

    #[wasm_bindgen(method)]
    fn png(this: &Renderer) -> Promise;

    #[wasm_bindgen(method)]
    fn close(this: &Renderer);
}

/// A renderer that is closed when dropped.
struct OpenRenderer {
    renderer: Renderer,
    _on_lost: Closure<dyn Fn()>,
}

impl Drop for OpenRenderer {
    fn drop(&mut self) {
        self.renderer.close();
    }
}

/// The direction of view, in radians.
#[derive(Clone, Copy, PartialEq)]
struct View {
    yaw: f32,
    /// Angle above the horizon.
    pitch: f32,
}

impl View {
    const INITIAL: Self = Self { yaw: 0.6, pitch: 0.6 };

    fn rotated(self, yaw: f32, pitch: f32) -> Self {
        Self { yaw: self.yaw + yaw, pitch: (self.pitch + pitch).clamp(0.0, 1.5) }
    }

    /// Returns the view after a key press; `None` if the key does nothing.
    fn by_key(self, key: &str) -> Option<Self> {
        match key {
            "ArrowLeft" => Some(self.rotated(BY_KEY, 0.0)),
            "ArrowRight" => Some(self.rotated(-BY_KEY, 0.0)),
            "ArrowUp" => Some(self.rotated(0.0, BY_KEY)),
            "ArrowDown" => Some(self.rotated(0.0, -BY_KEY)),
            "Home" => Some(Self::INITIAL),
            _ => None,
        }
    }
}

/// The loss landscapes of the widest and the narrowest network, which rotate together. A note replaces them where
/// WebGPU is missing.
#[component]
pub fn SurfaceView(
    /// The landscape; nothing is shown without one.
    landscape: Signal<Option<Landscape>>,
) -> impl IntoView {
    let unavailable = RwSignal::new((!is_supported()).then(|| "this browser has no WebGPU".to_owned()));
    let surfaces = Memo::new(move |_| landscape.with(|landscape| landscape.as_ref().and_then(surface3d::surfaces)));
    move || {
        let surfaces = surfaces.get()?;
        Some(match unavailable.get() {
            Some(why) => view! {
                <p class="note">
                    "The loss landscape cannot be drawn in 3D: " {why} ". The heat maps show the same data."
                </p>
            }
            .into_any(),
            None => figure(surfaces, unavailable).into_any(),
        })
    }
}

fn figure(surfaces: Surfaces3d, unavailable: RwSignal<Option<String>>) -> impl IntoView {
    let view = RwSignal::new(View::INITIAL);
    let Surfaces3d { surfaces, steps, reading, ends: [low, high] } = surfaces;
    let panels = surfaces.into_iter().map(|surface| view! { <Panel surface steps view unavailable/> });
    view! {
        <section class="figure surface" aria-label="Loss landscape in 3D">
            <header><h2>"Loss landscape in 3D"</h2>{rotation_button(view)}</header>
            <div class="panels">{panels.collect_view()}</div>
            <p class="key" aria-hidden="true">
                <span>"Loss " {low}</span><span class="ramp" style=ramp()></span><span>{high}</span>
            </p>
            <p class="note">{reading} " Drag or use the arrow keys to rotate; Home resets the view."</p>
        </section>
    }
}

/// Returns the colour scale as CSS.
fn ramp() -> String {
    let stops = surface3d::colours().map(|stop| {
        let [red, green, blue] = stop.map(|channel| (channel * 255.0).round());
        format!("rgb({red} {green} {blue})")
    });
    format!("background: linear-gradient(to right, {})", stops.join(", "))
}

/// A button that starts and stops the rotation; `None` for users who prefer reduced motion.
fn rotation_button(view: RwSignal<View>) -> Option<impl IntoView> {
    let reduced_motion = window().match_media("(prefers-reduced-motion: reduce)").ok().flatten();
    let is_rotating = RwSignal::new(false);
    reduced_motion.is_none_or(|query| !query.matches()).then(|| {
        let toggle = move |_| {
            is_rotating.update(|is_rotating| *is_rotating = !*is_rotating);
            if is_rotating.get_untracked() {
                rotate_each_frame(is_rotating, view, None);
            }
        };
        let pressed = move || is_rotating.get().to_string();
        view! { <button type="button" class="quiet" aria-pressed=pressed on:click=toggle>"Rotate"</button> }
    })
}

/// Rotates the view at each animation frame while `is_rotating` is set.
fn rotate_each_frame(is_rotating: RwSignal<bool>, view: RwSignal<View>, last: Option<f64>) {
    request_animation_frame(move || {
        if is_rotating.try_get_untracked() != Some(true) {
            return;
        }
        let now = js_sys::Date::now();
        // Background tabs get no frames, so the time since the last one may be long.
        let seconds = ((now - last.unwrap_or(now)) / 1000.0).min(0.1);
        view.update(|view| *view = view.rotated((SPIN * seconds) as f32, 0.0));
        rotate_each_frame(is_rotating, view, Some(now));
    });
}

#[component]
fn Panel(
    surface: Surface3d,
    steps: usize,
    view: RwSignal<View>,
    unavailable: RwSignal<Option<String>>,
) -> impl IntoView {
    let canvas = NodeRef::<html::Canvas>::new();
    let open = StoredValue::new_local(None::<OpenRenderer>);
    let error = RwSignal::new(None::<String>);
    let width = surface.width;
    let description = format!("{} Arrow keys rotate it.", surface.description);
    let redraw = move |View { yaw, pitch }| {
        open.with_value(|open| open.iter().for_each(|open| open.renderer.rotate(yaw, pitch)));
    };
    canvas.on_load(move |canvas| {
        spawn_local(async move {
            match open_renderer(&canvas, &surface, steps, unavailable).await {
                // If the panel is gone, `try_set_value` returns the renderer, and dropping it closes it.
                Ok(renderer) => drop(open.try_set_value(Some(renderer))),
                Err(why) => drop(unavailable.try_set(Some(why))),
            }
            if let Some(view) = view.try_get_untracked() {
                redraw(view);
            }
        });
    });
    Effect::new(move || redraw(view.get()));
    let save = move |_| {
        let Some(png) = open.with_value(|open| open.as_ref().map(|open| open.renderer.png())) else { return };
        spawn_local(async move {
            let saved = match JsFuture::from(png).await {
                Ok(png) => download::save(&format!("surface-{width}.png"), &png, "image/png"),
                Err(error) => Err(error),
            };
            let why = saved.err().map(|why| format!("The figure could not be saved ({}).", fetch::message(why)));
            drop(error.try_set(why));
        });
    };
    let save_label = format!("Save the loss landscape of width {width} as PNG");
    view! {
        <figure>
            <figcaption>
                <strong>"Width " {width}</strong>
                <button type="button" class="quiet" aria-label=save_label on:click=save>"PNG"</button>
            </figcaption>
            <canvas
                node_ref=canvas tabindex="0" role="img" aria-label=description
                on:pointerdown=on_pointer_down
                on:pointermove=move |event| on_pointer_move(&event, view)
                on:keydown=move |event| on_key_down(&event, view)
            ></canvas>
            <p class="problem" role="alert">{error}</p>
        </figure>
    }
}

/// Opens a renderer for one width's surface.
///
/// # Errors
/// If WebGPU cannot draw it; the error completes "cannot be drawn: …".
async fn open_renderer(
    canvas: &HtmlCanvasElement,
    surface: &Surface3d,
    steps: usize,
    unavailable: RwSignal<Option<String>>,
) -> Result<OpenRenderer, String> {
    let on_lost = Closure::new(move || drop(unavailable.try_set(Some("the graphics device was lost".into()))));
    let [scene, heights, path] =
        [&scene(surface, steps)[..], &surface.heights, surface.path.as_flattened()].map(Float32Array::from);
    let renderer = render(canvas, &scene, &heights, &path, &on_lost).await.map_err(fetch::message)?;
    Ok(OpenRenderer { renderer: renderer.unchecked_into(), _on_lost: on_lost })
}

/// Returns the uniform buffer that the shader calls `Scene`. `surface.js` fills in what depends on the canvas.
fn scene(surface: &Surface3d, steps: usize) -> Vec<f32> {
    let [columns, rows] = surface.places;
    let facets = (FACETS / (columns.max(rows) - 1)).clamp(1, 8);
    let of_canvas = 0.0;
    let fields = [
        [View::INITIAL.yaw, View::INITIAL.pitch, DISTANCE, of_canvas],
        [of_canvas; 4],
        [of_canvas; 4],
        [columns as f32, rows as f32, surface.sides[0], surface.sides[1]],
        [HEIGHT, RADIUS, facets as f32, steps as f32],
        [surface.path.len() as f32, STRIDE as f32, 0.0, 0.0],
    ];
    let colours = surface3d::colours().map(|[red, green, blue]| [red, green, blue, 1.0]);
    fields.into_iter().chain(colours).flatten().collect()
}

/// Captures the pointer, so that dragging continues outside the canvas.
fn on_pointer_down(event: PointerEvent) {
    let canvas: HtmlCanvasElement = event_target(&event);
    // Fails only if the pointer was released already.
    let _ = canvas.set_pointer_capture(event.pointer_id());
}

fn on_pointer_move(event: &PointerEvent, view: RwSignal<View>) {
    if event.buttons() & 1 != 0 {
        let [right, down] = [event.movement_x(), event.movement_y()].map(|pixels| pixels as f32 * BY_PIXEL);
        view.update(|view| *view = view.rotated(right, down));
    }
}

fn on_key_down(event: &KeyboardEvent, view: RwSignal<View>) {
    if let Some(rotated) = view.get_untracked().by_key(&event.key()) {
        event.prevent_default();
        view.set(rotated);
    }
}
