//! The runs of a report.

use slimclr_run::interference::landscape::Landscape;

use crate::{
    history::RunHistory,
    plot::figure::Missing,
    report::Report,
    text::{list, sentence},
};

/// Returns the different ones of `values`, in order of appearance.
pub fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.fold(Vec::new(), |mut all, value| {
        if !all.contains(&value) {
            all.push(value);
        }
        all
    })
}

/// A run.
#[derive(Debug)]
pub struct Run<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it did.
    pub history: RunHistory<'a>,
    /// Its loss landscape, if one was computed.
    pub landscape: Option<&'a Landscape>,
}

/// One run, or several to compare.
#[derive(Debug)]
pub struct Runs<'a> {
    /// The runs that have started, in the given order.
    pub all: Vec<Run<'a>>,
    /// All their widths, widest first.
    pub widths: Vec<f64>,
    /// The names of runs without a `started` event.
    pub not_started: Vec<String>,
}

impl<'a> Runs<'a> {
    /// The runs of `reports`.
    pub fn new(reports: &'a [Report]) -> Self {
        let (mut all, mut not_started) = (Vec::new(), Vec::new());
        for Report { name, events, landscape, .. } in reports {
            match RunHistory::from_events(events) {
                Some(history) => all.push(Run { name, history, landscape: landscape.as_ref() }),
                None => not_started.push(name.clone()),
            }
        }
        let mut widths: Vec<f64> = all.iter().flat_map(|run| run.history.widths()).copied().collect();
        widths.sort_by(f64::total_cmp);
        widths.dedup();
        widths.reverse();
        Self { all, widths, not_started }
    }

    /// Returns the index of `width` among all widths, which determines its colour and shape in every run.
    pub fn index(&self, width: f64) -> usize {
        self.widths.iter().position(|other| *other == width).unwrap_or(0)
    }

    /// Returns the steps of the longest run.
    pub fn steps_taken(&self) -> u64 {
        self.all.iter().map(|run| run.history.steps_taken).max().unwrap_or(0)
    }

    /// Returns the label of a run's panels: its name, or nothing if it is the only run.
    pub fn label(&self, run: &Run) -> String {
        if self.all.len() > 1 { run.name.into() } else { String::new() }
    }

    /// Returns a sentence that names the runs that are not drawn, and the reason; `None` if all are drawn.
    pub fn omitted(&self, is_drawn: impl Fn(&Run) -> bool, reason: &str) -> Option<Missing> {
        let without: Vec<String> = self.all.iter().filter(|run| !is_drawn(run)).map(|run| run.name.into()).collect();
        match (without.len(), self.all.len()) {
            (0, _) => None,
            (_, 1) => Some(sentence(reason)),
            _ => Some(format!("Not drawn for {}: {reason}.", list(&without))),
        }
    }

    /// Returns a sentence that says why no run is drawn.
    pub fn all_omitted(&self, reason: &str) -> Missing {
        self.omitted(|_| false, reason).unwrap_or_else(|| "There is no run to draw.".into())
    }
}
