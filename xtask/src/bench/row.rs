//! The rows of the table: what each is of, and what it is held to.

use std::fmt;

use serde::Serialize;

use super::{
    job::{Job, PAGE, RESNET20, RESNET50},
    worker::Needs,
};
use crate::{
    median::median,
    table::{markdown, or_dash},
};

const WIDTHS: [f64; 4] = [1.0, 0.75, 0.5, 0.25];

/// The widths that are trained together, by their number.
const TRAINED: [&[f64]; 4] = [&[1.0], &[1.0, 0.5], &[1.0, 0.5, 0.25], &WIDTHS];

/// Rows that are measured together, since they share jobs.
pub struct Set {
    /// What they are of.
    pub name: String,
    /// The rows.
    pub rows: Vec<Row>,
    /// Measurements for one of a ResNet-50's: what takes a second can be measured more often.
    pub repeats: usize,
}

/// One row.
pub struct Row {
    /// Its name.
    pub name: String,
    figure: Figure,
    bar: Option<Bar>,
}

/// What a row says.
enum Figure {
    /// Items per second; and what items are.
    Rate(Job, &'static str),
    /// Time of `many` widths over that of `one`, under the published schedule: half of the epochs the full width only.
    Schedule { one: Job, many: Job },
    /// Our own time with something over that without it.
    Time { without: Job, with: Job },
    /// Peak memory.
    Peak(Job),
    /// Peak memory with something, or at many widths, over that without, or at one; by whom, and in these words.
    Memory { without: Job, with: Job, by: &'static [Side], unit: &'static str },
}

/// What a row's ratio is held to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// This project.
    Ours,
    /// The other program.
    Theirs,
}

const BOTH: &[Side] = &[Side::Ours, Side::Theirs];
const OURS: &[Side] = &[Side::Ours];

/// What was measured of a job.
#[derive(Debug, Clone)]
pub struct Series {
    /// Who did it.
    pub side: Side,
    /// The same in the program's words.
    pub by: String,
    /// The job.
    pub job: Job,
    /// Items per second, round by round.
    pub rates: Vec<f64>,
    /// What an item cannot do without.
    pub needs: Needs,
    /// In which of several ways it was done.
    pub way: Option<String>,
    /// The most bytes in memory; where the system tells.
    pub peak: Option<u64>,
}

/// What the machine can do in a second, as measured.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// Floating-point operations.
    pub operations: f64,
    /// Bytes, read or written.
    pub bytes: f64,
}

/// A row that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    row: String,
    ours: f64,
    peer: Option<f64>,
    ratio: f64,
    #[serde(skip)]
    unit: &'static str,
    #[serde(skip)]
    bar: Option<Bar>,
    #[serde(skip)]
    floor: Option<f64>,
}

