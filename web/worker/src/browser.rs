//! What a worker asks of its browser: messages, a clock, a moment for others.

use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use js_sys::{Array, Promise, Uint8Array};
use slimclr_protocol::{Report, Task, parcel};
use wasm_bindgen::{JsCast, JsValue, prelude::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent};

/// The worker's global scope.
pub fn scope() -> DedicatedWorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// The messages to this worker: those that are waiting, and all that come.
pub fn inbox(waiting: &Array) -> UnboundedReceiver<JsValue> {
    let (send, inbox) = unbounded();
    for message in waiting.iter() {
        // Fails only if nobody listens any more.
        let _ = send.unbounded_send(message);
    }
    let on_message = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
        let _ = send.unbounded_send(event.data());
    });
    scope().set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    on_message.forget();
    inbox
}

/// Posts a message, handing over the buffers in `transfer`.
pub fn post(message: &JsValue, transfer: &Array) {
    if let Err(error) = scope().post_message_with_transfer(message, transfer) {
        web_sys::console::error_1(&error);
    }
}

/// Reports to the page.
pub fn report(report: &Report) {
    report_with(report, &[]);
}

/// Reports to the page, with these bytes attached.
pub fn report_with(report: &Report, attached: &[&[u8]]) {
    let arrays: Vec<Uint8Array> = attached.iter().map(|bytes| Uint8Array::from(*bytes)).collect();
    let transfer: Array = arrays.iter().map(Uint8Array::buffer).collect();
    post(&parcel::pack(report, arrays.into_iter().map(JsValue::from)), &transfer);
}

/// Reports that `task` failed.
pub fn failed(task: Task, error: impl std::fmt::Display) {
    report(&Report::Failed { task, message: sentence(&error.to_string()) });
}

/// With a capital, unless a name comes first (`batch = 0 …`, `weights.pth …`), and a full stop.
fn sentence(words: &str) -> String {
    let (first, rest) = words.split_at(words.find(' ').unwrap_or(words.len()));
    let is_name = !first.chars().all(char::is_alphabetic) || rest.starts_with(" =");
    let mut letters = words.chars();
    let capital = letters.next().map(|letter| if is_name { letter.into() } else { letter.to_uppercase().to_string() });
    let stop = if words.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{stop}", capital.unwrap_or_default(), letters.as_str())
}

/// Milliseconds since the worker began.
pub fn milliseconds() -> f64 {
    scope().performance().expect("workers have a clock").now()
}

/// Lets the browser deliver messages before this goes on.
pub async fn breathe() {
    let moment = Promise::new(&mut |resolve, _| {
        scope().set_timeout_with_callback(&resolve).expect("workers have timers");
    });
    JsFuture::from(moment).await.expect("a timer's promise is never rejected");
}
