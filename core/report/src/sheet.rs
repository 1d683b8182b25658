//! A figure as an SVG of its own, with its style, on white.

use crate::{
    colour,
    drawing::Drawing,
    figure::{Figure, Panel, groups},
    key::Key,
    plate::Plate,
    runs::Runs,
    text::{TEXT_WIDTH, escape},
};

/// Room around everything, in user units.
const MARGIN: f64 = 28.0;
/// Room between panels.
const GAP: [f64; 2] = [20.0, 22.0];
/// The least and the greatest width, without margins, unless a single panel needs more.
const LEAST: f64 = 620.0;
const MOST: f64 = 1340.0;
/// The greatest width of groups side by side.
const WIDEST: f64 = 1760.0;
/// Room between groups side by side.
const BETWEEN_GROUPS: f64 = 44.0;
/// Height of a line of prose.
const LINE: f64 = 18.0;
/// Above a panel with a heading.
const HEADING: f64 = 20.0;

/// The parts of a sheet, one below the other.
struct Sheet {
    width: f64,
    y: f64,
    marks: String,
}

/// `plate` as an SVG; none if it has nothing to show.
pub fn svg(plate: &Plate, runs: &Runs) -> Option<String> {
    let figures = || plate.parts.iter().filter_map(|part| part.as_ref().ok());
    let width = figures()
        .map(|figure| Grid::of(figure).width())
        .fold(None, |most: Option<f64>, width| Some(most.map_or(width, |most| most.max(width))))?;
    let mut sheet = Sheet { width: width.max(LEAST), y: MARGIN, marks: String::new() };
    let title = match runs.all.as_slice() {
        [run] => format!("{} – {}", plate.title, run.name),
        _ => plate.title.into(),
    };
    sheet.y += 18.0;
    sheet.text("title", &title);
    sheet.y += 14.0;
    for part in &plate.parts {
        match part {
            Ok(figure) => sheet.figure(figure),
            Err(missing) => sheet.prose(missing),
        }
    }
    let blank = runs.blank.iter().map(|name| format!("{name}: its events hold no beginning of a run."));
    blank.for_each(|line| sheet.prose(&line));
    let (width, height) = (sheet.width + 2.0 * MARGIN, sheet.y + MARGIN - 6.0);
    let style = colour::on_white(include_str!("chart.css"), runs.widths.len());
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
        escape(&title),
        sheet.marks
    ))
}

impl Sheet {
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
        self.key(&figure.key);
        let grid = Grid::of(figure);
        for row in groups(&figure.panels).chunks(grid.beside) {
            let (top, mut bottom) = (self.y, self.y);
            for (place, (heading, panels)) in row.iter().enumerate() {
                self.y = top;
                self.group(*heading, panels, MARGIN + place as f64 * (grid.block() + BETWEEN_GROUPS), &grid);
                bottom = bottom.max(self.y);
            }
            self.y = bottom;
        }
        self.y += 4.0;
        self.prose(&figure.reading);
        for note in figure.notes.iter().chain(&figure.lacking) {
            self.prose(note);
        }
        self.y += 16.0;
    }

    /// Panels under their heading, from `x` on.
    fn group(&mut self, heading: Option<&str>, panels: &[Panel], x: f64, grid: &Grid) {
        if let Some(heading) = heading {
            self.y += GAP[1] + 12.0;
            self.text_at(x, "group", heading);
            self.y -= 8.0;
        }
        for row in panels.chunks(grid.columns) {
            self.y += GAP[1];
            for (column, panel) in row.iter().enumerate() {
                let heading = if heading.is_some() { panel.heading.clone() } else { panel.full_heading() };
                self.panel(panel, &heading, x + column as f64 * (grid.cell[0] + GAP[0]), grid.cell[0]);
            }
            self.y += grid.cell[1];
        }
    }

    fn key(&mut self, key: &[Key]) {
        let (mut x, mut rows) = (0.0, if key.is_empty() { 0.0 } else { 1.0 });
        for entry in key {
            let (_, width) = entry.placed([0.0, 0.0]);
            if x > 0.0 && x + width > self.width {
                (x, rows) = (0.0, rows + 1.0);
            }
            self.marks += &entry.placed([MARGIN + x, self.y + rows * LINE - 4.0]).0;
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
            Ok(drawing) => drawing.placed([x, y]),
            Err(missing) => format!(r#"<text class="prose" x="{x:.1}" y="{:.1}">{}</text>"#, y + LINE, escape(missing)),
        };
        self.marks.push('\n');
    }
}

/// How the panels of a figure lie.
struct Grid {
    /// Panels of a group side by side.
    columns: usize,
    /// Groups side by side, where each of them needs one row.
    beside: usize,
    /// Size of the largest panel with its heading.
    cell: [f64; 2],
}

impl Grid {
    fn of(figure: &Figure) -> Self {
        let drawings: Vec<&Drawing> = figure.panels.iter().filter_map(|panel| panel.content.as_ref().ok()).collect();
        let largest = |index: usize| drawings.iter().map(|drawing| drawing.size[index]).fold(1.0, f64::max);
        let groups = groups(&figure.panels);
        let headed =
            figure.panels.iter().any(|panel| !panel.heading.is_empty() || groups.len() == 1 && !panel.group.is_empty());
        let cell = [largest(0), largest(1) + if headed { HEADING } else { 0.0 }];
        let most = groups.iter().map(|(_, panels)| panels.len()).max().unwrap_or(1);
        let room = (((MOST + GAP[0]) / (cell[0] + GAP[0])) as usize).max(1);
        let mut grid = Self { columns: most, beside: 1, cell };
        if most <= room {
            let fitting = ((WIDEST + BETWEEN_GROUPS) / (grid.block() + BETWEEN_GROUPS)) as usize;
            grid.beside = fitting.clamp(1, groups.len().max(1));
        } else {
            // Rows of about the same length.
            grid.columns = most.div_ceil(most.div_ceil(room));
        }
        grid
    }

    /// The width of a group.
    fn block(&self) -> f64 {
        self.columns as f64 * (self.cell[0] + GAP[0]) - GAP[0]
    }

    fn width(&self) -> f64 {
        self.beside as f64 * (self.block() + BETWEEN_GROUPS) - BETWEEN_GROUPS
    }
}

/// `text` in lines of at most so many characters, unless a word is longer.
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

/// `text`, or its two ends where it has more than so many characters: names that begin alike often end apart.
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
