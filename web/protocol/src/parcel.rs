//! How messages travel: an array of the JSON and what is attached to it.

use js_sys::{Array, Uint8Array};
use serde::{Serialize, de::DeserializeOwned};
use wasm_bindgen::{JsCast, JsValue};

/// A message and what is attached to it, as `postMessage` takes it.
///
/// # Panics
/// If the message cannot be written as JSON, which those of this crate can.
pub fn pack(message: &impl Serialize, attached: impl IntoIterator<Item = JsValue>) -> Array {
    let json = serde_json::to_string(message).expect("messages are plain data");
    let parcel = Array::of1(&JsValue::from_str(&json));
    for attachment in attached {
        parcel.push(&attachment);
    }
    parcel
}

/// What [`pack`] packed; none if it is nothing of the kind.
pub fn unpack<T: DeserializeOwned>(parcel: &JsValue) -> Option<(T, Vec<JsValue>)> {
    let mut parts = parcel.dyn_ref::<Array>()?.iter();
    let message = serde_json::from_str(&parts.next()?.as_string()?).ok()?;
    Some((message, parts.collect()))
}

/// The bytes of an attached `Uint8Array`.
pub fn bytes(attachment: &JsValue) -> Option<Vec<u8>> {
    attachment.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec)
}
