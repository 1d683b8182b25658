//! Square images, and canvases to convert them.

use leptos::prelude::*;
use wasm_bindgen::{Clamped, JsCast};
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, ImageData};

/// Square RGB images of the same size, one after the other.
pub struct Pixels {
    bytes: Vec<u8>,
    side: usize,
}

impl Pixels {
    /// Wraps images with sides of `side` pixels.
    pub fn new(bytes: Vec<u8>, side: usize) -> Self {
        Self { bytes, side }
    }

    /// Wraps a single image.
    pub fn one(bytes: Vec<u8>) -> Self {
        let side = (bytes.len() / 3).isqrt();
        Self { bytes, side }
    }

    /// Returns an image as a data URL; `None` if the index is out of range.
    pub fn url(&self, image: usize) -> Option<String> {
        let size = 3 * self.side * self.side;
        let pixels = self.bytes.get(image * size..(image + 1) * size)?;
        let rgba: Vec<u8> = pixels.chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], u8::MAX]).collect();
        let canvas = canvas(self.side as u32)?;
        let data = ImageData::new_with_u8_clamped_array(Clamped(&rgba), self.side as u32).ok()?;
        context(&canvas)?.put_image_data(&data, 0.0, 0.0).ok()?;
        canvas.to_data_url().ok()
    }
}

/// Creates a square canvas that is not part of the page.
pub fn canvas(side: u32) -> Option<HtmlCanvasElement> {
    let canvas: HtmlCanvasElement = document().create_element("canvas").ok()?.dyn_into().ok()?;
    canvas.set_width(side);
    canvas.set_height(side);
    Some(canvas)
}

/// Returns a canvas's 2D context.
pub fn context(canvas: &HtmlCanvasElement) -> Option<CanvasRenderingContext2d> {
    canvas.get_context("2d").ok()??.dyn_into().ok()
}

/// Returns the RGBA pixels of a square canvas.
pub fn read(canvas: &HtmlCanvasElement) -> Option<Vec<u8>> {
    let side = f64::from(canvas.width());
    Some(context(canvas)?.get_image_data(0.0, 0.0, side, side).ok()?.data().0)
}
