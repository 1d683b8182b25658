//! The rows of the table: what each compares, and its target.

use std::fmt;

use serde::Serialize;

use super::{
    job::{Job, LARGE, Network, PAGE, RESNET20, RESNET50, SMALL, TwoStage, Views},
    worker::Needs,
};
use crate::{
    median::median,
    table::{markdown, or_dash},
};

const WIDTHS: [f64; 4] = [1.0, 0.75, 0.5, 0.25];

/// The widths that are trained together, for one to four of them.
const TRAINED: [&[f64]; 4] = [&[1.0], &[1.0, 0.5], &[1.0, 0.5, 0.25], &WIDTHS];

/// Rows that are measured together because they share jobs.
pub struct Set {
    pub name: String,
    pub rows: Vec<Row>,
    /// How often it is measured for each measurement of the ResNet-50, which takes longest.
    pub repeats: usize,
}

/// A row of the table.
pub struct Row {
    pub name: String,
    figure: Figure,
    target: Option<Target>,
}

/// The quantity in a row.
enum Figure {
    /// Items per second, and the unit.
    Rate(Job, &'static str),
    /// Time of `many` widths over that of `one`, under the published schedule: only the full width in half of the
    /// epochs.
    Schedule { one: Job, many: Job },
    /// Time of slimclr's job `with` over that of `without`.
    Time { without: Job, with: Job },
    /// Peak memory.
    Peak(Job),
    /// Peak memory of the job `with` over that of `without`, in each of these programs.
    Memory { without: Job, with: Job, by: &'static [Side], unit: &'static str },
}

/// The limit of a row's ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// A program that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Slimclr,
    /// The other program.
    Peer,
}

const BOTH: &[Side] = &[Side::Slimclr, Side::Peer];
const SLIMCLR: &[Side] = &[Side::Slimclr];

/// The measurements of a job in one program.
#[derive(Debug, Clone)]
pub struct Series {
    pub side: Side,
    /// The program's name and version.
    pub by: String,
    pub job: Job,
    /// Items per second in each round.
    pub rates: Vec<f64>,
    /// The least work for an item.
    pub needs: Needs,
    /// The variant of the job that the program chose, if there are several.
    pub way: Option<String>,
    /// Peak memory in bytes, if the system reports it.
    pub peak: Option<u64>,
}

/// The machine's rates, as measured.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// Floating-point operations per second.
    pub operations: f64,
    /// Bytes read or written per second.
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
    target: Option<Target>,
    #[serde(skip)]
    roofline: Option<f64>,
}

/// Paths of the image files to measure views of.
pub struct ImageFiles<'a> {
    /// A photograph of 4000 x 3000 pixels.
    pub camera: &'a str,
    /// One of 500 x 375 pixels, as in ImageNet.
    pub photograph: &'a str,
    /// An image of 32 x 32 pixels, as in CIFAR.
    pub small: &'a str,
}

