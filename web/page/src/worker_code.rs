//! The workers' WebAssembly, fetched and compiled once for all workers.

use futures::{
    FutureExt,
    future::{LocalBoxFuture, Shared},
};
use js_sys::{Promise, Reflect, Uint8Array, WebAssembly};
use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{ReadableStreamDefaultReader, Response};

use crate::fetch;

/// The module's path in the bundle.
const PATH: &str = "slimclr_worker_bg.wasm";

/// The state of the download.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loading {
    /// The code is being fetched.
    Fetching {
        /// Bytes so far.
        loaded: f64,
        /// Total bytes, if the bundle lists them.
        total: Option<f64>,
    },
    /// The code is compiled.
    Ready,
    /// Fetching or compiling failed; [`WorkerCode::fetch`] tries again.
    Failed,
}

/// A handle to the workers' code.
#[derive(Clone, Copy)]
pub struct WorkerCode {
    module: StoredValue<Compiled, LocalStorage>,
    loading: RwSignal<Loading>,
}

/// The compiled module, or an error message for the user.
pub type Compiled = Shared<LocalBoxFuture<'static, Result<JsValue, String>>>;

impl WorkerCode {
    /// Starts to fetch the code.
    pub fn new() -> Self {
        let loading = RwSignal::new(Loading::Fetching { loaded: 0.0, total: None });
        let code = Self { module: StoredValue::new_local(compiled(loading)), loading };
        code.fetch();
        code
    }

    /// Fetches the code; after a failure, tries again.
    pub fn fetch(self) {
        if self.loading.get_untracked() == Loading::Failed {
            self.module.set_value(compiled(self.loading));
        }
        spawn_local(self.module.get_value().map(drop));
    }

    /// Returns the state of the download.
    pub fn loading(self) -> ReadSignal<Loading> {
        self.loading.read_only()
    }

    /// Returns a future of the compiled module.
    pub fn module(self) -> Compiled {
        self.module.get_value()
    }
}

fn compiled(loading: RwSignal<Loading>) -> Compiled {
    let compiling = async move {
        loading.set(Loading::Fetching { loaded: 0.0, total: None });
        let module = compile(loading).await;
        loading.set(if module.is_ok() { Loading::Ready } else { Loading::Failed });
        module
            .map_err(|error| format!("The trainer could not be loaded ({error}): check the connection and try again."))
    };
    compiling.boxed_local().shared()
}

async fn compile(loading: RwSignal<Loading>) -> Result<JsValue, String> {
    let total = fetch::bundled_bytes(PATH).await;
    let response = fetch::get(PATH).await?;
    let counted = response.clone().map_err(fetch::message)?;
    spawn_local(async move {
        let on_bytes = |loaded| {
            // The last chunks may be counted after compilation has finished.
            if matches!(loading.get_untracked(), Loading::Fetching { .. }) {
                loading.set(Loading::Fetching { loaded, total });
            }
        };
        // An error here only stops the display; compilation reports it.
        let _ = count_bytes(&counted, on_bytes).await;
    });
    let module = WebAssembly::compile_streaming(&Promise::resolve(AsRef::<JsValue>::as_ref(&response)));
    JsFuture::from(module).await.map_err(fetch::message)
}

/// Calls `on_bytes` with the number of bytes received so far, for each chunk of a response's body.
async fn count_bytes(response: &Response, on_bytes: impl Fn(f64)) -> Option<()> {
    let reader: ReadableStreamDefaultReader = response.body()?.get_reader().dyn_into().ok()?;
    let mut bytes = 0.0;
    loop {
        let chunk = JsFuture::from(reader.read()).await.ok()?;
        let chunk: Uint8Array = Reflect::get(&chunk, &"value".into()).ok()?.dyn_into().ok()?;
        bytes += f64::from(chunk.length());
        on_bytes(bytes);
    }
}
