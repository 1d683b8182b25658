//! Terminal output: a progress bar during a run and a table at its end.

use std::{io::Write, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use slimclr_core::{collapse::CollapseWatch, event::Event};
use slimclr_report::compact;

use crate::table;

/// Shows a run's events as a progress bar; only warnings if standard error is not a terminal.
pub struct Progress {
    bar: ProgressBar,
    widths: Vec<f64>,
    /// `None` once it has warned.
    watch: Option<CollapseWatch>,
}

impl Progress {
    /// Creates a hidden bar, which the first event shows.
    pub fn new() -> Self {
        Self { bar: ProgressBar::hidden(), widths: Vec::new(), watch: Some(CollapseWatch::default()) }
    }

    /// Shows an event, and warns once if the events show that the run has collapsed.
    pub fn draw(&mut self, event: &Event) {
        if let Some(collapse) = self.watch.as_mut().and_then(|watch| watch.see(event)) {
            self.bar.suspend(|| eprintln!("warning: {collapse}"));
            self.watch = None;
        }
        match event {
            Event::Started(started) => {
                self.widths = started.config.widths.clone();
                self.bar = bar(started.steps, "steps", "first step");
                self.bar.set_position(started.step);
                self.bar.reset_eta();
                self.bar.println(format!(
                    "{} images, {} steps, widths {}, on {}",
                    started.images,
                    started.steps,
                    join(started.config.widths.iter(), |width| width.to_string()),
                    started.device
                ));
            }
            Event::Step(step) => {
                let losses = step.losses.iter().zip(&self.widths).filter(|(loss, _)| **loss != 0.0);
                let losses = join(losses, |(loss, width)| format!("{width}: {loss:.3}"));
                let line = format!("loss {losses}  {:.0} images/s", step.images_per_second);
                if step.step == 1 {
                    // The bar does not advance before the evaluation, whose time would spoil the estimate.
                    self.bar.println(format!("step 1  {line}"));
                    self.bar.set_message("evaluating the untrained network");
                } else {
                    self.bar.set_position(step.step);
                    self.bar.set_message(line);
                }
            }
            Event::Evaluated(evaluated) => {
                self.bar.println(table::line(evaluated));
                if evaluated.step == 0 {
                    self.bar.reset_eta();
                }
            }
            Event::Stopped { .. } | Event::Finished { .. } => self.bar.finish_and_clear(),
            Event::Interference(_) | Event::Changed { .. } | Event::Checkpoint { .. } => {}
        }
    }
}

/// Prints a line of the result. Ignores a closed pipe, such as that of `head`.
pub fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Shows a progress bar for `count` items, which `things` names.
pub fn bar(count: u64, things: &str, message: &'static str) -> ProgressBar {
    let template = format!("{{bar:24}} {{pos}}/{{len}} {things}  {{eta}} left  {{msg}}");
    let style = ProgressStyle::with_template(&template).expect("the template is valid");
    let bar = ProgressBar::new(count).with_style(style).with_message(message);
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// Shows a spinner, for work without a known number of steps.
pub fn spinner(message: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

fn join<T>(items: impl Iterator<Item = T>, show: impl Fn(T) -> String) -> String {
    items.map(show).collect::<Vec<_>>().join(", ")
}

/// Formats a count with three digits and a unit prefix: 1.99 M.
pub fn count(number: u64) -> String {
    // The report's no-break space is a plain one in a terminal.
    compact(number).replace('\u{a0}', " ")
}

/// Formats right-aligned columns under their heads, which may have several lines.
pub fn aligned(heads: &[impl AsRef<str>], rows: &[impl AsRef<[String]>]) -> String {
    let height = heads.iter().map(|head| head.as_ref().lines().count()).max().unwrap_or(0);
    let head_line = |above| heads.iter().map(|head| head.as_ref().lines().rev().nth(above).unwrap_or("")).collect();
    let mut cells: Vec<Vec<&str>> = (0..height).rev().map(head_line).collect();
    cells.extend(rows.iter().map(|row| row.as_ref().iter().map(String::as_str).collect()));
    let widest = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(widest).collect();
    let line = |row: &Vec<&str>| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines: Vec<String> = cells.iter().map(line).collect();
    lines.insert(height, "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1)));
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
        let table = aligned(&["over\na", "long"], &[["100 ±".into(), "x".into()]]);
        assert_eq!(table, " over\n    a  long\n-----------\n100 ±     x");
    }
}
