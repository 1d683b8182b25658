//! Handles the page's requests one by one; long jobs run concurrently.

use std::{cell::Cell, rc::Rc};

use futures::{StreamExt, channel::mpsc::UnboundedReceiver, lock::Mutex};
use slimclr_core::interference::landscape::LandscapeError;
use slimclr_protocol::{DeviceChoice, Job, Report, Request, wire};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use crate::{
    browser::{report, report_failure, yield_to_browser},
    device::ComputeDevice,
    gallery::Gallery,
    images::Dataset,
    landscape,
    training::{StartFiles, Training},
};

/// The worker's state between requests.
#[derive(Default)]
pub struct RequestHandler {
    device: Option<ComputeDevice>,
    dataset: Option<Rc<Dataset>>,
    run: Option<Rc<Training>>,
    /// Locked while a network is read or a picture embedded, so that these never overlap.
    gallery: Rc<Mutex<Option<Gallery>>>,
    /// Set to `false` to cancel the landscape or gallery that is being computed.
    wanted: Rc<Cell<bool>>,
    /// The id of the latest picture request.
    latest: Rc<Cell<u64>>,
}

impl RequestHandler {
    /// Handles messages until the worker ends.
    pub async fn run(mut self, mut inbox: UnboundedReceiver<JsValue>) {
        while let Some(message) = inbox.next().await {
            match wire::decode(&message) {
                Some((request, attached)) => self.handle(request, attached).await,
                None => report_failure(Job::Open, "the page and its worker have different versions: reload the page"),
            }
        }
    }

    async fn handle(&mut self, request: Request, attached: Vec<JsValue>) {
        match request {
            Request::Open { device } => drop(self.device(device).await),
            Request::Images(images) => match Dataset::open(&images, &attached).await {
                Ok(dataset) => {
                    report(&dataset.report());
                    self.dataset = Some(Rc::new(dataset));
                }
                Err(error) => report_failure(Job::Images, error),
            },
            Request::Train { config, paused } => {
                let Some(dataset) = self.dataset(Job::Train) else { return };
                let device = self.device(DeviceChoice::Auto).await;
                let mut attached = attached.iter().filter_map(wire::bytes);
                let teacher = if config.teacher.is_empty() { None } else { attached.next() };
                let files = StartFiles { teacher, checkpoint: attached.next() };
                // Ends the earlier run before the new one starts.
                self.run = None;
                match Training::start(&device, dataset, *config, files, paused) {
                    Ok(run) => self.run = Some(Rc::new(run)),
                    Err(error) => report_failure(Job::Train, error),
                }
            }
            Request::Command(command) => {
                // If there is no run, its failure has been reported already.
                let Some(run) = &self.run else { return };
                if let Err(error) = run.send(command) {
                    report_failure(Job::Train, error);
                }
            }
            Request::Landscape { cells } => {
                let Some(run) = self.run.clone() else {
                    return report_failure(Job::Landscape, "there is no run: start one");
                };
                let (device, wanted) = (self.device(DeviceChoice::Auto).await, self.replace_job());
                spawn_local(async move {
                    match landscape::compute(&device, &run, cells.max(2), &wanted).await {
                        Ok(landscape) => report(&Report::Landscape(landscape)),
                        Err(landscape::Error::Landscape(LandscapeError::Cancelled)) => {
                            report(&Report::Cancelled { job: Job::Landscape });
                        }
                        Err(error) => report_failure(Job::Landscape, error),
                    }
                });
            }
            Request::Network { name } => {
                let Some(dataset) = self.dataset(Job::Network) else { return };
                let Some(bytes) = attached.first().and_then(wire::bytes) else {
                    return report_failure(Job::Network, "the file did not arrive: choose it again");
                };
                let device = self.device(DeviceChoice::Auto).await;
                let (wanted, shared) = (self.replace_job(), self.gallery.clone());
                spawn_local(async move {
                    let mut gallery = shared.lock().await;
                    match Gallery::open(&device, &dataset, (name, bytes), &wanted).await {
                        // The earlier network stays until the new one is complete.
                        Ok(Some(opened)) => *gallery = Some(opened),
                        Ok(None) => report(&Report::Cancelled { job: Job::Network }),
                        Err(error) => report_failure(Job::Network, error),
                    }
                });
            }
            Request::Embed { id, picture } => {
                let (shared, latest) = (self.gallery.clone(), self.latest.clone());
                latest.set(id);
                spawn_local(async move {
                    let mut gallery = shared.lock().await;
                    // Skips this picture if a later one was requested meanwhile.
                    yield_to_browser().await;
                    if latest.get() != id {
                        return;
                    }
                    match &mut *gallery {
                        Some(gallery) => {
                            if let Err(error) = gallery.embed(id, picture, &attached).await {
                                report_failure(Job::Embed, error);
                            }
                        }
                        None => report_failure(Job::Embed, "no network is loaded: choose one"),
                    }
                });
            }
            Request::Cancel => self.wanted.set(false),
        }
    }

    /// Returns the device, and opens it if it is not open yet.
    async fn device(&mut self, choice: DeviceChoice) -> ComputeDevice {
        if let Some(device) = &self.device {
            return device.clone();
        }
        let device = ComputeDevice::open(choice).await;
        report(&device.report());
        self.device.insert(device).clone()
    }

    /// Returns the images; reports that `job` failed if there are none.
    fn dataset(&self, job: Job) -> Option<Rc<Dataset>> {
        if self.dataset.is_none() {
            report_failure(job, "no images are loaded: choose some");
        }
        self.dataset.clone()
    }

    /// Cancels the current landscape or gallery and returns the flag that keeps the next one running.
    fn replace_job(&mut self) -> Rc<Cell<bool>> {
        self.wanted.set(false);
        self.wanted = Rc::new(Cell::new(true));
        self.wanted.clone()
    }
}
