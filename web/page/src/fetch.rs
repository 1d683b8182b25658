//! Fetches files from the server that the page came from.

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Response;

/// Fetches a file next to the page.
///
/// # Errors
/// If the server cannot be reached or refuses; the error is a message for the user.
pub async fn get(path: &str) -> Result<Response, String> {
    let answer = JsFuture::from(leptos::prelude::window().fetch_with_str(path)).await.map_err(message)?;
    let response: Response = answer.unchecked_into();
    if response.ok() { Ok(response) } else { Err(format!("{path}: the server answers {}", response.status())) }
}

/// Fetches the bytes of a file next to the page.
///
/// # Errors
/// As for [`get`].
pub async fn bytes(path: &str) -> Result<Uint8Array, String> {
    let buffer = get(path).await?.array_buffer().map_err(message)?;
    Ok(Uint8Array::new(&JsFuture::from(buffer).await.map_err(message)?))
}

/// Fetches the text of a file next to the page.
///
/// # Errors
/// As for [`get`].
pub async fn text(path: &str) -> Result<String, String> {
    let text = get(path).await?.text().map_err(message)?;
    Ok(JsFuture::from(text).await.map_err(message)?.as_string().unwrap_or_default())
}

/// Returns the size of a file as the bundle's `files.json` lists it.
pub async fn bundled_bytes(path: &str) -> Option<f64> {
    let list = text("files.json").await.ok()?;
    let list: serde_json::Value = serde_json::from_str(&list).ok()?;
    list["files"].as_array()?.iter().find(|file| file["path"] == path)?["bytes"].as_f64()
}

/// Returns the message of a JavaScript error.
pub fn message(error: JsValue) -> String {
    match error.dyn_ref::<js_sys::Error>() {
        Some(error) => error.message().into(),
        None => error.as_string().unwrap_or_else(|| "an error without a message".into()),
    }
}
