//! The way to the workers: their code, fetched and compiled once, and a link to each of them.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use futures::{
    FutureExt,
    future::{LocalBoxFuture, Shared},
};
use js_sys::{Array, Promise, Reflect, Uint8Array, WebAssembly};
use leptos::prelude::*;
use slimclr_protocol::{Choice, Report, Request, parcel};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    ErrorEvent, Event, MessageEvent, ReadableStreamDefaultReader, Response, Worker, WorkerOptions, WorkerType,
};

use crate::fetch;

/// The workers' WebAssembly in the bundle.
const CODE: &str = "slimclr_worker_bg.wasm";
/// How a worker's last words begin.
const FATAL: &str = "fatal: ";

/// How far the workers' code has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loading {
    /// It is being fetched.
    Fetching {
        /// Bytes so far.
        loaded: f64,
        /// Bytes in all, if the server or the bundle says so.
        total: Option<f64>,
    },
    /// It can be run.
    Ready,
    /// It could not be fetched or compiled; [`WorkerCode::fetch`] tries again.
    Failed,
}

/// The workers' code, which all of them share; a handle to it.
#[derive(Clone, Copy)]
pub struct WorkerCode {
    module: StoredValue<Compiled, LocalStorage>,
    loading: RwSignal<Loading>,
}

/// The compiled code, or why there is none in a sentence.
type Compiled = Shared<LocalBoxFuture<'static, Result<JsValue, String>>>;

impl WorkerCode {
    /// Begins to fetch it.
    pub fn new() -> Self {
        let loading = RwSignal::new(Loading::Fetching { loaded: 0.0, total: None });
        let code = Self { module: StoredValue::new_local(compiled(loading)), loading };
        code.fetch();
        code
    }

    /// Fetches it, or tries again after a failure.
    pub fn fetch(self) {
        if self.loading.get_untracked() == Loading::Failed {
            self.module.set_value(compiled(self.loading));
        }
        spawn_local(self.module.get_value().map(drop));
    }

    /// How far it has come.
    pub fn loading(self) -> ReadSignal<Loading> {
        self.loading.read_only()
    }
}

fn compiled(loading: RwSignal<Loading>) -> Compiled {
    let compiling = async move {
        loading.set(Loading::Fetching { loaded: 0.0, total: None });
        let module = compile(loading).await;
        loading.set(if module.is_ok() { Loading::Ready } else { Loading::Failed });
        module.map_err(|error| {
            format!("The trainer could not be loaded ({}): check the connection and try again.", error)
        })
    };
    compiling.boxed_local().shared()
}

async fn compile(loading: RwSignal<Loading>) -> Result<JsValue, String> {
    let total = fetch::bundled_bytes(CODE).await;
    let response = fetch::get(CODE).await?;
    let counted = response.clone().map_err(fetch::words)?;
    spawn_local(async move {
        let tell = |loaded| {
            // The last bytes may be counted after all is compiled.
            if matches!(loading.get_untracked(), Loading::Fetching { .. }) {
                loading.set(Loading::Fetching { loaded, total });
            }
        };
        // Only a display: where counting fails, compiling says why.
        let _ = count(&counted, tell).await;
    });
    let module = WebAssembly::compile_streaming(&Promise::resolve(AsRef::<JsValue>::as_ref(&response)));
    JsFuture::from(module).await.map_err(fetch::words)
}

/// Tells the bytes of a response's body as they come.
async fn count(response: &Response, loaded: impl Fn(f64)) -> Option<()> {
    let reader: ReadableStreamDefaultReader = response.body()?.get_reader().dyn_into().ok()?;
    let mut bytes = 0.0;
    loop {
        let chunk = JsFuture::from(reader.read()).await.ok()?;
        let chunk: Uint8Array = Reflect::get(&chunk, &"value".into()).ok()?.dyn_into().ok()?;
        bytes += f64::from(chunk.length());
        loaded(bytes);
    }
}

/// A worker and the way to it. Dropped, it ends the worker.
pub struct Link {
    line: Rc<Line>,
}

#[derive(Default)]
struct Line {
    /// None before the code is there and after the worker's death.
    worker: RefCell<Option<Running>>,
    /// What was asked before the worker could be.
    waiting: RefCell<Vec<Array>>,
    closed: Cell<bool>,
}

