//! A figure as an SVG file: with its title, its caption and its style, on white.

use crate::{
    catalog::NamedFigure,
    plot::{
        colour,
        drawing::Drawing,
        figure::{Figure, Panel, groups},
        legend::LegendItem,
    },
    runs::Runs,
    text::{TEXT_WIDTH, escape},
};

/// The margin of the file, in user units, as all lengths here.
const MARGIN: f64 = 28.0;
/// The gaps between panels.
const GAP: [f64; 2] = [20.0, 22.0];
/// The least width without margins, and the largest width of a row of panels, unless a single panel is wider.
const MIN_WIDTH: f64 = 620.0;
const MAX_WIDTH: f64 = 1340.0;
/// The largest width of a row of groups.
const MAX_GROUPS_WIDTH: f64 = 1760.0;
/// The gap between groups in a row.
const GROUP_GAP: f64 = 44.0;
/// Height of a line of text.
const LINE: f64 = 18.0;
/// Height of a panel's heading.
const HEADING: f64 = 20.0;

/// An SVG under construction; parts are added from top to bottom.
struct Writer {
    width: f64,
    y: f64,
    marks: String,
}

/// Returns a figure of `runs` as an SVG; `None` if no part of it can be drawn.
pub fn of_runs(figure: &NamedFigure, runs: &Runs) -> Option<String> {
    let title = match runs.all.as_slice() {
        [run] => format!("{} – {}", figure.title, run.name),
        _ => figure.title.into(),
    };
    let not_started =
        |name: &String| format!("{name}: events.jsonl has no `started` event, so there is nothing to draw.");
    let notes: Vec<String> = runs.not_started.iter().map(not_started).collect();
    document(figure, &title, &notes, runs.widths.len())
}

/// Returns `figure` as an SVG with this title, with `notes` below and colours for this many widths; `None` if no part of
/// it can be drawn.
pub fn document(figure: &NamedFigure, title: &str, notes: &[String], widths: usize) -> Option<String> {
    let figures = || figure.parts.iter().filter_map(|part| part.as_ref().ok());
    let width = figures()
        .map(|figure| Layout::of(figure).width())
        .fold(None, |most: Option<f64>, width| Some(most.map_or(width, |most| most.max(width))))?;
    let mut writer = Writer { width: width.max(MIN_WIDTH), y: MARGIN, marks: String::new() };
    writer.y += 18.0;
    writer.text("title", title);
    writer.y += 14.0;
    for part in &figure.parts {
        match part {
            Ok(figure) => writer.figure(figure),
            Err(missing) => writer.prose(missing),
        }
    }
    notes.iter().for_each(|note| writer.prose(note));
    let (width, height) = (writer.width + 2.0 * MARGIN, writer.y + MARGIN - 6.0);
    let style = colour::css_on_white(include_str!("../plot/chart.css"), widths);
    Some(format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}" viewBox="0 0 {width:.0} {height:.0}"
 font-family="'DejaVu Sans', Verdana, sans-serif" color="#1a1b22">
<title>{}</title>
<style>
{style}
</style>
<rect width="{width:.0}" height="{height:.0}" fill="#fff"/>
{}</svg>
"##,
        escape(title),
        writer.marks
    ))
}

impl Writer {
    fn text(&mut self, class: &str, text: &str) {
        self.text_at(MARGIN, class, text);
    }

