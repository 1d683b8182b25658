//! The worker's interface to its browser: messages, a clock, and yielding to the event loop.

use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use js_sys::{Array, Promise, Uint8Array};
use slimclr_protocol::{Job, Report, wire};
use wasm_bindgen::{JsCast, JsValue, prelude::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent};

/// Returns the worker's global scope.
pub fn scope() -> DedicatedWorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// Returns a stream of the messages to this worker: first those in `waiting`, then all later ones.
pub fn inbox(waiting: &Array) -> UnboundedReceiver<JsValue> {
    let (send, inbox) = unbounded();
    for message in waiting.iter() {
        // Sending fails only if the receiver was dropped.
        let _ = send.unbounded_send(message);
    }
    let on_message = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
        let _ = send.unbounded_send(event.data());
    });
    scope().set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    on_message.forget();
    inbox
}

/// Posts a message and transfers the buffers in `transfer`.
pub fn post(message: &JsValue, transfer: &Array) {
    if let Err(error) = scope().post_message_with_transfer(message, transfer) {
        web_sys::console::error_1(&error);
    }
}

/// Sends a report to the page.
pub fn report(report: &Report) {
    report_with(report, &[]);
}

/// Sends a report to the page, with these bytes attached.
pub fn report_with(report: &Report, attached: &[&[u8]]) {
    let arrays: Vec<Uint8Array> = attached.iter().map(|bytes| Uint8Array::from(*bytes)).collect();
    let transfer: Array = arrays.iter().map(Uint8Array::buffer).collect();
    post(&wire::encode(report, arrays.into_iter().map(JsValue::from)), &transfer);
}

/// Reports that `job` failed.
pub fn report_failure(job: Job, error: impl std::fmt::Display) {
    report(&Report::Failed { job, message: sentence(&error.to_string()) });
}

/// Makes a sentence of a text: adds a capital, unless it starts with a name (`batch = 0 …`, `weights.pth …`), and a
/// full stop.
pub fn sentence(text: &str) -> String {
    let (first, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
    let is_name = !first.chars().all(char::is_alphabetic) || rest.starts_with(" =");
    let mut letters = text.chars();
    let capital = letters.next().map(|letter| if is_name { letter.into() } else { letter.to_uppercase().to_string() });
    let stop = if text.ends_with(['.', '!', '?', '…']) { "" } else { "." };
    format!("{}{}{stop}", capital.unwrap_or_default(), letters.as_str())
}

/// Returns the milliseconds since the worker started.
pub fn milliseconds() -> f64 {
    scope().performance().expect("workers have a clock").now()
}

/// Lets the browser deliver waiting messages, then resumes.
pub async fn yield_to_browser() {
    let timeout = Promise::new(&mut |resolve, _| {
        scope().set_timeout_with_callback(&resolve).expect("workers have timers");
    });
    JsFuture::from(timeout).await.expect("a timer's promise is never rejected");
}
