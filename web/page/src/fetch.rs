//! What the page asks of the server that it came from.

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Response;

/// The answer for a file below the page.
///
/// # Errors
/// Why there is none, in words.
pub async fn get(path: &str) -> Result<Response, String> {
    let answer = JsFuture::from(leptos::prelude::window().fetch_with_str(path)).await.map_err(words)?;
    let response: Response = answer.unchecked_into();
    if response.ok() { Ok(response) } else { Err(format!("{path}: the server answers {}", response.status())) }
}

/// The bytes of a file below the page.
///
/// # Errors
/// Why there are none, in words.
pub async fn bytes(path: &str) -> Result<Uint8Array, String> {
    let buffer = get(path).await?.array_buffer().map_err(words)?;
    Ok(Uint8Array::new(&JsFuture::from(buffer).await.map_err(words)?))
}

/// The text of a file below the page.
///
/// # Errors
/// Why there is none, in words.
pub async fn text(path: &str) -> Result<String, String> {
    let text = get(path).await?.text().map_err(words)?;
    Ok(JsFuture::from(text).await.map_err(words)?.as_string().unwrap_or_default())
}

/// The length of a file of the bundle, as its list of files has it.
pub async fn bundled_bytes(path: &str) -> Option<f64> {
    let list = text("files.json").await.ok()?;
    let list: serde_json::Value = serde_json::from_str(&list).ok()?;
    list["files"].as_array()?.iter().find(|file| file["path"] == path)?["bytes"].as_f64()
}

/// What went wrong, as the browser says it.
pub fn words(error: JsValue) -> String {
    match error.dyn_ref::<js_sys::Error>() {
        Some(error) => error.message().into(),
        None => error.as_string().unwrap_or_else(|| "an error without words".into()),
    }
}