    fn text_at(&mut self, x: f64, class: &str, text: &str) {
        self.marks += &format!(r#"<text class="{class}" x="{x:.1}" y="{:.1}">{}</text>"#, self.y, escape(text));
        self.marks.push('\n');
    }

    fn prose(&mut self, text: &str) {
        for line in wrap(text, (self.width.min(900.0) / (12.5 * TEXT_WIDTH)) as usize) {
            self.y += LINE;
            self.text("prose", &line);
        }
        self.y += 6.0;
    }

    fn figure(&mut self, figure: &Figure) {
        self.legend(&figure.legend);
        let layout = Layout::of(figure);
        for row in groups(&figure.panels).chunks(layout.beside) {
            let (top, mut bottom) = (self.y, self.y);
            for (index, (heading, panels)) in row.iter().enumerate() {
                self.y = top;
                self.group(*heading, panels, MARGIN + index as f64 * (layout.group_width() + GROUP_GAP), &layout);
                bottom = bottom.max(self.y);
            }
            self.y = bottom;
        }
        self.y += 4.0;
        self.prose(&figure.caption);
        for note in figure.notes.iter().chain(&figure.omitted) {
            self.prose(note);
        }
        self.y += 16.0;
    }

    /// Adds the panels of a group under its heading, from `x` on.
    fn group(&mut self, heading: Option<&str>, panels: &[Panel], x: f64, layout: &Layout) {
        if let Some(heading) = heading {
            self.y += GAP[1] + 12.0;
            self.text_at(x, "group", heading);
            self.y -= 8.0;
        }
        for row in panels.chunks(layout.columns) {
            self.y += GAP[1];
            for (column, panel) in row.iter().enumerate() {
                let heading = if heading.is_some() { panel.heading.clone() } else { panel.full_heading() };
                self.panel(panel, &heading, x + column as f64 * (layout.cell[0] + GAP[0]), layout.cell[0]);
            }
            self.y += layout.cell[1];
        }
    }

    fn legend(&mut self, legend: &[LegendItem]) {
        let (mut x, mut rows) = (0.0, if legend.is_empty() { 0.0 } else { 1.0 });
        for item in legend {
            let (_, width) = item.group_at([0.0, 0.0]);
            if x > 0.0 && x + width > self.width {
                (x, rows) = (0.0, rows + 1.0);
            }
            self.marks += &item.group_at([MARGIN + x, self.y + rows * LINE - 4.0]).0;
            x += width + 22.0;
        }
        self.y += rows * LINE;
    }

    fn panel(&mut self, panel: &Panel, heading: &str, x: f64, width: f64) {
        let heading = shorten(heading, (width / (13.5 * 1.1 * TEXT_WIDTH)) as usize);
        let mut y = self.y;
        if !heading.is_empty() {
            self.marks +=
                &format!(r#"<text class="heading" x="{x:.1}" y="{:.1}">{}</text>"#, y + 12.0, escape(&heading));
            y += HEADING;
        }
        self.marks += &match &panel.content {
            Ok(drawing) => drawing.group_at([x, y]),
            Err(missing) => format!(r#"<text class="prose" x="{x:.1}" y="{:.1}">{}</text>"#, y + LINE, escape(missing)),
        };
        self.marks.push('\n');
    }
}

/// The layout of a figure's panels.
struct Layout {
    /// Panels in a row.
    columns: usize,
    /// Groups in a row; 1 if groups have more than one row of panels.
    beside: usize,
    /// Size of the largest panel, with its heading.
    cell: [f64; 2],
}

impl Layout {
    fn of(figure: &Figure) -> Self {
        let drawings: Vec<&Drawing> = figure.panels.iter().filter_map(|panel| panel.content.as_ref().ok()).collect();
        let largest = |index: usize| drawings.iter().map(|drawing| drawing.size[index]).fold(1.0, f64::max);
        let groups = groups(&figure.panels);
        let has_headings =
            figure.panels.iter().any(|panel| !panel.heading.is_empty() || groups.len() == 1 && !panel.group.is_empty());
        let cell = [largest(0), largest(1) + if has_headings { HEADING } else { 0.0 }];
        let most = groups.iter().map(|(_, panels)| panels.len()).max().unwrap_or(1);
        let fitting = (((MAX_WIDTH + GAP[0]) / (cell[0] + GAP[0])) as usize).max(1);
        let mut layout = Self { columns: most, beside: 1, cell };
        if most <= fitting {
            let fitting = ((MAX_GROUPS_WIDTH + GROUP_GAP) / (layout.group_width() + GROUP_GAP)) as usize;
            layout.beside = fitting.clamp(1, groups.len().max(1));
        } else {
            // Rows of about the same length.
            layout.columns = most.div_ceil(most.div_ceil(fitting));
        }
        layout
    }

    /// Returns the width of a group.
    fn group_width(&self) -> f64 {
        self.columns as f64 * (self.cell[0] + GAP[0]) - GAP[0]
    }

    /// Returns the width of all groups in a row.
    fn width(&self) -> f64 {
        self.beside as f64 * (self.group_width() + GROUP_GAP) - GROUP_GAP
    }
}

/// Splits `text` into lines of at most this many characters, unless a word is longer.
fn wrap(text: &str, characters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= characters => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// Shortens `text` to this many characters. It keeps both ends, because similar names often differ at the end.
fn shorten(text: &str, characters: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= characters {
        return text.into();
    }
    let kept = characters.saturating_sub(1);
    let (head, tail) = (kept.div_ceil(3), kept - kept.div_ceil(3));
    letters[..head].iter().chain(&['…']).chain(&letters[letters.len() - tail..]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_and_names_keep_both_ends() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("  incomprehensible ", 3), ["incomprehensible"]);
        assert_eq!(shorten("cifar10-naive-seed-7", 11), "cifa…seed-7");
        assert_eq!(shorten("short", 5), "short");
    }
}