/// All rows, in sets, with the files of a photograph and of a small image.
pub fn sets(photograph: &str, small: &str) -> Vec<Set> {
    let row = |name: String, figure, bar| Row { name, figure, bar };
    let at_least = |bar| Some(Bar::AtLeast(bar));
    let at_most = |bar| Some(Bar::AtMost(bar));
    let step = |name: &str, network, widths: &[f64], bar| {
        row(format!("step-{name}-{}", widths.len()), Figure::Rate(Job::step(network, widths), "images/s"), bar)
    };
    let peak = |name: &str, network, widths: &[f64]| {
        row(format!("peak-{name}-{}", widths.len()), Figure::Peak(Job::step(network, widths)), None)
    };
    let pair = |network, widths: &[f64]| (Job::step(network, TRAINED[0]), Job::step(network, widths));
    let schedule = |widths: &[f64], bar| {
        let (one, many) = pair(RESNET50, widths);
        row(format!("schedule-{}", widths.len()), Figure::Schedule { one, many }, at_most(bar))
    };
    let memory = |name: &str, network, bar| {
        let (without, with) = pair(network, &WIDTHS);
        row(name.into(), Figure::Memory { without, with, by: BOTH, unit: "x one width's memory" }, bar)
    };
    let without = Job::step(RESNET20, &WIDTHS);
    let with = Job::observed_step(RESNET20, &WIDTHS);
    let [one, two, three, four] = TRAINED;
    let (kept, recomputed) = (Job::step(RESNET50, four), Job::recomputing_step(RESNET50, four));
    let recompute_time = Figure::Time { without: kept.clone(), with: recomputed.clone() };
    let recompute_memory = Figure::Memory { without: kept, with: recomputed, by: OURS, unit: "x the memory without" };

    let resnet20 = vec![
        step("resnet20", RESNET20, one, at_least(1.0)),
        step("resnet20", RESNET20, four, at_least(1.0)),
        row("interference".into(), Figure::Time { without, with }, at_most(1.05)),
        peak("resnet20", RESNET20, one),
        peak("resnet20", RESNET20, four),
        memory("memory-resnet20-4", RESNET20, None),
    ];
    let resnet50 = vec![
        step("resnet50", RESNET50, one, None),
        step("resnet50", RESNET50, two, None),
        step("resnet50", RESNET50, three, None),
        step("resnet50", RESNET50, four, at_least(1.0)),
        schedule(two, 1.18),
        schedule(three, 1.22),
        schedule(four, 1.45),
        peak("resnet50", RESNET50, one),
        peak("resnet50", RESNET50, four),
        memory("memory-4", RESNET50, at_most(1.15)),
        row("recompute-time".into(), recompute_time, None),
        row("recompute-memory".into(), recompute_memory, None),
    ];
    let mut sets = vec![
        Set { name: "ResNet-20".into(), rows: resnet20, repeats: 4 },
        Set { name: "ResNet-50".into(), rows: resnet50, repeats: 1 },
    ];
    let mut alone = |name: String, job, items, bar| {
        let rows = vec![row(name.clone(), Figure::Rate(job, items), bar)];
        sets.push(Set { name, rows, repeats: 2 });
    };
    for (name, network) in [("resnet20", RESNET20), ("resnet50", RESNET50)] {
        for width in WIDTHS {
            alone(format!("evaluate-{name}-{width}"), Job::evaluate(network, &up_to(width)), "images/s", None);
        }
    }
    alone("augment-cifar".into(), Job::augment(small, 32, false), "views/s", at_least(5.0));
    alone("augment-imagenet".into(), Job::augment(photograph, 224, true), "views/s", at_least(5.0));
    alone("knn-50000".into(), Job::neighbours(), "images/s", None);
    sets
}

/// The rows of the page.
pub fn page_sets() -> Vec<Set> {
    let set = |(device, widths): (&str, &[f64])| {
        let name = format!("page-{device}-{}", widths.len());
        let figure = Figure::Rate(Job::page(PAGE, widths, device), "images/s");
        Set { name: name.clone(), rows: vec![Row { name, figure, bar: None }], repeats: 1 }
    };
    let [one, .., four] = TRAINED;
    [("cpu", one), ("cpu", four), ("webgpu", one), ("webgpu", four)].map(set).into()
}

/// The fewest widths that end in this one.
fn up_to(width: f64) -> Vec<f64> {
    if width == 1.0 { vec![1.0] } else { vec![1.0, width] }
}

impl Set {
    /// The jobs that its rows are made of, each once, and who is to do it.
    pub fn jobs(&self) -> Vec<(Side, Job)> {
        let mut jobs = Vec::new();
        for row in &self.rows {
            for asked in row.figure.jobs() {
                if !jobs.contains(&asked) {
                    jobs.push(asked);
                }
            }
        }
        jobs
    }
}

impl Figure {
    fn jobs(&self) -> Vec<(Side, Job)> {
        let (jobs, sides) = match self {
            Self::Rate(job, _) | Self::Peak(job) => (vec![job], BOTH),
            Self::Schedule { one, many } => (vec![one, many], BOTH),
            Self::Memory { without, with, by, .. } => (vec![without, with], *by),
            Self::Time { without, with } => (vec![without, with], OURS),
        };
        jobs.into_iter().flat_map(|job| sides.iter().map(|side| (*side, job.clone()))).collect()
    }
}

