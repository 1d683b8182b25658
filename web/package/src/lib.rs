//! Inference for JavaScript: [`Embedder`] behind wasm-bindgen. `js/network.js` makes of it the interface of the package.
//!
//! With the feature `webgpu` it computes on WebGPU; without it, on the CPU, in a module that is much smaller.
#![cfg(target_family = "wasm")]

use std::rc::Rc;

use js_sys::{Array, Float32Array, Promise};
use slimclr_core::{
    embedder::{EmbedError, Embedder},
    image::Image,
};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

/// Name of a network's file, in errors.
const FILE: &str = "the network's file";

/// What networks compute on.
#[wasm_bindgen]
pub struct Device(burn::tensor::Device);

#[wasm_bindgen]
impl Device {
    /// Opens the device. Call this once.
    ///
    /// # Errors
    /// If WebGPU does not start.
    pub async fn open() -> Result<Device, JsError> {
        std::panic::set_hook(Box::new(|panic| web_sys::console::error_1(&panic.to_string().into())));
        #[cfg(feature = "webgpu")]
        return match burn::tensor::Device::wgpu_options().init_async().await {
            Ok(device) => Ok(Self(device)),
            Err(error) => Err(JsError::new(&format!("WebGPU failed to start: {error}; load with {{ device: 'cpu' }}"))),
        };
        #[cfg(not(feature = "webgpu"))]
        Ok(Self(burn::tensor::Device::flex()))
    }

    /// Reads a network's file onto the device.
    ///
    /// # Errors
    /// If it is not the file of a network, or is damaged.
    pub fn read(&self, file: Vec<u8>) -> Result<Network, JsError> {
        Ok(Network(Rc::new(Embedder::read(FILE, file, &self.0)?)))
    }
}

/// A trained network.
#[wasm_bindgen]
pub struct Network(Rc<Embedder>);

#[wasm_bindgen]
impl Network {
    /// Returns the widths, the widest first.
    pub fn widths(&self) -> Vec<f64> {
        self.0.widths().to_vec()
    }

    /// Returns the number of features of an image.
    ///
    /// # Errors
    /// If the network lacks the width.
    pub fn dimension(&self, width: f64) -> Result<usize, JsError> {
        Ok(self.0.dimension(width)?)
    }

    /// Returns the side of the square that images are resized and cropped to, in pixels.
    pub fn image_size(&self) -> usize {
        self.0.image_size()
    }

    /// Returns the names of the classes; none without a classifier.
    pub fn classes(&self) -> Vec<String> {
        self.0.classes().to_vec()
    }

    /// Computes the features of images: a `Float32Array` for each.
    pub fn embed(&self, images: Images, width: f64) -> Promise {
        let embedder = self.0.clone();
        future_to_promise(async move { to_js(embedder.embed(&images.0, width).await) })
    }

    /// Computes the probabilities of the classes of images: a `Float32Array` for each.
    pub fn classify(&self, images: Images, width: f64) -> Promise {
        let embedder = self.0.clone();
        future_to_promise(async move { to_js(embedder.classify(&images.0, width).await) })
    }
}

/// Images for a network.
#[derive(Default)]
#[wasm_bindgen]
pub struct Images(Vec<Image>);

#[wasm_bindgen]
impl Images {
    /// Creates an empty list.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an image of RGB pixels.
    ///
    /// # Errors
    /// If it is empty, or `pixels` do not fill it.
    pub fn add_rgb(&mut self, width: usize, height: usize, pixels: Vec<u8>) -> Result<(), JsError> {
        self.0.push(Image::new(width, height, pixels)?);
        Ok(())
    }

    /// Adds an image of RGBA pixels, without their opacity.
    ///
    /// # Errors
    /// As [`add_rgb`](Self::add_rgb).
    pub fn add_rgba(&mut self, width: usize, height: usize, pixels: &[u8]) -> Result<(), JsError> {
        self.0.push(Image::from_rgba(width, height, pixels)?);
        Ok(())
    }
}

/// Returns rows as an array of `Float32Array`s.
fn to_js(rows: Result<Vec<Vec<f32>>, EmbedError>) -> Result<JsValue, JsValue> {
    let rows = rows.map_err(JsError::from)?;
    Ok(rows.iter().map(|row| Float32Array::from(&row[..])).collect::<Array>().into())
}
