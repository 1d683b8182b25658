//! The worker's desk: takes requests one by one, and has what takes long done beside it.

use std::{cell::Cell, rc::Rc};

use futures::{StreamExt, channel::mpsc::UnboundedReceiver, lock::Mutex};
use slimclr_core::interference::landscape::LandscapeError;
use slimclr_protocol::{Choice, Report, Request, Task, parcel};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use crate::{
    browser::{breathe, failed, report},
    gallery::Gallery,
    images::Dataset,
    seat::Seat,
    survey::{SurveyError, survey},
    training::Training,
};

/// What the worker has been given.
#[derive(Default)]
pub struct Desk {
    seat: Option<Seat>,
    dataset: Option<Rc<Dataset>>,
    run: Option<Rc<Training>>,
    /// Locked while a network is read or a picture embedded: one after the other.
    gallery: Rc<Mutex<Option<Gallery>>>,
    /// Whether the survey or the gallery that is being computed is still wanted.
    wanted: Rc<Cell<bool>>,
    /// The picture that was asked for last.
    latest: Rc<Cell<u64>>,
}

impl Desk {
    /// Does what the messages ask, for ever.
    pub async fn obey(mut self, mut inbox: UnboundedReceiver<JsValue>) {
        while let Some(message) = inbox.next().await {
            match parcel::unpack(&message) {
                Some((request, attached)) => self.handle(request, attached).await,
                None => failed(Task::Open, "the page and its worker are of different versions: reload the page"),
            }
        }
    }

    async fn handle(&mut self, request: Request, attached: Vec<JsValue>) {
        match request {
            Request::Open { device } => drop(self.seat(device).await),
            Request::Images(images) => match Dataset::open(&images, &attached).await {
                Ok(dataset) => {
                    report(&dataset.report());
                    self.dataset = Some(Rc::new(dataset));
                }
                Err(error) => failed(Task::Images, error),
            },
            Request::Train { config, paused } => {
                let Some(dataset) = self.dataset(Task::Train) else { return };
                let seat = self.seat(Choice::Auto).await;
                let checkpoint = attached.first().and_then(parcel::bytes);
                // The earlier run ends first.
                self.run = None;
                match Training::begin(&seat, dataset, *config, checkpoint.as_deref(), paused) {
                    Ok(run) => self.run = Some(Rc::new(run)),
                    Err(error) => failed(Task::Train, error),
                }
            }
            Request::Steer(command) => {
                // Why a run did not begin has been said.
                let Some(run) = &self.run else { return };
                if let Err(error) = run.steer(command) {
                    failed(Task::Train, error);
                }
            }
            Request::Survey { cells } => {
                let Some(run) = self.run.clone() else { return failed(Task::Survey, "there is no run: start one") };
                let (seat, wanted) = (self.seat(Choice::Auto).await, self.begin());
                spawn_local(async move {
                    match survey(&seat, &run, cells.max(2), &wanted).await {
                        Ok(landscape) => report(&Report::Landscape(landscape)),
                        Err(SurveyError::Landscape(LandscapeError::Cancelled)) => {
                            report(&Report::Cancelled { task: Task::Survey });
                        }
                        Err(error) => failed(Task::Survey, error),
                    }
                });
            }
            Request::Network { name } => {
                let Some(dataset) = self.dataset(Task::Network) else { return };
                let Some(bytes) = attached.first().and_then(parcel::bytes) else {
                    return failed(Task::Network, "the file did not arrive: choose it again");
                };
                let (seat, wanted, place) = (self.seat(Choice::Auto).await, self.begin(), self.gallery.clone());
                spawn_local(async move {
                    let mut gallery = place.lock().await;
                    match Gallery::open(&seat, &dataset, (name, bytes), &wanted).await {
                        // Until then the earlier network stands.
                        Ok(Some(opened)) => *gallery = Some(opened),
                        Ok(None) => report(&Report::Cancelled { task: Task::Network }),
                        Err(error) => failed(Task::Network, error),
                    }
                });
            }
            Request::Embed { id, picture } => {
                let (place, latest) = (self.gallery.clone(), self.latest.clone());
                latest.set(id);
                spawn_local(async move {
                    let mut gallery = place.lock().await;
                    // Nobody waits for an earlier picture.
                    breathe().await;
                    if latest.get() != id {
                        return;
                    }
                    match &mut *gallery {
                        Some(gallery) => {
                            if let Err(error) = gallery.embed(id, picture, &attached).await {
                                failed(Task::Embed, error);
                            }
                        }
                        None => failed(Task::Embed, "there is no network to look at: choose one"),
                    }
                });
            }
            Request::Cancel => self.wanted.set(false),
        }
    }

    /// The device; taken now, if that was not asked before.
    async fn seat(&mut self, choice: Choice) -> Seat {
        if let Some(seat) = &self.seat {
            return seat.clone();
        }
        let seat = Seat::take(choice).await;
        report(&seat.report());
        self.seat.insert(seat).clone()
    }

    /// The images, or the report that `task` cannot do without.
    fn dataset(&self, task: Task) -> Option<Rc<Dataset>> {
        if self.dataset.is_none() {
            failed(task, "there are no images yet: choose some");
        }
        self.dataset.clone()
    }

    /// Begins something that can be cancelled, in place of what is being computed.
    fn begin(&mut self) -> Rc<Cell<bool>> {
        self.wanted.set(false);
        self.wanted = Rc::new(Cell::new(true));
        self.wanted.clone()
    }
}
