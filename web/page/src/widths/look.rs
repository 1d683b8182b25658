//! Looking at a trained network: what was asked of the worker, and what it said.

use std::sync::Arc;

use js_sys::Uint8Array;
use leptos::prelude::*;
use slimclr_network::profile::Profile;
use slimclr_protocol::{Choice, Embedding, Images, Map, Picture, Progress, Report, Request, Task, parcel};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use super::pixels::Pixels;
use crate::{
    fetch,
    link::{Link, WorkerCode},
};

/// The network of the bundle.
const SHIPPED: &str = "network.safetensors";

/// A trained network, and where its widths see the gallery.
pub struct Network {
    /// The file's name.
    pub name: String,
    /// In words.
    pub architecture: String,
    /// Steps that it was trained for, if the file tells.
    pub steps: Option<u64>,
    /// What each width costs, widest first.
    pub profile: Vec<Profile>,
    /// The classes' names.
    pub classes: Vec<String>,
    /// The class of each image of the gallery.
    pub labels: Vec<u32>,
    /// The gallery.
    pub images: Pixels,
    /// The class of each sample.
    pub sample_labels: Vec<u32>,
    /// The samples: test images to choose.
    pub samples: Pixels,
    /// The gallery at each width, widest first.
    pub maps: Vec<Map>,
}

impl Network {
    /// The name of a class.
    pub fn class(&self, class: u32) -> &str {
        self.classes.get(class as usize).map_or("no class", String::as_str)
    }

    /// The class of an image of the gallery, with its name.
    pub fn label(&self, image: usize) -> (u32, &str) {
        let class = self.labels.get(image).copied().unwrap_or(u32::MAX);
        (class, self.class(class))
    }
}

/// A picture as all widths see it.
pub struct Seen {
    /// What it is: a file's name, a class.
    pub what: String,
    /// Its class, if it is a sample.
    pub class: Option<u32>,
    /// As the network sees it.
    pub pixels: Pixels,
    /// One for each width, widest first.
    pub widths: Vec<Embedding>,
    /// One of unit length for each width.
    pub features: Vec<Vec<f32>>,
}

/// A picture to be seen.
#[derive(Clone)]
pub enum Chosen {
    /// One of the gallery's samples.
    Sample(usize),
    /// An image file.
    File {
        /// Its name.
        name: String,
        /// Its bytes.
        bytes: Uint8Array,
    },
    /// A square of pixels.
    Square {
        /// What made it.
        what: &'static str,
        /// In pixels.
        side: u32,
        /// 4 bytes a pixel.
        rgba: Uint8Array,
    },
}

/// A worker that looks at networks, and all that is known from it; a handle.
#[derive(Clone, Copy)]
pub struct Look {
    code: WorkerCode,
    link: StoredValue<Option<Link>, LocalStorage>,
    /// The network whose gallery is to come.
    coming: StoredValue<Option<Report>>,
    /// The file of that network, and of the one that is shown.
    files: StoredValue<[Option<File>; 2], LocalStorage>,
    /// The number of the latest question about a picture, and what it was about.
    asked: StoredValue<(u64, Option<Chosen>), LocalStorage>,
    /// Whether that question is open.
    waiting: StoredValue<bool>,
    /// Whether the worker has the network that is shown.
    ready: StoredValue<bool>,
    /// Where it computes, in words.
    pub device: RwSignal<Option<String>>,
    /// What it says of the device that it did not get.
    pub instead: RwSignal<Option<String>>,
    /// The network that is shown.
    pub network: RwSignal<Option<Arc<Network>>>,
    /// The picture that is shown.
    pub seen: RwSignal<Option<Arc<Seen>>>,
    /// The index of the width that is shown.
    pub width: RwSignal<usize>,
    /// What takes long.
    pub progress: RwSignal<Option<Progress>>,
    /// What went wrong with the network or the device, in a sentence.
    pub trouble: RwSignal<Option<String>>,
    /// What went wrong with the picture, in a sentence.
    pub picture_trouble: RwSignal<Option<String>>,
    /// Whether the worker is no more.
    pub dead: RwSignal<bool>,
}

