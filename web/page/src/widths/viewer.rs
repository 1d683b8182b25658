//! The viewer of trained networks: its worker's requests and reports, as signals.

use std::sync::Arc;

use js_sys::Uint8Array;
use leptos::prelude::*;
use slimclr_network::profile::Profile;
use slimclr_protocol::{DeviceChoice, Embedding, Job, Map, Picture, Progress, Report, Request, wire};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use crate::{
    data::{Data, NETWORK, Source},
    fetch,
    pixels::Pixels,
    worker_code::WorkerCode,
    worker_handle::WorkerHandle,
};

/// A trained network, with the gallery as embedded at each width.
pub struct Network {
    /// The file's name.
    pub name: String,
    /// The architecture, as text.
    pub architecture: String,
    /// Training steps, if the file records them.
    pub steps: Option<u64>,
    /// Cost of each width, widest first.
    pub profile: Vec<Profile>,
    /// Class names; none if the images have no labels.
    pub classes: Vec<String>,
    /// The class of each gallery image.
    pub labels: Vec<u32>,
    /// The gallery images.
    pub images: Pixels,
    /// The class of each sample.
    pub sample_labels: Vec<u32>,
    /// The samples, which are test images to choose from.
    pub samples: Pixels,
    /// The map of each width, widest first.
    pub maps: Vec<Map>,
    /// At each width, the share of the gallery that its neighbours classify; empty if the images have no labels.
    pub knn: Vec<f64>,
}

impl Network {
    /// Returns the name of a class; `None` if the images have no labels.
    pub fn class(&self, class: u32) -> Option<&str> {
        self.classes.get(class as usize).map(String::as_str)
    }

    /// Returns the class of a gallery image and its name; `None` if the images have no labels.
    pub fn label(&self, image: usize) -> Option<(u32, &str)> {
        let class = *self.labels.get(image)?;
        Some((class, self.class(class)?))
    }
}

/// A picture as embedded at each width.
pub struct EmbeddedPicture {
    /// Its caption: a file's name or a class.
    pub caption: String,
    /// Its class, if it is a sample with a label.
    pub class: Option<u32>,
    /// The network's input.
    pub pixels: Pixels,
    /// One for each width, widest first.
    pub widths: Vec<Embedding>,
    /// The unit feature vector of each width.
    pub features: Vec<Vec<f32>>,
}

impl EmbeddedPicture {
    /// Returns the nearest gallery images at a width and their cosines, nearest first.
    pub fn nearest(&self, width: usize) -> &[(usize, f32)] {
        self.widths.get(width).map_or(&[], |embedding| &embedding.neighbours)
    }

    /// Returns how many of the nearest gallery images at a width have the picture's class; `None` if it has none.
    pub fn same_class(&self, network: &Network, width: usize) -> Option<usize> {
        let class = self.class?;
        let is_same = |image: usize| network.label(image).is_some_and(|(other, _)| other == class);
        Some(self.nearest(width).iter().filter(|(image, _)| is_same(*image)).count())
    }
}

/// A picture that the user has chosen.
#[derive(Clone)]
pub enum ChosenPicture {
    /// One of the gallery's samples.
    Sample(usize),
    /// An image file.
    File {
        /// Its name.
        name: String,
        /// Its bytes.
        bytes: Uint8Array,
    },
    /// A square of RGBA pixels.
    Square {
        /// Its caption.
        caption: &'static str,
        /// Side in pixels.
        side: u32,
        /// 4 bytes per pixel.
        rgba: Uint8Array,
    },
}

/// A handle to the viewer.
#[derive(Clone, Copy)]
pub struct Viewer {
    code: WorkerCode,
    /// The images of the gallery.
    pub data: Data,
    worker: StoredValue<Option<WorkerHandle>, LocalStorage>,
    /// The report on a network whose gallery has not arrived yet.
    pending: StoredValue<Option<Report>>,
    /// The file of the pending network, and of the one that is shown.
    files: StoredValue<[Option<File>; 2], LocalStorage>,
    /// The id of the latest picture request, and its picture.
    latest: StoredValue<(u64, Option<ChosenPicture>), LocalStorage>,
    /// Whether the latest picture request is unanswered.
    is_waiting: StoredValue<bool>,
    /// Whether the worker has loaded the network that is shown.
    is_loaded: StoredValue<bool>,
    /// The device, for the user.
    pub device: RwSignal<Option<String>>,
    /// Why the requested device is not used, if it is not.
    pub instead: RwSignal<Option<String>>,
    /// Which images have turned out to be damaged, for the user.
    pub damaged: RwSignal<Option<String>>,
    /// The network that is shown.
    pub network: RwSignal<Option<Arc<Network>>>,
    /// The picture that is shown.
    pub embedded: RwSignal<Option<Arc<EmbeddedPicture>>>,
    /// The index of the width that is shown.
    pub width: RwSignal<usize>,
    /// Progress of the current long job.
    pub progress: RwSignal<Option<Progress>>,
    /// The latest error message about the network or the device.
    pub error: RwSignal<Option<String>>,
    /// The latest error message about the picture.
    pub picture_error: RwSignal<Option<String>>,
    /// Whether the worker has crashed.
    pub has_crashed: RwSignal<bool>,
}

