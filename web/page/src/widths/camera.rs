//! The webcam's picture, embedded several times a second.

use std::time::Duration;

use js_sys::Uint8Array;
use leptos::{html, prelude::*};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{HtmlCanvasElement, HtmlVideoElement, MediaStream, MediaStreamConstraints, MediaStreamTrack};

use super::viewer::{ChosenPicture, Viewer};
use crate::pixels;

/// Side of the square that the network is given, in pixels.
const SIDE: u32 = 128;
/// Time between two pictures, if the worker is fast enough.
const EVERY: Duration = Duration::from_millis(200);

/// The webcam's picture with a start button. The webcam stops when the page shows another route.
#[component]
pub fn Camera(viewer: Viewer, is_shown: Signal<bool>) -> impl IntoView {
    let stream = RwSignal::new_local(None::<MediaStream>);
    let error = RwSignal::new(None::<&'static str>);
    let video = NodeRef::<html::Video>::new();
    let stop = move || {
        if let Some(stream) = stream.try_update(Option::take).flatten() {
            end(&stream);
        }
    };
    let start = move |_| {
        error.set(None);
        spawn_local(async move {
            match open().await {
                // The user may have left the page before answering the browser's prompt.
                Ok(opened) if stream.is_disposed() || !is_shown.get_untracked() => end(&opened),
                Ok(opened) => stream.set(Some(opened)),
                Err(message) => drop(error.try_set(Some(message))),
            }
        });
    };
    Effect::new(move || {
        if let Some(video) = video.get() {
            video.set_src_object(stream.read().as_ref());
        }
    });
    Effect::new(move || {
        if !is_shown.get() {
            stop();
        }
    });
    let canvas = pixels::canvas(SIDE);
    let timer = set_interval_with_handle(
        move || {
            let can_embed = stream.with_untracked(Option::is_some) && !viewer.is_waiting();
            let frame = || centre_square(&video.get_untracked()?, canvas.as_ref()?);
            if let Some(rgba) = can_embed.then(frame).flatten() {
                viewer.show(ChosenPicture::Square { caption: "the webcam", side: SIDE, rgba });
            }
        },
        EVERY,
    )
    .ok();
    on_cleanup(move || {
        stop();
        if let Some(timer) = timer {
            timer.clear();
        }
    });
    let on = move || stream.read().is_some();
    view! {
        <div class="camera">
            <video node_ref=video autoplay playsinline muted aria-label="Webcam picture" hidden=move || !on()></video>
            <Show when=on fallback=move || view! { <button type="button" on:click=start>"Start the webcam"</button> }>
                <button type="button" on:click=move |_| stop()>"Stop the webcam"</button>
            </Show>
            <p class="note">"Embeds the central square of each frame. No frame leaves this page."</p>
            <p class="problem" role="alert">{error}</p>
        </div>
    }
}

/// Asks the browser for the webcam.
///
/// # Errors
/// If there is none, or access is denied; the error is a message for the user.
async fn open() -> Result<MediaStream, &'static str> {
    const NONE: &str = "This browser gives pages no access to a webcam: choose an image file instead.";
    // Undefined unless the page was loaded over a secure connection.
    let devices = window().navigator().media_devices().ok().filter(|devices| !devices.is_undefined()).ok_or(NONE)?;
    let constraints = MediaStreamConstraints::new();
    constraints.set_video(&JsValue::TRUE);
    let request = devices.get_user_media_with_constraints(&constraints).map_err(|_| NONE)?;
    let answer = JsFuture::from(request).await;
    answer.map(JsCast::unchecked_into).map_err(|error| {
        let name = js_sys::Reflect::get(&error, &"name".into()).ok().and_then(|name| name.as_string());
        match name.as_deref() {
            Some("NotAllowedError") => {
                "Access to the webcam was denied: allow it in the address bar, or choose an image file."
            }
            Some("NotFoundError") => "No webcam was found: choose an image file or draw a picture.",
            _ => "The webcam cannot be opened: another program may be using it.",
        }
    })
}

fn end(stream: &MediaStream) {
    stream.get_tracks().iter().for_each(|track| track.unchecked_into::<MediaStreamTrack>().stop());
}

/// Returns the central square of the current frame as RGBA pixels; `None` before the first frame.
fn centre_square(video: &HtmlVideoElement, canvas: &HtmlCanvasElement) -> Option<Uint8Array> {
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
