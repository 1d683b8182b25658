//! Where the worker computes.

use burn::tensor::Device;
use js_sys::{Function, Promise, Reflect};
use slimclr_protocol::{Choice, Report};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::browser::scope;

/// A device, with a name for people.
#[derive(Debug, Clone)]
pub struct Seat {
    /// The device.
    pub device: Device,
    /// What it is, in words.
    pub name: String,
    is_gpu: bool,
    /// Why it is not WebGPU, if that was wanted.
    instead: Option<String>,
}

/// A WebGPU adapter, as the browser describes it.
struct Adapter {
    words: String,
    is_software: bool,
}

impl Seat {
    /// The device that was chosen; the CPU where there is no WebGPU, or only a slow imitation that nobody asked for.
    pub async fn take(choice: Choice) -> Self {
        if choice == Choice::Cpu {
            return Self::cpu(None);
        }
        match adapter().await {
            Err(why) => Self::cpu(Some(why)),
            Ok(adapter) if adapter.is_software && choice == Choice::Auto => Self::cpu(Some(format!(
                "the only WebGPU adapter here is a software renderer ({}), which is slower than the CPU",
                adapter.words
            ))),
            Ok(adapter) => match Device::wgpu_options().init_async().await {
                Err(error) => Self::cpu(Some(format!("WebGPU cannot be used: {error}"))),
                Ok(device) => {
                    let name = format!("WebGPU on {}", adapter.words);
                    Self { device, name, is_gpu: true, instead: None }
                }
            },
        }
    }

    fn cpu(instead: Option<String>) -> Self {
        Self { device: Device::flex(), name: "CPU (WebAssembly, one thread)".into(), is_gpu: false, instead }
    }

    /// What the page is told of it.
    pub fn report(&self) -> Report {
        Report::Ready { device: self.name.clone(), gpu: self.is_gpu, instead: self.instead.clone() }
    }
}

/// The browser's best WebGPU adapter, or why there is none. By reflection, as the interface is not stable in `web-sys`.
async fn adapter() -> Result<Adapter, String> {
    let missing = || "this browser has no WebGPU".to_owned();
    let gpu = Reflect::get(&scope().navigator(), &"gpu".into()).ok().filter(JsValue::is_object).ok_or_else(missing)?;
    let request: Function = get(&gpu, "requestAdapter").dyn_into().map_err(|_| missing())?;
    let promise: Promise = request.call0(&gpu).and_then(JsCast::dyn_into).map_err(|_| missing())?;
    let adapter = JsFuture::from(promise).await.ok().filter(JsValue::is_object);
    let adapter = adapter.ok_or("this browser's WebGPU has no adapter: its graphics driver may be blocked")?;
    let info = get(&adapter, "info");
    let words =
        ["description", "vendor", "architecture", "device"].map(|key| get(&info, key).as_string().unwrap_or_default());
    let [description, rest @ ..] = words;
    let rest: Vec<String> = rest.into_iter().filter(|word| !word.is_empty()).collect();
    let words = match (description.is_empty(), rest.is_empty()) {
        (false, _) => description,
        (true, false) => rest.join(" "),
        (true, true) => "an adapter without a name".into(),
    };
    let is_fallback = [&info, &adapter].iter().any(|it| get(it, "isFallbackAdapter").is_truthy());
    let is_software = is_fallback || words.to_ascii_lowercase().contains("swiftshader");
    Ok(Adapter { words, is_software })
}

fn get(object: &JsValue, key: &str) -> JsValue {
    Reflect::get(object, &key.into()).unwrap_or(JsValue::UNDEFINED)
}
