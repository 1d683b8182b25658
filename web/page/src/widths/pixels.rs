//! Square images as the worker sends them.

use leptos::prelude::*;
use wasm_bindgen::{Clamped, JsCast};
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, ImageData};

/// Square images of one size, one after the other, 3 bytes a pixel.
pub struct Pixels {
    bytes: Vec<u8>,
    side: usize,
}

impl Pixels {
    /// Images of `side` pixels.
    pub fn new(bytes: Vec<u8>, side: usize) -> Self {
        Self { bytes, side }
    }

    /// A single square image.
    pub fn one(bytes: Vec<u8>) -> Self {
        let side = (bytes.len() / 3).isqrt();
        Self { bytes, side }
    }

    /// The address of one of the images, for an `img`; none if there is no such image.
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

/// A square canvas beside the page.
pub fn canvas(side: u32) -> Option<HtmlCanvasElement> {
    let canvas: HtmlCanvasElement = document().create_element("canvas").ok()?.dyn_into().ok()?;
    canvas.set_width(side);
    canvas.set_height(side);
    Some(canvas)
}

/// What draws on a canvas.
pub fn context(canvas: &HtmlCanvasElement) -> Option<CanvasRenderingContext2d> {
    canvas.get_context("2d").ok()??.dyn_into().ok()
}

/// What a square canvas shows, 4 bytes a pixel.
pub fn read(canvas: &HtmlCanvasElement) -> Option<Vec<u8>> {
    let side = f64::from(canvas.width());
    Some(context(canvas)?.get_image_data(0.0, 0.0, side, side).ok()?.data().0)
}