/// Returns the rows against PyTorch.
pub fn sets(images: &ImageFiles) -> Vec<Set> {
    let row = |name: String, figure, target| Row { name, figure, target };
    let at_least = |ratio| Some(Target::AtLeast(ratio));
    let at_most = |ratio| Some(Target::AtMost(ratio));
    let step = |name: &str, network, widths: &[f64], target| {
        row(format!("step-{name}-{}", widths.len()), Figure::Rate(Job::step(network, widths), "images/s"), target)
    };
    let step_in_bf16 = |name: &str, network: Network, widths: &[f64], target| {
        let job = Job::step(network.in_bf16(), widths);
        row(format!("step-{name}-{}-bf16", widths.len()), Figure::Rate(job, "images/s"), target)
    };
    let peak = |name: &str, network, widths: &[f64]| {
        row(format!("peak-{name}-{}", widths.len()), Figure::Peak(Job::step(network, widths)), None)
    };
    let pair = |network, widths: &[f64]| (Job::step(network, TRAINED[0]), Job::step(network, widths));
    let schedule = |widths: &[f64], ratio| {
        let (one, many) = pair(RESNET50, widths);
        row(format!("schedule-{}", widths.len()), Figure::Schedule { one, many }, at_most(ratio))
    };
    let memory = |name: &str, network, target| {
        let (without, with) = pair(network, &WIDTHS);
        row(name.into(), Figure::Memory { without, with, by: BOTH, unit: "x one width's memory" }, target)
    };
    let without = Job::step(RESNET20, &WIDTHS);
    let with = Job::observed_step(RESNET20, &WIDTHS);
    let [one, two, three, four] = TRAINED;
    let (kept, recomputed) = (Job::step(RESNET50, four), Job::recomputing_step(RESNET50, four));
    let recompute_time = Figure::Time { without: kept.clone(), with: recomputed.clone() };
    let recompute_memory =
        Figure::Memory { without: kept, with: recomputed, by: SLIMCLR, unit: "x the memory without" };

    let resnet20 = vec![
        step("resnet20", RESNET20, one, at_least(1.0)),
        step("resnet20", RESNET20, four, at_least(1.0)),
        step_in_bf16("resnet20", RESNET20, one, at_least(1.5)),
        step_in_bf16("resnet20", RESNET20, four, at_least(1.5)),
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
        step_in_bf16("resnet50", RESNET50, one, at_least(1.2)),
        step_in_bf16("resnet50", RESNET50, four, at_least(1.2)),
        schedule(two, 1.18),
        schedule(three, 1.22),
        schedule(four, 1.45),
        peak("resnet50", RESNET50, one),
        peak("resnet50", RESNET50, four),
        memory("memory-4", RESNET50, at_most(1.15)),
        row("recompute-time".into(), recompute_time, None),
        row("recompute-memory".into(), recompute_memory, None),
    ];
    let two_stage = |name: &str, network, options: TwoStage| {
        let step = |method| {
            let figure = Figure::Rate(Job::two_stage(network, TwoStage { method, ..options }), "images/s");
            row(format!("step-{method}-{name}"), figure, at_least(1.0))
        };
        ["seed", "disco", "swav"].map(step).into()
    };
    let mut sets = vec![
        Set { name: "ResNet-20".into(), rows: resnet20, repeats: 4 },
        Set { name: "ResNet-50".into(), rows: resnet50, repeats: 1 },
        Set { name: "ResNet-20, two-stage".into(), rows: two_stage("resnet20", RESNET20, SMALL), repeats: 2 },
        Set { name: "ResNet-50, two-stage".into(), rows: two_stage("resnet50", RESNET50, LARGE), repeats: 1 },
    ];
    let mut add = |name: String, job, unit, target| {
        let rows = vec![row(name.clone(), Figure::Rate(job, unit), target)];
        sets.push(Set { name, rows, repeats: 2 });
    };
    for (name, network) in [("resnet20", RESNET20), ("resnet50", RESNET50)] {
        for width in WIDTHS {
            add(format!("evaluate-{name}-{width}"), Job::evaluate(network, &up_to(width)), "images/s", None);
        }
    }
    add("evaluate-resnet50-1-bf16".into(), Job::evaluate(RESNET50.in_bf16(), &up_to(1.0)), "images/s", None);
    let mut views = |name: &str, file, size, views, target| {
        add(name.into(), Job::augment(file, size, views), "views/s", target);
    };
    let ImageFiles { camera, photograph, small } = *images;
    let all = Views { decode: true, reduce: true, finish: true };
    views("augment-cifar", small, 32, Views { decode: false, ..all }, at_least(5.0));
    views("augment-imagenet", photograph, 224, all, at_least(5.0));
    views("crop-imagenet", photograph, 224, Views { finish: false, ..all }, None);
    views("augment-camera-whole", camera, 224, Views { reduce: false, ..all }, None);
    views("augment-camera", camera, 224, all, None);
    views("crop-camera", camera, 224, Views { finish: false, ..all }, None);
    add("knn-50000".into(), Job::neighbours(), "images/s", None);
    sets
}

/// Returns the rows against TensorFlow.js.
pub fn page_sets() -> Vec<Set> {
    let set = |(device, widths): (&str, &[f64])| {
        let name = format!("page-{device}-{}", widths.len());
        let figure = Figure::Rate(Job::page(PAGE, widths, device), "images/s");
        Set { name: name.clone(), rows: vec![Row { name, figure, target: None }], repeats: 1 }
    };
    let [one, .., four] = TRAINED;
    [("cpu", one), ("cpu", four), ("webgpu", one), ("webgpu", four)].map(set).into()
}

/// Returns the fewest widths that end in this one.
fn up_to(width: f64) -> Vec<f64> {
    if width == 1.0 { vec![1.0] } else { vec![1.0, width] }
}

