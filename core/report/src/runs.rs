//! The runs that a report is about.

use slimclr_run::interference::landscape::Landscape;

use crate::{
    Report,
    figure::Missing,
    record::Record,
    text::{list, sentence},
};

/// A run with its name.
#[derive(Debug)]
pub struct Run<'a> {
    /// What it is called.
    pub name: &'a str,
    /// What its events tell.
    pub record: Record<'a>,
    /// Its loss landscape, where one was computed.
    pub landscape: Option<&'a Landscape>,
}

/// One run, or several side by side.
#[derive(Debug)]
pub struct Runs<'a> {
    /// The runs, in the order that was asked for.
    pub all: Vec<Run<'a>>,
    /// The widths of any of them, widest first.
    pub widths: Vec<f64>,
    /// The names of those whose events hold no beginning.
    pub blank: Vec<String>,
}

impl<'a> Runs<'a> {
    /// What stands of the runs' events.
    pub fn read(reports: &'a [Report]) -> Self {
        let (mut all, mut blank) = (Vec::new(), Vec::new());
        for Report { name, events, landscape, .. } in reports {
            match Record::read(events) {
                Some(record) => all.push(Run { name, record, landscape: landscape.as_ref() }),
                None => blank.push(name.clone()),
            }
        }
        let mut widths: Vec<f64> = all.iter().flat_map(|run| run.record.widths()).copied().collect();
        widths.sort_by(|a, b| b.total_cmp(a));
        widths.dedup();
        Self { all, widths, blank }
    }

    /// The place of `width` among the widths: a width looks the same in every run.
    pub fn index(&self, width: f64) -> usize {
        self.widths.iter().position(|other| *other == width).unwrap_or(0)
    }

    /// The steps of the run that took most.
    pub fn taken(&self) -> u64 {
        self.all.iter().map(|run| run.record.taken).max().unwrap_or(0)
    }

    /// What a run is called above its panels: nothing if it is the only one.
    pub fn label(&self, run: &Run) -> String {
        if self.all.len() > 1 { run.name.into() } else { String::new() }
    }

    /// That something is not drawn of the runs of which `has` is not true, if there are any.
    pub fn lacking(&self, has: impl Fn(&Run) -> bool, what: &str) -> Option<Missing> {
        let without: Vec<String> = self.all.iter().filter(|run| !has(run)).map(|run| run.name.into()).collect();
        match (without.len(), self.all.len()) {
            (0, _) => None,
            (_, 1) => Some(sentence(what)),
            _ => Some(format!("Not drawn of {}: {what}.", list(&without))),
        }
    }
}
