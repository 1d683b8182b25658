//! What a person at the terminal sees of a run: one line that moves, and a table at the end.

use std::{io::Write, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use slimclr_core::{
    event::{Evaluated, Event},
    profile::Profile,
};

use crate::report::compact;

/// Draws a run's events as a progress line; silent when standard error is no terminal.
pub struct Progress {
    bar: ProgressBar,
    widths: Vec<f64>,
}

impl Progress {
    /// Nothing drawn yet.
    pub fn new() -> Self {
        Self { bar: ProgressBar::hidden(), widths: Vec::new() }
    }

    /// Draws an event.
    pub fn draw(&mut self, event: &Event) {
        match event {
            Event::Started(started) => {
                let template = "{bar:24} {pos}/{len} steps  {eta} left  {msg}";
                let style = ProgressStyle::with_template(template).expect("the template is valid");
                self.widths = started.config.widths.clone();
                self.bar = ProgressBar::new(started.steps).with_style(style);
                self.bar.set_position(started.step);
                self.bar.reset_eta();
                self.bar.enable_steady_tick(Duration::from_millis(250));
                self.bar.println(format!(
                    "{} images, {} steps, widths {}, on {}",
                    started.images,
                    started.steps,
                    join(started.config.widths.iter(), |width| width.to_string()),
                    started.device
                ));
                self.bar.set_message("evaluating the untrained network");
            }
            Event::Step(step) => {
                self.bar.set_position(step.step);
                let losses = step.losses.iter().zip(&self.widths).filter(|(loss, _)| **loss != 0.0);
                let losses = join(losses, |(loss, width)| format!("{width}: {loss:.3}"));
                self.bar.set_message(format!("loss {losses}  {:.0} images/s", step.images_per_second));
            }
            Event::Evaluated(evaluated) => {
                let Evaluated { epoch, width, knn, knn_standard_error: error, .. } = evaluated;
                let (knn, error) = (100.0 * knn, 100.0 * error);
                self.bar.println(format!("epoch {epoch:.1}  width {width}  kNN {knn:.1} ± {error:.1}%"));
            }
            Event::Stopped { .. } | Event::Finished { .. } => self.bar.finish_and_clear(),
            Event::Interference(_) | Event::Checkpoint { .. } => {}
        }
    }
}

/// Prints a line of the result. Whoever reads it may have seen enough and closed the pipe, which is no error.
pub fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A spinner with a message, for work over a second that takes no known number of steps.
pub fn spinner(message: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

fn join<T>(items: impl Iterator<Item = T>, show: impl Fn(T) -> String) -> String {
    items.map(show).collect::<Vec<_>>().join(", ")
}

/// The table that a run ends with, one line a width, of its events and `further` evaluations; empty if it never began.
pub fn table_of(events: &[Event], further: &[Event]) -> String {
    let Some(started) = Event::latest_start(events) else { return String::new() };
    table(&started.profile, &[events, further].concat())
}

fn table(profile: &[Profile], events: &[Event]) -> String {
    let evaluations = || events.iter().filter_map(|event| if let Event::Evaluated(e) = event { Some(e) } else { None });
    let heads = ["width", "parameters", "MACs", "kNN before", "kNN after", "linear probe"];
    let rows = profile.iter().map(|Profile { width, parameters, macs, .. }| {
        let of_width = || evaluations().filter(|e| e.width == *width);
        let before = of_width().find(|e| e.step == 0);
        let after = of_width().rfind(|e| e.step > 0);
        let knn = |e: Option<&Evaluated>| e.map(|e| percent(e.knn, Some(e.knn_standard_error)));
        let probe = of_width().filter_map(|e| e.probe).next_back().map(|probe| percent(probe, None));
        let dash = || "-".to_string();
        [
            width.to_string(),
            count(*parameters),
            count(*macs),
            knn(before).unwrap_or_else(dash),
            knn(after).unwrap_or_else(dash),
            probe.unwrap_or_else(dash),
        ]
    });
    aligned(&heads, &rows.collect::<Vec<_>>())
}

fn percent(fraction: f64, error: Option<f64>) -> String {
    let error = error.map(|error| format!(" ± {:.1}", 100.0 * error)).unwrap_or_default();
    format!("{:.1}{error}%", 100.0 * fraction)
}

/// A count with three digits and its unit: 1.99 M.
pub fn count(number: u64) -> String {
    // The page keeps number and unit on one line; a terminal breaks no cells.
    compact(number).replace('\u{a0}', " ")
}

/// Columns flush right under their heads.
pub fn aligned<const N: usize>(heads: &[&str; N], rows: &[[String; N]]) -> String {
    let wide = |text: &str| text.chars().count();
    let widths: Vec<usize> = (0..N)
        .map(|column| rows.iter().map(|row| wide(&row[column])).chain([wide(heads[column])]).max().unwrap_or(0))
        .collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        padded.collect::<Vec<_>>().join("  ")
    };
    let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * (N - 1));
    let mut lines = vec![line(heads.to_vec()), rule];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_three_digits() {
        assert_eq!(
            ["999", "1.00 k", "25.6 M", "4.09 G", "278 M"],
            [999, 1000, 25_557_032, 4_089_184_256, 278_085_632].map(count).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn columns_align() {
        let table = aligned(&["a", "long"], &[["100 ±".into(), "x".into()]]);
        assert_eq!(table, "    a  long\n-----------\n100 ±     x");
    }
}