impl Row {
    /// What was measured, as a line; none if the system does not tell.
    pub fn line(&self, measured: &[Series], machine: Option<Machine>) -> Option<Line> {
        let find = |side, job: &Job| measured.iter().find(|series| series.side == side && series.job == *job);
        // What each side's measurements come to, by `quotient`, where all of these jobs were measured.
        let within = |side, [a, b]: [&Job; 2], quotient: fn(f64, f64) -> f64| {
            let (a, b) = find(side, a).zip(find(side, b))?;
            median(a.rates.iter().zip(&b.rates).map(|(a, b)| quotient(*a, *b)))
        };
        let (ours, peer, ratio, floor, unit) = match &self.figure {
            Figure::Rate(job, items) => {
                let (ours, theirs) = (find(Side::Ours, job)?, find(Side::Theirs, job)?);
                let ratio = median(ours.rates.iter().zip(&theirs.rates).map(|(ours, theirs)| ours / theirs))?;
                let rate = |series: &Series| median(series.rates.iter().copied());
                let floor = machine.and_then(|machine| machine.rate(ours.needs));
                (rate(ours)?, Some(rate(theirs)?), ratio, floor, *items)
            }
            Figure::Schedule { one, many } => {
                let quotient = |one: f64, many: f64| f64::midpoint(1.0, one / many);
                let ours = within(Side::Ours, [one, many], quotient)?;
                let operations = |job| Some(find(Side::Ours, job)?.needs.operations);
                let floor = f64::midpoint(1.0, operations(many)? / operations(one)?);
                (ours, within(Side::Theirs, [one, many], quotient), ours, Some(floor), "x one width's time")
            }
            Figure::Time { without, with } => {
                let ours = within(Side::Ours, [without, with], |without, with| without / with)?;
                (ours, None, ours, None, "x the time without")
            }
            Figure::Peak(job) => {
                let peak = |side| Some(find(side, job)?.peak? as f64 / 1e6);
                let (ours, theirs) = (peak(Side::Ours)?, peak(Side::Theirs)?);
                (ours, Some(theirs), theirs / ours, None, "MB")
            }
            Figure::Memory { without, with, unit, .. } => {
                let over = |side| Some(find(side, with)?.peak? as f64 / find(side, without)?.peak? as f64);
                let ours = over(Side::Ours)?;
                (ours, over(Side::Theirs), ours, None, *unit)
            }
        };
        Some(Line { row: self.name.clone(), ours, peer, ratio, unit, bar: self.bar, floor })
    }
}

impl Machine {
    /// What the machine does in its better moment of two.
    pub fn or(self, other: Self) -> Self {
        Self { operations: self.operations.max(other.operations), bytes: self.bytes.max(other.bytes) }
    }

    /// Items per second if nothing took time but what they need; none if that is not known.
    fn rate(self, needs: Needs) -> Option<f64> {
        let seconds = (needs.operations / self.operations).max(needs.bytes / self.bytes);
        (seconds > 0.0).then(|| seconds.recip())
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { operations, bytes } = self;
        write!(f, "The machine: {:.0} GFLOP/s in a matrix product, {:.1} GB/s in a copy", operations / 1e9, bytes / 1e9)
    }
}

impl Bar {
    fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(bar) => ratio >= bar,
            Self::AtMost(bar) => ratio <= bar,
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::AtLeast(bar) => write!(f, "at least {bar:.2}"),
            Self::AtMost(bar) => write!(f, "at most {bar:.2}"),
        }
    }
}

/// The table of all lines, beside the other program.
pub fn render(peer: &str, lines: &[Line]) -> String {
    let cells = |line: &Line| {
        let bar = line.bar.map(|bar| format!("{bar}: {}", if bar.is_met(line.ratio) { "met" } else { "MISSED" }));
        [
            line.row.clone(),
            line.unit.into(),
            three_digits(line.ours),
            or_dash(line.peer.map(three_digits)),
            format!("{:.2}", line.ratio),
            or_dash(bar),
            or_dash(line.floor.map(three_digits)),
        ]
    };
    let rows: Vec<_> = lines.iter().map(cells).collect();
    markdown(["row", "unit", "ours", peer, "ratio", "asked for", "floor"], &rows)
}