/// A network's file.
type File = (String, Uint8Array);

impl Viewer {
    /// Creates a viewer without a worker; [`Viewer::open`] starts it.
    pub fn new(code: WorkerCode) -> Self {
        Self {
            code,
            data: Data::new(),
            worker: StoredValue::new_local(None),
            pending: StoredValue::new(None),
            files: StoredValue::new_local([None, None]),
            latest: StoredValue::new_local((0, None)),
            is_waiting: StoredValue::new(false),
            is_loaded: StoredValue::new(false),
            device: RwSignal::new(None),
            instead: RwSignal::new(None),
            damaged: RwSignal::new(None),
            network: RwSignal::new(None),
            embedded: RwSignal::new(None),
            width: RwSignal::new(0),
            progress: RwSignal::new(None),
            error: RwSignal::new(None),
            picture_error: RwSignal::new(None),
            has_crashed: RwSignal::new(false),
        }
    }

    /// Starts a worker on `device`, and loads the gallery's images and a network.
    pub fn open(self, device: DeviceChoice) {
        self.device.set(None);
        self.is_loaded.set_value(false);
        self.is_waiting.set_value(false);
        self.has_crashed.set(false);
        self.error.set(None);
        let worker = WorkerHandle::open(
            self.code,
            device,
            move |report, attached| self.on_report(report, attached),
            move |message| {
                self.has_crashed.set(true);
                self.fail(message);
            },
        );
        self.worker.set_value(Some(worker));
        self.load_images();
    }

    /// Uses other images as the gallery.
    pub fn set_images(self, source: Source) {
        self.data.source.set(source);
        self.load_images();
    }

    /// Loads the gallery's images, then the network that was shown before, or else the built-in one.
    fn load_images(self) {
        self.damaged.set(None);
        self.begin("loading the images");
        spawn_local(async move {
            match self.data.request().await {
                Ok((images, attached)) => {
                    self.send(&Request::Images(images), attached);
                    match self.files.with_value(|[_, shown]| shown.clone()) {
                        Some((name, bytes)) => self.load(name, bytes),
                        None => self.load_built_in(),
                    }
                }
                Err(message) => self.fail(message),
            }
        });
    }

    /// Loads the network in the bundle.
    pub fn load_built_in(self) {
        self.load_from(NETWORK);
    }

    /// Loads a network from a file next to the page.
    pub fn load_from(self, path: &'static str) {
        self.begin("loading the network");
        spawn_local(async move {
            match fetch::bytes(path).await {
                Ok(bytes) => self.load(path.to_owned(), bytes),
                Err(error) => self.fail(format!("The network could not be loaded ({error}): choose a file instead.")),
            }
        });
    }

    /// Loads a network from a file's bytes. The current one stays until the new one is complete.
    pub fn load(self, name: String, bytes: Uint8Array) {
        self.begin("reading the network");
        self.files.update_value(|[pending, _]| *pending = Some((name.clone(), bytes.clone())));
        self.send(&Request::Network { name }, [bytes.into()]);
    }

    /// Cancels loading a network.
    pub fn cancel(self) {
        self.send(&Request::Cancel, []);
    }

    /// Shows a picture. Answers to earlier requests are ignored.
    pub fn show(self, chosen: ChosenPicture) {
        self.latest.update_value(|(_, picture)| *picture = Some(chosen));
        self.request_embedding();
    }

    /// Returns whether a picture is being embedded.
    pub fn is_waiting(self) -> bool {
        self.is_waiting.get_value()
    }

    /// Returns the width that is shown, as text.
    pub fn width_name(self) -> String {
        let width = self.width.get();
        self.network.with(|network| {
            network
                .as_ref()
                .and_then(|network| network.profile.get(width))
                .map_or(String::new(), |of| of.width.to_string())
        })
    }

    fn request_embedding(self) {
        let (id, chosen) = self.latest.with_value(|(id, chosen)| (*id + 1, chosen.clone()));
        self.latest.update_value(|(latest, _)| *latest = id);
        let Some(chosen) = chosen.filter(|_| self.is_loaded.get_value()) else { return };
        self.is_waiting.set_value(true);
        let (picture, attached) = match chosen {
            ChosenPicture::Sample(sample) => (Picture::Sample(sample), None),
            ChosenPicture::File { bytes, .. } => (Picture::File, Some(JsValue::from(bytes))),
            ChosenPicture::Square { side, rgba, .. } => {
                (Picture::Rgba { width: side as usize, height: side as usize }, Some(JsValue::from(rgba)))
            }
        };
        self.send(&Request::Embed { id, picture }, attached);
    }