/// A network's file.
type File = (String, Uint8Array);

impl Look {
    /// Nothing yet; [`Look::open`] begins.
    pub fn new(code: WorkerCode) -> Self {
        Self {
            code,
            link: StoredValue::new_local(None),
            coming: StoredValue::new(None),
            files: StoredValue::new_local([None, None]),
            asked: StoredValue::new_local((0, None)),
            waiting: StoredValue::new(false),
            ready: StoredValue::new(false),
            device: RwSignal::new(None),
            instead: RwSignal::new(None),
            network: RwSignal::new(None),
            seen: RwSignal::new(None),
            width: RwSignal::new(0),
            progress: RwSignal::new(None),
            trouble: RwSignal::new(None),
            picture_trouble: RwSignal::new(None),
            dead: RwSignal::new(false),
        }
    }

    /// Starts a worker on `device` with the gallery's images, and gives it the network that was last shown, else the shipped one.
    pub fn open(self, device: Choice) {
        self.device.set(None);
        self.ready.set_value(false);
        self.waiting.set_value(false);
        self.dead.set(false);
        self.trouble.set(None);
        let link = Link::open(
            self.code,
            device,
            move |report, attached| self.hear(report, attached),
            move |words| {
                self.dead.set(true);
                self.fail(words);
            },
        );
        self.link.set_value(Some(link));
        self.begin("loading the images");
        spawn_local(async move {
            match futures::try_join!(fetch::bytes("images/train.webp"), fetch::bytes("images/test.webp")) {
                Ok((train, test)) => {
                    self.ask(&Request::Images(Images::Bundle), [train.into(), test.into()]);
                    match self.files.with_value(|[_, shown]| shown.clone()) {
                        Some((name, bytes)) => self.load(name, bytes),
                        None => self.load_shipped(),
                    }
                }
                Err(error) => self.fail(format!("The images could not be loaded ({error}): reload the page.")),
            }
        });
    }

    /// Loads the network of the bundle.
    pub fn load_shipped(self) {
        self.load_from(SHIPPED);
    }

    /// Loads a network from a file below the page.
    pub fn load_from(self, path: &'static str) {
        self.begin("loading the network");
        spawn_local(async move {
            match fetch::bytes(path).await {
                Ok(bytes) => self.load(path.to_owned(), bytes),
                Err(error) => self.fail(format!("The network could not be loaded ({error}): choose a file instead.")),
            }
        });
    }

    /// Reads a network from a file's bytes. The one before stays until the new one can be shown.
    pub fn load(self, name: String, bytes: Uint8Array) {
        self.begin("reading the network");
        self.files.update_value(|[coming, _]| *coming = Some((name.clone(), bytes.clone())));
        self.ask(&Request::Network { name }, [bytes.into()]);
    }

    /// Ends the reading of a network.
    pub fn cancel(self) {
        self.ask(&Request::Cancel, []);
    }

    /// Shows a picture. Earlier questions are forgotten.
    pub fn show(self, chosen: Chosen) {
        self.asked.update_value(|(_, picture)| *picture = Some(chosen));
        self.show_again();
    }

    /// Whether a picture is being looked at.
    pub fn is_waiting(self) -> bool {
        self.waiting.get_value()
    }

    /// The name of the width that is shown.
    pub fn width_name(self) -> String {
        let width = self.width.get();
        self.network.with(|network| {
            network
                .as_ref()
                .and_then(|network| network.profile.get(width))
                .map_or(String::new(), |of| of.width.to_string())
        })
    }

    fn show_again(self) {
        let (id, chosen) = self.asked.with_value(|(id, chosen)| (*id + 1, chosen.clone()));
        self.asked.update_value(|(latest, _)| *latest = id);
        let Some(chosen) = chosen.filter(|_| self.ready.get_value()) else { return };
        self.waiting.set_value(true);
        let (picture, attached) = match chosen {
            Chosen::Sample(sample) => (Picture::Sample(sample), None),
            Chosen::File { bytes, .. } => (Picture::File, Some(JsValue::from(bytes))),
            Chosen::Square { side, rgba, .. } => {
                (Picture::Rgba { width: side as usize, height: side as usize }, Some(JsValue::from(rgba)))
            }
        };
        self.ask(&Request::Embed { id, picture }, attached);
    }

