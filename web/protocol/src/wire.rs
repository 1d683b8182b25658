//! The form of a message in `postMessage`: an array of its JSON and its attachments.

use js_sys::{Array, Uint8Array};
use serde::{Serialize, de::DeserializeOwned};
use wasm_bindgen::{JsCast, JsValue};

/// Encodes a message and its attachments for `postMessage`.
///
/// # Panics
/// If the message cannot be written as JSON; every message of this crate can.
pub fn encode(message: &impl Serialize, attached: impl IntoIterator<Item = JsValue>) -> Array {
    let json = serde_json::to_string(message).expect("messages are plain data");
    let encoded = Array::of1(&JsValue::from_str(&json));
    for attachment in attached {
        encoded.push(&attachment);
    }
    encoded
}

/// Decodes what [`encode`] wrote; `None` if `encoded` is anything else.
pub fn decode<T: DeserializeOwned>(encoded: &JsValue) -> Option<(T, Vec<JsValue>)> {
    let mut parts = encoded.dyn_ref::<Array>()?.iter();
    let message = serde_json::from_str(&parts.next()?.as_string()?).ok()?;
    Some((message, parts.collect()))
}

/// Returns the bytes of an attached `Uint8Array`.
pub fn bytes(attachment: &JsValue) -> Option<Vec<u8>> {
    attachment.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec)
}
