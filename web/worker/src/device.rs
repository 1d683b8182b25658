//! The device that the worker computes on.

use burn::tensor::Device;
use js_sys::{Function, Promise, Reflect};
use slimclr_protocol::{DeviceChoice, Report};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::browser::scope;

/// A Burn device and its description.
#[derive(Debug, Clone)]
pub struct ComputeDevice {
    /// The device.
    pub burn: Device,
    /// Its description, for the user.
    pub name: String,
    is_gpu: bool,
    /// Why it is not WebGPU, if WebGPU was requested.
    instead: Option<String>,
}

/// A WebGPU adapter, as the browser describes it.
struct Adapter {
    description: String,
    is_software: bool,
}

impl ComputeDevice {
    /// Opens the chosen device. Falls back to the CPU if there is no WebGPU, or, by default, only a software renderer.
    pub async fn open(choice: DeviceChoice) -> Self {
        if choice == DeviceChoice::Cpu {
            return Self::cpu(None);
        }
        match adapter().await {
            Err(why) => Self::cpu(Some(why)),
            Ok(adapter) if adapter.is_software && choice == DeviceChoice::Auto => Self::cpu(Some(format!(
                "The only WebGPU adapter here is a software renderer ({}), which is slower than the CPU.",
                adapter.description
            ))),
            Ok(adapter) => match Device::wgpu_options().init_async().await {
                Err(error) => Self::cpu(Some(format!("WebGPU failed to start: {error}."))),
                Ok(device) => {
                    let name = format!("WebGPU on {}", adapter.description);
                    Self { burn: device, name, is_gpu: true, instead: None }
                }
            },
        }
    }

    fn cpu(instead: Option<String>) -> Self {
        Self { burn: Device::flex(), name: "CPU (WebAssembly, one thread)".into(), is_gpu: false, instead }
    }

    /// Describes the device to the page.
    pub fn report(&self) -> Report {
        Report::Ready { device: self.name.clone(), gpu: self.is_gpu, instead: self.instead.clone() }
    }
}

/// Returns the browser's best WebGPU adapter, or why there is none. Uses reflection because the interface is not stable
/// in `web-sys`.
async fn adapter() -> Result<Adapter, String> {
    let missing = || "This browser has no WebGPU.".to_owned();
    let gpu = Reflect::get(&scope().navigator(), &"gpu".into()).ok().filter(JsValue::is_object).ok_or_else(missing)?;
    let request: Function = get(&gpu, "requestAdapter").dyn_into().map_err(|_| missing())?;
    let promise: Promise = request.call0(&gpu).and_then(JsCast::dyn_into).map_err(|_| missing())?;
    let adapter = JsFuture::from(promise).await.ok().filter(JsValue::is_object);
    let adapter = adapter.ok_or("WebGPU found no graphics adapter: the browser may block the graphics driver.")?;
    let info = get(&adapter, "info");
    let texts =
        ["description", "vendor", "architecture", "device"].map(|key| get(&info, key).as_string().unwrap_or_default());
    let [description, rest @ ..] = texts;
    let rest: Vec<String> = rest.into_iter().filter(|text| !text.is_empty()).collect();
    let description = match (description.is_empty(), rest.is_empty()) {
        (false, _) => description,
        (true, false) => rest.join(" "),
        (true, true) => "an unnamed adapter".into(),
    };
    let is_fallback = [&info, &adapter].iter().any(|object| get(object, "isFallbackAdapter").is_truthy());
    let is_software = is_fallback || description.to_ascii_lowercase().contains("swiftshader");
    Ok(Adapter { description, is_software })
}

fn get(object: &JsValue, key: &str) -> JsValue {
    Reflect::get(object, &key.into()).unwrap_or(JsValue::UNDEFINED)
}
