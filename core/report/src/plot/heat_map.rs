//! Heat maps with contour lines.

use std::collections::BTreeMap;

use crate::plot::{
    chart::Chart,
    colour,
    grid::{Grid, borders},
    scale::Scale,
};

/// The number of colours of a heat map.
const LEVELS: usize = 20;

/// Contour lines shorter than this, in user units, have no label.
const LABEL_FROM_LENGTH: f64 = 70.0;
/// The least distance between labels, in user units.
const LABEL_SPACE: f64 = 30.0;

/// Returns the fills of all levels, as SVG attributes, from the lowest.
pub fn fills() -> Vec<String> {
    (0..LEVELS).map(|level| colour::sequential((level as f64 + 0.5) / LEVELS as f64)).collect()
}

impl Chart {
    /// Draws the cells of `grid`, coloured by `scale`; cells without a value are crossed out.
    pub fn cells(&mut self, grid: &Grid, scale: &Scale) {
        let [columns, rows] = [borders(grid.x), borders(grid.y)];
        let mut levels: BTreeMap<usize, String> = BTreeMap::new();
        let (mut missing, mut crosses) = (String::new(), String::new());
        let level = |column, row| {
            let position = scale.position(grid.value(column, row)?)?.clamp(0.0, 1.0);
            Some(((position * LEVELS as f64) as usize).min(LEVELS - 1))
        };
        for row in 0..grid.y.len() {
            let mut column = 0;
            while column < grid.x.len() {
                let here = level(column, row);
                let end = (column..grid.x.len()).find(|other| level(*other, row) != here).unwrap_or(grid.x.len());
                if let (Some((left, bottom)), Some((right, top))) =
                    (self.position((columns[column], rows[row])), self.position((columns[end], rows[row + 1])))
                {
                    let cells = format!("M{left:.1},{bottom:.1}H{right:.1}V{top:.1}H{left:.1}z");
                    match here {
                        Some(level) => *levels.entry(level).or_default() += &cells,
                        None => missing += &cells,
                    }
                }
                if here.is_none() {
                    for (x, y) in (column..end).filter_map(|column| self.position((grid.x[column], grid.y[row]))) {
                        crosses += &format!("M{:.1},{:.1}l5,5m0,-5l-5,5", x - 2.5, y - 2.5);
                    }
                }
                column = end;
            }
        }
        let fills = fills();
        for (level, cells) in levels {
            self.push(&format!(r#"<path class="cells" shape-rendering="crispEdges" {} d="{cells}"/>"#, fills[level]));
        }
        if !missing.is_empty() {
            self.push(&format!(
                r#"<path class="cells void" d="{missing}"/>
<path class="void-cross" d="{crosses}"/>"#
            ));
        }
    }

    /// Draws contour lines of `grid`: labelled ones at the ticks of `scale`, faint ones half-way between. Labels keep
    /// away from the points `taken`.
    pub fn contours(&mut self, grid: &Grid, scale: &Scale, taken: &[(f64, f64)]) {
        let mut taken: Vec<(f64, f64)> = self.positions(taken);
        let mut labels = String::new();
        for level in scale.half_ticks() {
            let lines = self.contour_positions(grid, scale, level);
            self.contour("iso faint", &lines);
        }
        for tick in scale.ticks() {
            let lines = self.contour_positions(grid, scale, tick.value);
            self.contour("iso", &lines);
            let length = |line: &[(f64, f64)]| line.windows(2).map(|pair| distance(pair[0], pair[1])).sum::<f64>();
            let longest = lines.iter().max_by(|a, b| length(a).total_cmp(&length(b)));
            let Some(line) = longest.filter(|line| length(line) >= LABEL_FROM_LENGTH) else { continue };
            let free = |at: &&(f64, f64)| {
                self.contains(**at, LABEL_SPACE / 2.0) && taken.iter().all(|other| distance(**at, *other) > LABEL_SPACE)
            };
            if let Some((x, y)) = line.iter().find(free).copied() {
                taken.push((x, y));
                labels += &format!(
                    r#"<text class="iso-label" x="{x:.1}" y="{y:.1}" dy=".35em" text-anchor="middle">{}</text>"#,
                    tick.label
                );
            }
        }
        self.push(&labels);
    }

    fn contour_positions(&self, grid: &Grid, scale: &Scale, level: f64) -> Vec<Vec<(f64, f64)>> {
        grid.contours(scale, level).iter().map(|line| self.positions(line)).collect()
    }

    fn contour(&mut self, class: &str, lines: &[Vec<(f64, f64)>]) {
        let path = |line: &Vec<(f64, f64)>| {
            let points: Vec<String> = line.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            format!("M{}", points.join("L"))
        };
        let paths: String = lines.iter().map(path).collect();
        if !paths.is_empty() {
            self.push(&format!(r#"<path class="{class}" d="{paths}"/>"#));
        }
    }
}

fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
    (a.0 - b.0).hypot(a.1 - b.1)
}