/// A number to three digits, or to the unit.
fn three_digits(number: f64) -> String {
    let decimals = if number < 10.0 { 2 } else { usize::from(number < 100.0) };
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Option<Machine> = Some(Machine { operations: 100.0, bytes: 10.0 });

    fn series(side: Side, job: &Job, rates: &[f64], operations: f64, peak: Option<u64>) -> Series {
        let needs = Needs { operations, bytes: 0.0 };
        Series { side, by: String::new(), job: job.clone(), rates: rates.to_vec(), needs, way: None, peak }
    }

    fn find(name: &str) -> Row {
        let mut rows = sets("photo.jpg", "small.png").into_iter().flat_map(|set| set.rows);
        rows.find(|row| row.name == name).unwrap()
    }

    #[test]
    fn rates_are_compared_round_by_round() {
        let job = Job::step(RESNET20, &[1.0]);
        // The machine slows down in the second round, for both.
        let measured = [
            series(Side::Theirs, &job, &[50.0, 20.0, 40.0], 0.0, None),
            series(Side::Ours, &job, &[100.0, 30.0, 90.0], 0.5, None),
        ];
        let line = find("step-resnet20-1").line(&measured, MACHINE).unwrap();
        assert_eq!((line.ours, line.peer, line.ratio, line.floor), (90.0, Some(40.0), 2.0, Some(200.0)));
        assert!(find("peak-resnet20-1").line(&measured, MACHINE).is_none());
    }

    #[test]
    fn the_schedule_has_half_of_its_steps_at_one_width() {
        let (one, many) = (Job::step(RESNET50, &[1.0]), Job::step(RESNET50, &[1.0, 0.5]));
        let measured = [
            series(Side::Ours, &one, &[8.0], 16.0, Some(200)),
            series(Side::Ours, &many, &[4.0], 20.0, Some(220)),
            series(Side::Theirs, &one, &[10.0], 0.0, Some(100)),
            series(Side::Theirs, &many, &[2.5], 0.0, Some(300)),
        ];
        let line = find("schedule-2").line(&measured, MACHINE).unwrap();
        assert_eq!((line.ours, line.peer, line.ratio, line.floor), (1.5, Some(2.5), 1.5, Some(1.125)));
        assert!(!line.bar.unwrap().is_met(line.ratio) && line.bar.unwrap().is_met(1.18));
    }

    #[test]
    fn memory_interference_and_recomputing_are_compared_with_our_own() {
        let (one, many) = (Job::step(RESNET50, &[1.0]), Job::step(RESNET50, &WIDTHS));
        let measured = [
            series(Side::Ours, &one, &[], 0.0, Some(200)),
            series(Side::Ours, &many, &[], 0.0, Some(220)),
            series(Side::Theirs, &one, &[], 0.0, Some(100)),
            series(Side::Theirs, &many, &[], 0.0, Some(300)),
        ];
        let line = find("memory-4").line(&measured, MACHINE).unwrap();
        assert_eq!((line.ours, line.peer, line.ratio), (1.1, Some(3.0), 1.1));

        let (without, with) = (Job::step(RESNET20, &WIDTHS), Job::observed_step(RESNET20, &WIDTHS));
        let measured = [
            series(Side::Ours, &without, &[5.0, 6.0, 5.0], 0.0, None),
            series(Side::Ours, &with, &[4.0, 5.0, 5.0], 0.0, None),
        ];
        let line = find("interference").line(&measured, MACHINE).unwrap();
        assert_eq!((line.ours, line.peer, line.ratio), (1.2, None, 1.2));
        assert!(!line.bar.unwrap().is_met(1.06));

        let (without, with) = (Job::step(RESNET50, &WIDTHS), Job::recomputing_step(RESNET50, &WIDTHS));
        let measured =
            [series(Side::Ours, &without, &[5.0], 0.0, Some(400)), series(Side::Ours, &with, &[4.0], 0.0, Some(200))];
        let line = |name| find(name).line(&measured, MACHINE).unwrap();
        let (time, memory) = (line("recompute-time"), line("recompute-memory"));
        assert_eq!((time.ours, time.peer, memory.ours, memory.peer), (1.25, None, 0.5, None));
    }

    #[test]
    fn a_job_of_several_rows_is_done_once() {
        let sets = sets("photo.jpg", "small.png");
        let names: Vec<&str> = sets.iter().flat_map(|set| &set.rows).map(|row| row.name.as_str()).collect();
        assert!(names.iter().enumerate().all(|(place, name)| !names[..place].contains(name)));
        // One and four widths on both sides, and ours with interference measured.
        assert_eq!(sets[0].jobs().len(), 5);
        // Two, three and four widths beside one, and ours with activations recomputed.
        assert_eq!(sets[1].jobs().len(), 9);
    }

    #[test]
    fn the_table_says_what_is_missed() {
        let line = Line {
            row: "step-resnet20-4".into(),
            ours: 84.25,
            peer: Some(117.3),
            ratio: 0.718,
            unit: "images/s",
            bar: Some(Bar::AtLeast(1.0)),
            floor: None,
        };
        let table = render("PyTorch", std::slice::from_ref(&line));
        let expected = "| step-resnet20-4 | images/s | 84.2 | 117     | 0.72  | at least 1.00: MISSED | –     |";
        assert_eq!(table.lines().last(), Some(expected));
        let json = serde_json::to_value(line).unwrap();
        let expected = "{\"ours\":84.25,\"peer\":117.3,\"ratio\":0.718,\"row\":\"step-resnet20-4\"}";
        assert_eq!(json.to_string(), expected);
    }
}
