//! What a camera sees, looked at several times a second.

use std::time::Duration;

use js_sys::Uint8Array;
use leptos::{html, prelude::*};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{HtmlCanvasElement, HtmlVideoElement, MediaStream, MediaStreamConstraints, MediaStreamTrack};

use super::{
    look::{Chosen, Look},
    pixels,
};

/// Side of the square that the network is given, in pixels.
const SIDE: u32 = 128;
/// Between two looks, if the worker is as fast.
const EVERY: Duration = Duration::from_millis(200);

/// The camera's picture with its switch. It stops when it is not shown any more.
#[component]
pub fn Camera(look: Look, here: Signal<bool>) -> impl IntoView {
    let stream = RwSignal::new_local(None::<MediaStream>);
    let trouble = RwSignal::new(None::<&'static str>);
    let video = NodeRef::<html::Video>::new();
    let stop = move || {
        if let Some(stream) = stream.try_update(Option::take).flatten() {
            end(&stream);
        }
    };
    let start = move |_| {
        trouble.set(None);
        spawn_local(async move {
            match open().await {
                // The room may have been left while the question stood open.
                Ok(opened) if stream.is_disposed() || !here.get_untracked() => end(&opened),
                Ok(opened) => stream.set(Some(opened)),
                Err(words) => drop(trouble.try_set(Some(words))),
            }
        });
    };
    Effect::new(move || {
        if let Some(video) = video.get() {
            video.set_src_object(stream.read().as_ref());
        }
    });
    Effect::new(move || {
        if !here.get() {
            stop();
        }
    });
    let canvas = pixels::canvas(SIDE);
    let looking = set_interval_with_handle(
        move || {
            let seeing = stream.with_untracked(Option::is_some) && !look.is_waiting();
            let frame = || square(&video.get_untracked()?, canvas.as_ref()?);
            if let Some(rgba) = seeing.then(frame).flatten() {
                look.show(Chosen::Square { what: "the webcam", side: SIDE, rgba });
            }
        },
        EVERY,
    )
    .ok();
    on_cleanup(move || {
        stop();
        if let Some(looking) = looking {
            looking.clear();
        }
    });
    let on = move || stream.read().is_some();
    view! {
        <div class="camera">
            <video node_ref=video autoplay playsinline muted aria-label="What the webcam sees" hidden=move || !on()></video>
            <Show when=on fallback=move || view! { <button type="button" on:click=start>"Start the webcam"</button> }>
                <button type="button" on:click=move |_| stop()>"Stop the webcam"</button>
            </Show>
            <p class="note">"The square in the middle is looked at, here in the page; nothing is sent anywhere."</p>
            <p class="problem" role="alert">{trouble}</p>
        </div>
    }
}

/// Asks for the camera.
async fn open() -> Result<MediaStream, &'static str> {
    const NONE: &str = "This browser gives the page no webcam: choose an image file instead.";
    // Absent where the page did not come over a secure connection.
    let devices = window().navigator().media_devices().ok().filter(|devices| !devices.is_undefined()).ok_or(NONE)?;
    let constraints = MediaStreamConstraints::new();
    constraints.set_video(&JsValue::TRUE);
    let asked = devices.get_user_media_with_constraints(&constraints).map_err(|_| NONE)?;
    let answer = JsFuture::from(asked).await;
    answer.map(JsCast::unchecked_into).map_err(|error| {
        let name = js_sys::Reflect::get(&error, &"name".into()).ok().and_then(|name| name.as_string());
        match name.as_deref() {
            Some("NotAllowedError") => {
                "The webcam was refused: allow it in the browser’s address bar, or choose an image file."
            }
            Some("NotFoundError") => "There is no webcam: choose an image file or draw something.",
            _ => "The webcam cannot be used: another program may have it.",
        }
    })
}

fn end(stream: &MediaStream) {
    stream.get_tracks().iter().for_each(|track| track.unchecked_into::<MediaStreamTrack>().stop());
}

/// The square in the middle of what the video shows; none before it shows anything.
fn square(video: &HtmlVideoElement, canvas: &HtmlCanvasElement) -> Option<Uint8Array> {
    let (width, height) = (f64::from(video.video_width()), f64::from(video.video_height()));
    let side = width.min(height);
    if side == 0.0 {
        return None;
    }
    let to = f64::from(SIDE);
    pixels::context(canvas)?
        .draw_image_with_html_video_element_and_sw_and_sh_and_dx_and_dy_and_dw_and_dh(
            video,
            (width - side) / 2.0,
            (height - side) / 2.0,
            side,
            side,
            0.0,
            0.0,
            to,
            to,
        )
        .ok()?;
    Some(pixels::read(canvas)?.as_slice().into())
}
