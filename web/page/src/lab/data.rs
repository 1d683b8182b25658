//! The images that are trained on.

use leptos::prelude::*;
use slimclr_protocol::Images;
use wasm_bindgen::JsValue;

use crate::fetch;

/// The bundle's sheets of training and test images.
const SHEETS: [&str; 2] = ["images/train.webp", "images/test.webp"];

/// Where the images come from.
#[derive(Debug, Clone, Default)]
pub enum Source {
    /// The bundle.
    #[default]
    Bundle,
    /// The user's files, with their paths below what was dropped or chosen.
    Files(Vec<(String, JsValue)>),
}

/// The choice of images, for all runs of a lab; a handle to it.
#[derive(Clone, Copy)]
pub struct Data {
    /// What is chosen.
    pub source: RwSignal<Source, LocalStorage>,
}

impl Data {
    /// The bundle's images.
    pub fn new() -> Self {
        Self { source: RwSignal::new_local(Source::Bundle) }
    }

    /// The request for them, and what is attached to it.
    ///
    /// # Errors
    /// If the bundle's images cannot be fetched, in a sentence.
    pub async fn request(self) -> Result<(Images, Vec<JsValue>), String> {
        match self.source.get_untracked() {
            Source::Bundle => {
                let mut sheets = Vec::new();
                for sheet in SHEETS {
                    let bytes = fetch::bytes(sheet).await;
                    let why = |why| {
                        format!("The images of this page cannot be fetched ({why}): try again, or choose your own.")
                    };
                    sheets.push(bytes.map_err(why)?.into());
                }
                Ok((Images::Bundle, sheets))
            }
            Source::Files(files) => {
                let (paths, files) = files.into_iter().unzip();
                Ok((Images::Files { paths }, files))
            }
        }
    }

    /// Where they come from, in words.
    pub fn in_words(self) -> String {
        self.source.with(|source| match source {
            Source::Bundle => "CIFAR-10 images of this page".to_owned(),
            Source::Files(files) => match files.as_slice() {
                [(path, _)] => path.clone(),
                files => format!("{} files of yours", files.len()),
            },
        })
    }
}
