//! Saves files and figures to the user's downloads.

use js_sys::{Array, Promise};
use leptos::prelude::{document, set_timeout, window};
use std::time::Duration;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, BlobPropertyBag, CanvasRenderingContext2d, HtmlAnchorElement, HtmlCanvasElement, HtmlImageElement, Url,
};

/// PNG pixels per SVG unit, so that figures stay sharp on a projector.
const PIXELS: f64 = 2.0;

/// Saves text or bytes as a file of the given MIME type.
///
/// # Errors
/// If the browser refuses.
pub fn save(name: &str, contents: &JsValue, mime: &str) -> Result<(), JsValue> {
    offer(name, &Blob::new_with_buffer_source_sequence_and_options(&Array::of1(contents), &blob_options(mime))?)
}

/// Saves a drawing as an SVG file.
///
/// # Errors
/// If the browser refuses.
pub fn save_svg(name: &str, svg: &str) -> Result<(), JsValue> {
    save(&format!("{name}.svg"), &svg.into(), "image/svg+xml")
}

/// Saves a drawing as a PNG file.
///
/// # Errors
/// If the browser cannot render it.
pub async fn save_png(name: &str, svg: &str) -> Result<(), JsValue> {
    let blob = Blob::new_with_str_sequence_and_options(&Array::of1(&svg.into()), &blob_options("image/svg+xml"))?;
    let address = Url::create_object_url_with_blob(&blob)?;
    let image = HtmlImageElement::new()?;
    image.set_src(&address);
    let decoded = JsFuture::from(image.decode()).await;
    Url::revoke_object_url(&address)?;
    decoded?;
    let canvas: HtmlCanvasElement = document().create_element("canvas")?.unchecked_into();
    let [width, height] = [image.natural_width(), image.natural_height()].map(|side| f64::from(side) * PIXELS);
    canvas.set_width(width as u32);
    canvas.set_height(height as u32);
    let context: CanvasRenderingContext2d = canvas.get_context("2d")?.ok_or("no canvas")?.unchecked_into();
    context.draw_image_with_html_image_element_and_dw_and_dh(&image, 0.0, 0.0, width, height)?;
    let pixels = JsFuture::from(Promise::new(&mut |resolve, _| {
        let done = Closure::once_into_js(move |blob: JsValue| drop(resolve.call1(&JsValue::NULL, &blob)));
        // Fails only for canvases with cross-origin content.
        let _ = canvas.to_blob(done.unchecked_ref());
    }));
    offer(&format!("{name}.png"), &pixels.await?.dyn_into()?)
}

fn blob_options(mime: &str) -> BlobPropertyBag {
    let options = BlobPropertyBag::new();
    options.set_type(mime);
    options
}

fn offer(name: &str, blob: &Blob) -> Result<(), JsValue> {
    let address = Url::create_object_url_with_blob(blob)?;
    let anchor: HtmlAnchorElement = document().create_element("a")?.unchecked_into();
    anchor.set_href(&address);
    anchor.set_download(name);
    let body = window().document().and_then(|document| document.body()).ok_or("no page")?;
    body.append_child(&anchor)?;
    anchor.click();
    anchor.remove();
    // The browser reads the blob after the click returns.
    set_timeout(move || drop(Url::revoke_object_url(&address)), Duration::from_secs(60));
    Ok(())
}