    fn ask(self, request: &Request, attached: impl IntoIterator<Item = JsValue>) {
        self.link.with_value(|link| {
            if let Some(link) = link {
                link.ask(request, attached);
            }
        });
    }

    fn begin(self, what: &str) {
        self.trouble.set(None);
        self.progress.set(Some(Progress { what: what.to_owned(), done: 0, total: 1 }));
    }

    fn fail(self, message: String) {
        self.progress.set(None);
        self.trouble.set(Some(message));
    }

    fn hear(self, report: Report, attached: Vec<JsValue>) {
        match report {
            Report::Ready { device, instead, .. } => {
                self.device.set(Some(device));
                self.instead.set(instead);
            }
            Report::Progress(progress) => self.progress.set(Some(progress)),
            Report::Network { .. } => self.coming.set_value(Some(report)),
            Report::Gallery { .. } => self.take_network(report, &attached),
            Report::Embedded { id, widths } => self.take_picture(id, widths, &attached),
            Report::Failed { task, message } => {
                if task == Task::Embed {
                    self.waiting.set_value(false);
                    self.picture_trouble.set(Some(message));
                } else {
                    self.fail(message);
                }
            }
            Report::Cancelled { .. } => self.progress.set(None),
            Report::Images { .. } | Report::Event(_) | Report::Checkpoint { .. } | Report::Landscape(_) => {}
        }
    }

    fn take_network(self, gallery: Report, attached: &[JsValue]) {
        let Some(network) =
            self.coming.try_update_value(Option::take).flatten().and_then(|of| network(of, gallery, attached))
        else {
            return;
        };
        self.files.update_value(|[coming, shown]| *shown = coming.take());
        self.progress.set(None);
        self.seen.set(None);
        self.width.update(|width| *width = (*width).min(network.profile.len() - 1));
        self.network.set(Some(Arc::new(network)));
        self.ready.set_value(true);
        self.show_again();
    }

    fn take_picture(self, id: u64, widths: Vec<Embedding>, attached: &[JsValue]) {
        let (latest, chosen) = self.asked.get_value();
        let (Some(chosen), Some(network)) = (chosen, self.network.get_untracked()) else { return };
        if id != latest {
            return;
        }
        self.waiting.set_value(false);
        let Some((pixels, features)) = attached.split_first() else { return };
        let class = match chosen {
            Chosen::Sample(sample) => network.sample_labels.get(sample).copied(),
            _ => None,
        };
        let what = match chosen {
            Chosen::Sample(_) => class.map_or("a test image", |class| network.class(class)).to_owned(),
            Chosen::File { name, .. } => name,
            Chosen::Square { what, .. } => what.to_owned(),
        };
        let Some(bytes) = parcel::bytes(pixels) else { return };
        self.picture_trouble.set(None);
        self.seen.set(Some(Arc::new(Seen {
            what,
            class,
            pixels: Pixels::one(bytes),
            widths,
            features: features.iter().map(floats).collect(),
        })));
    }
}

/// A network out of the two reports on it.
fn network(network: Report, gallery: Report, attached: &[JsValue]) -> Option<Network> {
    let Report::Network { name, architecture, steps, profile, .. } = network else { return None };
    let Report::Gallery { side, classes, labels, samples: sample_labels, maps } = gallery else { return None };
    let [images, samples] = attached else { return None };
    Some(Network {
        name,
        architecture,
        steps,
        profile,
        classes,
        labels,
        images: Pixels::new(parcel::bytes(images)?, side),
        sample_labels,
        samples: Pixels::new(parcel::bytes(samples)?, side),
        maps,
    })
}

/// 32-bit floats, attached as their bytes.
fn floats(attachment: &JsValue) -> Vec<f32> {
    let bytes = parcel::bytes(attachment).unwrap_or_default();
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
}