impl Set {
    /// Returns the jobs of its rows, each once, and the programs that do them.
    pub fn jobs(&self) -> Vec<(Side, Job)> {
        let mut jobs = Vec::new();
        for row in &self.rows {
            for job in row.figure.jobs() {
                if !jobs.contains(&job) {
                    jobs.push(job);
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
            Self::Time { without, with } => (vec![without, with], SLIMCLR),
        };
        jobs.into_iter().flat_map(|job| sides.iter().map(|side| (*side, job.clone()))).collect()
    }
}

impl Row {
    /// Returns the row with its values; `None` if they were not measured.
    pub fn line(&self, measured: &[Series], machine: Option<Machine>) -> Option<Line> {
        let find = |side, job: &Job| measured.iter().find(|series| series.side == side && series.job == *job);
        // The median over the rounds of `quotient` of two jobs' rates in one program.
        let within = |side, [a, b]: [&Job; 2], quotient: fn(f64, f64) -> f64| {
            let (a, b) = find(side, a).zip(find(side, b))?;
            median(a.rates.iter().zip(&b.rates).map(|(a, b)| quotient(*a, *b)))
        };
        let (ours, peer, ratio, roofline, unit) = match &self.figure {
            Figure::Rate(job, unit) => {
                let (ours, peer) = (find(Side::Slimclr, job)?, find(Side::Peer, job)?);
                let ratio = median(ours.rates.iter().zip(&peer.rates).map(|(ours, peer)| ours / peer))?;
                let rate = |series: &Series| median(series.rates.iter().copied());
                let roofline = machine.and_then(|machine| machine.roofline(ours.needs));
                (rate(ours)?, Some(rate(peer)?), ratio, roofline, *unit)
            }
            Figure::Schedule { one, many } => {
                let quotient = |one: f64, many: f64| f64::midpoint(1.0, one / many);
                let ours = within(Side::Slimclr, [one, many], quotient)?;
                let operations = |job| Some(find(Side::Slimclr, job)?.needs.operations);
                let roofline = f64::midpoint(1.0, operations(many)? / operations(one)?);
                (ours, within(Side::Peer, [one, many], quotient), ours, Some(roofline), "x one width's time")
            }
            Figure::Time { without, with } => {
                let ours = within(Side::Slimclr, [without, with], |without, with| without / with)?;
                (ours, None, ours, None, "x the time without")
            }
            Figure::Peak(job) => {
                let peak = |side| Some(find(side, job)?.peak? as f64 / 1e6);
                let (ours, peer) = (peak(Side::Slimclr)?, peak(Side::Peer)?);
                (ours, Some(peer), peer / ours, None, "MB")
            }
            Figure::Memory { without, with, unit, .. } => {
                let over = |side| Some(find(side, with)?.peak? as f64 / find(side, without)?.peak? as f64);
                let ours = over(Side::Slimclr)?;
                (ours, over(Side::Peer), ours, None, *unit)
            }
        };
        Some(Line { row: self.name.clone(), ours, peer, ratio, unit, target: self.target, roofline })
    }
}

impl Machine {
    /// Returns the better rates of two measurements.
    pub fn max(self, other: Self) -> Self {
        Self { operations: self.operations.max(other.operations), bytes: self.bytes.max(other.bytes) }
    }

    /// Returns the items per second if only the work that they need took time; `None` if that is not known.
    fn roofline(self, needs: Needs) -> Option<f64> {
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

impl Target {
    fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(least) => ratio >= least,
            Self::AtMost(most) => ratio <= most,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "at least {least:.2}"),
            Self::AtMost(most) => write!(f, "at most {most:.2}"),
        }
    }
}

/// Returns the table of these lines, with the other program's name.
pub fn render(peer: &str, lines: &[Line]) -> String {
    let cells = |line: &Line| {
        let target =
            line.target.map(|target| format!("{target}: {}", if target.is_met(line.ratio) { "met" } else { "MISSED" }));
        [
            line.row.clone(),
            line.unit.into(),
            three_digits(line.ours),
            or_dash(line.peer.map(three_digits)),
            format!("{:.2}", line.ratio),
            or_dash(target),
            or_dash(line.roofline.map(three_digits)),
        ]
    };
    let rows: Vec<_> = lines.iter().map(cells).collect();
    markdown(["row", "unit", "slimclr", peer, "ratio", "target", "roofline"], &rows)
}

/// Formats a number with three digits, or as an integer if that has more.
fn three_digits(number: f64) -> String {
    let decimals = if number < 10.0 { 2 } else { usize::from(number < 100.0) };
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGES: ImageFiles = ImageFiles { camera: "camera.jpg", photograph: "photo.jpg", small: "small.png" };
    const MACHINE: Option<Machine> = Some(Machine { operations: 100.0, bytes: 10.0 });

    fn series(side: Side, job: &Job, rates: &[f64], operations: f64, peak: Option<u64>) -> Series {
        let needs = Needs { operations, bytes: 0.0 };
        Series { side, by: String::new(), job: job.clone(), rates: rates.to_vec(), needs, way: None, peak }
    }

    fn find(name: &str) -> Row {
        let mut rows = sets(&IMAGES).into_iter().flat_map(|set| set.rows);
        rows.find(|row| row.name == name).unwrap()
    }

    #[test]
    fn rates_are_compared_round_by_round() {
        let job = Job::step(RESNET20, &[1.0]);
        // The machine slows down in the second round, for both programs.
        let measured = [
            series(Side::Peer, &job, &[50.0, 20.0, 40.0], 0.0, None),
            series(Side::Slimclr, &job, &[100.0, 30.0, 90.0], 0.5, None),
        ];
        let line = find("step-resnet20-1").line(&measured, MACHINE).unwrap();
        assert_eq!((line.ours, line.peer, line.ratio, line.roofline), (90.0, Some(40.0), 2.0, Some(200.0)));
        assert!(find("peak-resnet20-1").line(&measured, MACHINE).is_none());
    }

    #[test]
    fn the_schedule_has_half_of_its_steps_at_one_width() {
        let (one, many) = (Job::step(RESNET50, &[1.0]), Job::step(RESNET50, &[1.0, 0.5]));
        let measured = [
            series(Side::Slimclr, &one, &[8.0], 16.0, Some(200)),
            series(Side::Slimclr, &many, &[4.0], 20.0, Some(220)),
            series(Side::Peer, &one, &[10.0], 0.0, Some(100)),
            series(Side::Peer, &many, &[2.5], 0.0, Some(300)),
        ];
        let line = find("schedule-2").line(&measured, MACHINE).unwrap();
        assert_eq!((line.ours, line.peer, line.ratio, line.roofline), (1.5, Some(2.5), 1.5, Some(1.125)));
        assert!(!line.target.unwrap().is_met(line.ratio) && line.target.unwrap().is_met(1.18));
    }

    #[test]
    fn memory_interference_and_recomputing_compare_slimclr_with_itself() {
        let (one, many) = (Job::step(RESNET50, &[1.0]), Job::step(RESNET50, &WIDTHS));
        let measured = [
            series(Side::Slimclr, &one, &[], 0.0, Some(200)),
            series(Side::Slimclr, &many, &[], 0.0, Some(220)),
            series(Side::Peer, &one, &[], 0.0, Some(100)),
            series(Side::Peer, &many, &[], 0.0, Some(300)),
        ];
        let line = find("memory-4").line(&measured, MACHINE).unwrap();
        assert_eq!((line.ours, line.peer, line.ratio), (1.1, Some(3.0), 1.1));

        let (without, with) = (Job::step(RESNET20, &WIDTHS), Job::observed_step(RESNET20, &WIDTHS));
        let measured = [
            series(Side::Slimclr, &without, &[5.0, 6.0, 5.0], 0.0, None),
            series(Side::Slimclr, &with, &[4.0, 5.0, 5.0], 0.0, None),
        ];
        let line = find("interference").line(&measured, MACHINE).unwrap();
        assert_eq!((line.ours, line.peer, line.ratio), (1.2, None, 1.2));
        assert!(!line.target.unwrap().is_met(1.06));

        let (without, with) = (Job::step(RESNET50, &WIDTHS), Job::recomputing_step(RESNET50, &WIDTHS));
        let measured = [
            series(Side::Slimclr, &without, &[5.0], 0.0, Some(400)),
            series(Side::Slimclr, &with, &[4.0], 0.0, Some(200)),
        ];
        let line = |name| find(name).line(&measured, MACHINE).unwrap();
        let (time, memory) = (line("recompute-time"), line("recompute-memory"));
        assert_eq!((time.ours, time.peer, memory.ours, memory.peer), (1.25, None, 0.5, None));
    }

    #[test]
    fn a_job_of_several_rows_is_measured_once() {
        let sets = sets(&IMAGES);
        let names: Vec<&str> = sets.iter().flat_map(|set| &set.rows).map(|row| row.name.as_str()).collect();
        assert!(names.iter().enumerate().all(|(place, name)| !names[..place].contains(name)));
        // One and four widths in both programs and precisions, and slimclr with interference measured.
        assert_eq!(sets[0].jobs().len(), 9);
        // One to four widths in both programs, two of them in bf16 too, and slimclr with activations recomputed.
        assert_eq!(sets[1].jobs().len(), 13);
    }

    #[test]
    fn the_table_marks_missed_targets() {
        let line = Line {
            row: "step-resnet20-4".into(),
            ours: 84.25,
            peer: Some(117.3),
            ratio: 0.718,
            unit: "images/s",
            target: Some(Target::AtLeast(1.0)),
            roofline: None,
        };
        let table = render("PyTorch", std::slice::from_ref(&line));
        let expected = "| step-resnet20-4 | images/s | 84.2    | 117     | 0.72  | at least 1.00: MISSED | –        |";
        assert_eq!(table.lines().last(), Some(expected));
        let json = serde_json::to_value(line).unwrap();
        let expected = "{\"ours\":84.25,\"peer\":117.3,\"ratio\":0.718,\"row\":\"step-resnet20-4\"}";
        assert_eq!(json.to_string(), expected);
    }
}
