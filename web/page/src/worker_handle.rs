//! A handle to a worker: sends requests, receives reports, and ends the worker when dropped.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use js_sys::Array;
use slimclr_protocol::{DeviceChoice, Report, Request, wire};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{ErrorEvent, Event, MessageEvent, Worker, WorkerOptions, WorkerType};

use crate::{
    fetch,
    worker_code::{Compiled, WorkerCode},
};

/// The prefix of the message that a crashing worker posts.
const FATAL: &str = "fatal: ";

/// A worker. Dropping the handle ends it.
pub struct WorkerHandle {
    connection: Rc<Connection>,
}

#[derive(Default)]
struct Connection {
    /// `None` until the code is loaded, and after a crash.
    worker: RefCell<Option<RunningWorker>>,
    /// Requests made before the worker has started.
    waiting: RefCell<Vec<Array>>,
    closed: Cell<bool>,
}

struct RunningWorker {
    worker: Worker,
    _on_message: Closure<dyn Fn(MessageEvent)>,
    _on_error: Closure<dyn Fn(Event)>,
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.terminate();
    }
}

impl WorkerHandle {
    /// Starts a worker on a device once its code is loaded. `on_report` receives each report and its attachments;
    /// `on_crash` is called once, with an error message for the user, if the worker cannot start or crashes.
    pub fn open(
        code: WorkerCode,
        device: DeviceChoice,
        on_report: impl Fn(Report, Vec<JsValue>) + 'static,
        on_crash: impl Fn(String) + 'static,
    ) -> Self {
        // Tries again if an earlier download failed.
        code.fetch();
        let connection = Rc::new(Connection::default());
        let handle = Self { connection: connection.clone() };
        handle.send(&Request::Open { device }, []);
        spawn_local(start(connection, code.module(), Rc::new(on_report), Rc::new(on_crash)));
        handle
    }

    /// Sends a request, or queues it until the worker has started. Ignored once the worker has crashed.
    pub fn send(&self, request: &Request, attached: impl IntoIterator<Item = JsValue>) {
        let message = wire::encode(request, attached);
        match &*self.connection.worker.borrow() {
            Some(running) => running.post(&message),
            None if self.connection.closed.get() => {}
            None => self.connection.waiting.borrow_mut().push(message),
        }
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.connection.close();
    }
}

impl Connection {
    fn close(&self) {
        self.closed.set(true);
        drop(self.worker.take());
        self.waiting.take();
    }
}

impl RunningWorker {
    fn post(&self, message: &JsValue) {
        // Fails only for values that cannot be cloned, which are never sent.
        if let Err(error) = self.worker.post_message(message) {
            web_sys::console::error_1(&error);
        }
    }
}

type OnReport = Rc<dyn Fn(Report, Vec<JsValue>)>;
type OnCrash = Rc<dyn Fn(String)>;

async fn start(connection: Rc<Connection>, code: Compiled, on_report: OnReport, on_crash: OnCrash) {
    let started = match code.await {
        Ok(_) if connection.closed.get() => return,
        Ok(module) => spawn_worker(&connection, &module, on_report, on_crash.clone()).map_err(|error| {
            format!("The browser could not start a worker ({}): reload the page and try again.", fetch::message(error))
        }),
        Err(message) => Err(message),
    };
    match started {
        Ok(running) => {
            connection.waiting.take().iter().for_each(|message| running.post(message));
            connection.worker.replace(Some(running));
        }
        Err(message) if !connection.closed.get() => {
            connection.close();
            on_crash(message);
        }
        Err(_) => {}
    }
}

fn spawn_worker(
    connection: &Rc<Connection>,
    module: &JsValue,
    on_report: OnReport,
    on_crash: OnCrash,
) -> Result<RunningWorker, JsValue> {
    let options = WorkerOptions::new();
    options.set_type(WorkerType::Module);
    let worker = Worker::new_with_options("worker.js", &options)?;
    let crash = {
        let connection = Rc::downgrade(connection);
        move |error: &str| {
            let Some(connection) = connection.upgrade().filter(|connection| !connection.closed.get()) else { return };
            connection.close();
            let cause = if error.contains("unreachable") || error.contains("memory") {
                "it may have run out of memory: try a smaller batch or network"
            } else {
                error.trim_end_matches('.')
            };
            on_crash(format!("The worker has crashed ({cause}). Its results up to here are kept."));
        }
    };
    let on_message = {
        let crash = crash.clone();
        Closure::<dyn Fn(MessageEvent)>::new(move |message: MessageEvent| {
            let data = message.data();
            match data.as_string() {
                Some(error) => crash(error.strip_prefix(FATAL).unwrap_or(&error)),
                None => match wire::decode(&data) {
                    Some((report, attached)) => on_report(report, attached),
                    None => crash("it sent a message of another version: reload the page"),
                },
            }
        })
    };
    let on_error = Closure::<dyn Fn(Event)>::new(move |event: Event| {
        let message = event.dyn_ref::<ErrorEvent>().map(ErrorEvent::message).filter(|message| !message.is_empty());
        crash(message.as_deref().unwrap_or("its code could not be run"));
    });
    worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
    worker.post_message(module)?;
    Ok(RunningWorker { worker, _on_message: on_message, _on_error: on_error })
}