struct Running {
    worker: Worker,
    _on_message: Closure<dyn Fn(MessageEvent)>,
    _on_error: Closure<dyn Fn(Event)>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.terminate();
    }
}

impl Link {
    /// Opens a worker on a device as soon as the code is there. `on_report` hears what it says and what is attached to it,
    /// `on_death` once, in a sentence, why it is no more: then a new link can be opened.
    pub fn open(
        code: WorkerCode,
        device: Choice,
        on_report: impl Fn(Report, Vec<JsValue>) + 'static,
        on_death: impl Fn(String) + 'static,
    ) -> Self {
        // Again, if it failed before.
        code.fetch();
        let line = Rc::new(Line::default());
        let link = Self { line: line.clone() };
        link.ask(&Request::Open { device }, []);
        spawn_local(start(line, code.module.get_value(), Rc::new(on_report), Rc::new(on_death)));
        link
    }

    /// Asks the worker, now or as soon as it is there. A dead one hears nothing.
    pub fn ask(&self, request: &Request, attached: impl IntoIterator<Item = JsValue>) {
        let parcel = parcel::pack(request, attached);
        match &*self.line.worker.borrow() {
            Some(running) => running.post(&parcel),
            None if self.line.closed.get() => {}
            None => self.line.waiting.borrow_mut().push(parcel),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.line.close();
    }
}

impl Line {
    fn close(&self) {
        self.closed.set(true);
        drop(self.worker.take());
        self.waiting.take();
    }
}

impl Running {
    fn post(&self, message: &JsValue) {
        // Refused is only what cannot be cloned, which is never sent.
        if let Err(error) = self.worker.post_message(message) {
            web_sys::console::error_1(&error);
        }
    }
}

type OnReport = Rc<dyn Fn(Report, Vec<JsValue>)>;
type OnDeath = Rc<dyn Fn(String)>;

async fn start(line: Rc<Line>, code: Compiled, on_report: OnReport, on_death: OnDeath) {
    let started = match code.await {
        Ok(_) if line.closed.get() => return,
        Ok(module) => run(&line, &module, on_report, on_death.clone()).map_err(|error| {
            format!("The browser refuses to start a worker ({}): reload the page and try again.", fetch::words(error))
        }),
        Err(message) => Err(message),
    };
    match started {
        Ok(running) => {
            line.waiting.take().iter().for_each(|parcel| running.post(parcel));
            line.worker.replace(Some(running));
        }
        Err(message) if !line.closed.get() => {
            line.close();
            on_death(message);
        }
        Err(_) => {}
    }
}

fn run(line: &Rc<Line>, module: &JsValue, on_report: OnReport, on_death: OnDeath) -> Result<Running, JsValue> {
    let options = WorkerOptions::new();
    options.set_type(WorkerType::Module);
    let worker = Worker::new_with_options("worker.js", &options)?;
    let die = {
        let line = Rc::downgrade(line);
        move |words: &str| {
            let Some(line) = line.upgrade().filter(|line| !line.closed.get()) else { return };
            line.close();
            let cause = if words.contains("unreachable") || words.contains("memory") {
                "it may have run out of memory; a smaller batch or network takes less"
            } else {
                words.trim_end_matches('.')
            };
            on_death(format!("The worker has died ({cause}): what it had sent before is kept here."));
        }
    };
    let on_message = {
        let die = die.clone();
        Closure::<dyn Fn(MessageEvent)>::new(move |message: MessageEvent| {
            let data = message.data();
            match data.as_string() {
                Some(words) => die(words.strip_prefix(FATAL).unwrap_or(&words)),
                None => match parcel::unpack(&data) {
                    Some((report, attached)) => on_report(report, attached),
                    None => die("it said what this page does not understand"),
                },
            }
        })
    };
    let on_error = Closure::<dyn Fn(Event)>::new(move |event: Event| {
        let message = event.dyn_ref::<ErrorEvent>().map(ErrorEvent::message).filter(|message| !message.is_empty());
        die(message.as_deref().unwrap_or("its code could not be run"));
    });
    worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
    worker.post_message(module)?;
    Ok(Running { worker, _on_message: on_message, _on_error: on_error })
}