    fn send(self, request: &Request, attached: impl IntoIterator<Item = JsValue>) {
        self.worker.with_value(|worker| {
            if let Some(worker) = worker {
                worker.send(request, attached);
            }
        });
    }

    fn begin(self, what: &str) {
        self.error.set(None);
        self.progress.set(Some(Progress { what: what.to_owned(), done: 0, total: 1 }));
    }

    fn fail(self, message: String) {
        self.progress.set(None);
        self.error.set(Some(message));
    }

    fn on_report(self, report: Report, attached: Vec<JsValue>) {
        match report {
            Report::Ready { device, instead, .. } => {
                self.device.set(Some(device));
                self.instead.set(instead);
            }
            Report::Damaged(images) => self.damaged.set(Some(images)),
            Report::Progress(progress) => self.progress.set(Some(progress)),
            Report::Network { .. } => self.pending.set_value(Some(report)),
            Report::Gallery { .. } => self.on_gallery(report, &attached),
            Report::Embedded { id, widths } => self.on_embedded(id, widths, &attached),
            Report::Failed { job, message } => {
                if job == Job::Embed {
                    self.is_waiting.set_value(false);
                    self.picture_error.set(Some(message));
                    return;
                }
                if job == Job::Images {
                    // The worker still has the images before.
                    self.data.source.set(Source::Bundle);
                }
                self.fail(message);
            }
            Report::Cancelled { .. } => self.progress.set(None),
            Report::Images { .. } | Report::Landscape(_) => {}
            Report::Event(_) | Report::Checkpoint { .. } | Report::Pairs { .. } => {}
        }
    }

    fn on_gallery(self, gallery: Report, attached: &[JsValue]) {
        let Some(network) =
            self.pending.try_update_value(Option::take).flatten().and_then(|report| network(report, gallery, attached))
        else {
            return;
        };
        self.files.update_value(|[pending, shown]| *shown = pending.take());
        self.progress.set(None);
        self.embedded.set(None);
        // Other images may have fewer samples.
        let last = network.sample_labels.len().saturating_sub(1);
        self.latest.update_value(|(_, picture)| {
            if let Some(ChosenPicture::Sample(sample)) = picture {
                *sample = (*sample).min(last);
            }
        });
        self.width.update(|width| *width = (*width).min(network.profile.len() - 1));
        self.network.set(Some(Arc::new(network)));
        self.is_loaded.set_value(true);
        self.request_embedding();
    }

    fn on_embedded(self, id: u64, widths: Vec<Embedding>, attached: &[JsValue]) {
        let (latest, chosen) = self.latest.get_value();
        let (Some(chosen), Some(network)) = (chosen, self.network.get_untracked()) else { return };
        if id != latest {
            return;
        }
        self.is_waiting.set_value(false);
        let Some((pixels, features)) = attached.split_first() else { return };
        let class = match chosen {
            ChosenPicture::Sample(sample) => network.sample_labels.get(sample).copied(),
            _ => None,
        };
        let class = class.filter(|class| network.class(*class).is_some());
        let caption = match chosen {
            ChosenPicture::Sample(_) => {
                class.and_then(|class| network.class(class)).unwrap_or("a test image").to_owned()
            }
            ChosenPicture::File { name, .. } => name,
            ChosenPicture::Square { caption, .. } => caption.to_owned(),
        };
        let Some(bytes) = wire::bytes(pixels) else { return };
        self.picture_error.set(None);
        self.embedded.set(Some(Arc::new(EmbeddedPicture {
            caption,
            class,
            pixels: Pixels::one(bytes),
            widths,
            features: features.iter().map(floats).collect(),
        })));
    }
}

/// Combines the two reports on a network.
fn network(network: Report, gallery: Report, attached: &[JsValue]) -> Option<Network> {
    let Report::Network { name, architecture, steps, profile, .. } = network else { return None };
    let Report::Gallery { side, classes, labels, samples: sample_labels, maps, knn } = gallery else { return None };
    let [images, samples] = attached else { return None };
    Some(Network {
        name,
        architecture,
        steps,
        profile,
        classes,
        labels,
        images: Pixels::new(wire::bytes(images)?, side),
        sample_labels,
        samples: Pixels::new(wire::bytes(samples)?, side),
        maps,
        knn,
    })
}

/// Reads attached 32-bit floats.
fn floats(attachment: &JsValue) -> Vec<f32> {
    let bytes = wire::bytes(attachment).unwrap_or_default();
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
}
