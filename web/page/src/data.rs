//! The images to train on, or to look for neighbours among.

use leptos::prelude::*;
use slimclr_protocol::Images;
use wasm_bindgen::JsValue;

use crate::fetch;

/// The bundle's sprite sheets of training and test images.
const SHEETS: [&str; 2] = ["images/train.webp", "images/test.webp"];

/// The bundle's trained network, which is also the teacher of others.
pub const NETWORK: &str = "network.safetensors";

/// Where the images come from.
#[derive(Debug, Clone, Default)]
pub enum Source {
    /// The bundle.
    #[default]
    Bundle,
    /// The user's files, with their paths below the dropped or chosen folder.
    Files(Vec<(String, JsValue)>),
}

/// A handle to the choice of images.
#[derive(Clone, Copy)]
pub struct Data {
    /// The chosen source.
    pub source: RwSignal<Source, LocalStorage>,
}

impl Data {
    /// Chooses the bundle's images.
    pub fn new() -> Self {
        Self { source: RwSignal::new_local(Source::Bundle) }
    }

    /// Returns the request for these images, with its attachments.
    ///
    /// # Errors
    /// If the bundle's images cannot be fetched; the error is a message for the user.
    pub async fn request(self) -> Result<(Images, Vec<JsValue>), String> {
        match self.source.get_untracked() {
            Source::Bundle => {
                let mut sheets = Vec::new();
                for sheet in SHEETS {
                    let error =
                        |why| format!("This page’s images could not be loaded ({why}): try again, or choose your own.");
                    sheets.push(fetch::bytes(sheet).await.map_err(error)?.into());
                }
                Ok((Images::Bundle, sheets))
            }
            Source::Files(files) => {
                let (paths, files) = files.into_iter().unzip();
                Ok((Images::Files { paths }, files))
            }
        }
    }

    /// Returns whether the images are the user's.
    pub fn is_own(self) -> bool {
        self.source.with(|source| matches!(source, Source::Files(_)))
    }

    /// Describes the source to the user.
    pub fn description(self) -> String {
        self.source.with(|source| match source {
            Source::Bundle => "This page’s CIFAR-10 images".to_owned(),
            Source::Files(files) => match files.as_slice() {
                [(path, _)] => path.clone(),
                files => format!("{} of your files", files.len()),
            },
        })
    }
}
