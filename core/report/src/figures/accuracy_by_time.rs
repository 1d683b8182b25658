//! Accuracy of systems' networks against the time of their pre-training.

use crate::{
    figures::accuracy::Accuracy,
    plot::{
        axes::Axis,
        chart::Chart,
        figure::{Figure, Missing, Panel},
        frame::PANEL,
        legend::{LegendItem, Symbol, widths_legend},
        marks::Shape,
        scale::{Scale, drawable},
    },
    text::{fixed, width},
};

/// A system of pre-training, and the networks that it gives.
#[derive(Debug, Clone)]
pub struct System {
    /// Its name.
    pub name: String,
    /// Its networks.
    pub networks: Vec<SystemNetwork>,
    /// Seconds of pre-training that give all of them, a teacher's included; `None` if not known.
    pub seconds: Option<f64>,
}

/// A network, with the cost of having it alone.
#[derive(Debug, Clone)]
pub struct SystemNetwork {
    /// Its width, as a fraction of the largest network's.
    pub width: f64,
    /// Seconds of pre-training that give this network, a teacher's included.
    pub seconds: f64,
    /// The fraction of test images that are classified correctly.
    pub accuracy: f64,
    /// Standard error of the accuracy over runs with other seeds, if there are several.
    pub standard_error: Option<f64>,
}

impl SystemNetwork {
    fn accuracy(&self) -> Accuracy {
        Accuracy { fraction: self.accuracy, standard_error: self.standard_error }
    }
}

/// Returns the widths of all networks, widest first.
pub fn widths(reference: &System, others: &[System]) -> Vec<f64> {
    let networks = [reference].into_iter().chain(others).flat_map(|system| &system.networks);
    let mut widths: Vec<f64> = networks.map(|network| network.width).collect();
    widths.sort_by(|a, b| b.total_cmp(a));
    widths.dedup();
    widths
}

/// Draws a panel for each system, with the same axes. Each panel has the networks of all systems: those of the
/// panel's system are filled, those of `reference` hollow, the others faint. `widths` are those of all networks, widest first.
///
/// # Errors
/// If there is no network.
pub fn accuracy_by_time(reference: &System, others: &[System], widths: &[f64]) -> Result<Figure, Missing> {
    let systems: Vec<&System> = [reference].into_iter().chain(others).filter(|it| !it.networks.is_empty()).collect();
    let networks = || systems.iter().flat_map(|system| &system.networks);
    let times = || networks().map(|network| network.seconds).chain(systems.iter().filter_map(|system| system.seconds));
    let unit = Unit::of(times().filter(|seconds| drawable(*seconds)).fold(0.0, f64::max));
    let x = Scale::linear(times().chain([0.0]).map(|seconds| unit.of_seconds(seconds)));
    let y = Scale::linear(networks().flat_map(|network| network.accuracy().interval()));
    let (Some(x), Some(y)) = (x, y) else {
        return Err("No system has a network that is trained and evaluated.".into());
    };
    let mut legend = widths_legend(widths);
    if !reference.networks.is_empty() {
        legend.push(LegendItem::new(Symbol::Point("plain hollow"), &reference.name));
    }
    legend.push(LegendItem::new(Symbol::Point("faint"), "the other systems"));
    legend.push(LegendItem::new(Symbol::Line("marker"), "the time of all networks of the panel’s system"));
    let has_bars = networks().any(|network| network.standard_error.is_some());
    let panels = Panels { reference, systems: &systems, widths, unit, x, y };
    Ok(Figure {
        panels: (0..systems.len()).map(|number| panels.of_system(number)).collect(),
        legend,
        caption:
            "Filled points are the networks of the panel’s system, each at the time of pre-training that gives this \
                  network alone, its teacher’s included. The dotted line is the time that gives all of them, for which \
                  the teacher is trained once."
                .into(),
        notes: has_bars.then(|| "Bars show ± one standard error over seeds.".into()).into_iter().collect(),
        omitted: None,
    })
}

/// What the panels have in common.
struct Panels<'a> {
    reference: &'a System,
    /// The systems that have networks.
    systems: &'a [&'a System],
    widths: &'a [f64],
    unit: Unit,
    x: Scale,
    y: Scale,
}

impl Panels<'_> {
    fn of_system(&self, number: usize) -> Panel {
        let system = self.systems[number];
        let x = Axis { title: format!("Pre-training ({})", self.unit.name), scale: self.x.clone() };
        let mut chart = Chart::new(PANEL, x, Axis { title: "Top-1 accuracy (%)".into(), scale: self.y.clone() });
        let is = |it: &System, other: &System| std::ptr::eq(it, other);
        for other in self.systems.iter().filter(|other| !is(other, system) && !is(other, self.reference)) {
            self.points(&mut chart, other, |_| "faint".into());
        }
        let together = system.seconds.map(|seconds| self.together(system, seconds));
        if let (Some(seconds), Some(label)) = (system.seconds, &together) {
            chart.vertical_line(self.unit.of_seconds(seconds), label);
        }
        if !is(system, self.reference) {
            self.points(&mut chart, self.reference, |index| format!("w{index} hollow"));
        }
        for network in system.networks.iter().filter(|network| network.standard_error.is_some()) {
            let (x, class) = (self.unit.of_seconds(network.seconds), format!("w{}", self.index(network)));
            chart.error_bar(x, network.accuracy().interval(), &class);
        }
        self.points(&mut chart, system, |index| format!("w{index}"));
        let networks = system.networks.iter().map(|network| self.text(network)).chain(together);
        let description = networks.collect::<Vec<_>>().join("; ") + ".";
        let id = format!("accuracy-by-time-{number}");
        Panel::new("", &system.name, Ok(chart.drawing(&id, &system.name, &description)))
    }

    /// Draws the points of a system, in the classes of their widths.
    fn points(&self, chart: &mut Chart, system: &System, class: impl Fn(usize) -> String) {
        for network in &system.networks {
            let (index, at) = (self.index(network), (self.unit.of_seconds(network.seconds), 100.0 * network.accuracy));
            let tooltip = format!("{}, {}", system.name, self.text(network));
            chart.point(at, Shape::of(index), &class(index), &tooltip);
        }
    }

    /// Returns the index of a network's width, which determines its colour and shape.
    fn index(&self, network: &SystemNetwork) -> usize {
        self.widths.iter().position(|width| *width == network.width).unwrap_or_default()
    }

    fn text(&self, network: &SystemNetwork) -> String {
        let (accuracy, time) = (network.accuracy().text(), self.unit.text(network.seconds));
        format!("width {}: {accuracy} % after {time}", width(network.width))
    }

    /// Returns the label of the time of all networks of a system.
    fn together(&self, system: &System, seconds: f64) -> String {
        let time = self.unit.text(seconds);
        match system.networks.len() {
            1 => time,
            networks => format!("all {networks}: {time}"),
        }
    }
}

/// The unit of a time axis.
struct Unit {
    name: &'static str,
    symbol: &'static str,
    seconds: f64,
}

impl Unit {
    /// Returns the unit for times of up to `longest` seconds.
    fn of(longest: f64) -> Self {
        match longest {
            ..120.0 => Self { name: "seconds", symbol: "s", seconds: 1.0 },
            ..7200.0 => Self { name: "minutes", symbol: "min", seconds: 60.0 },
            _ => Self { name: "hours", symbol: "h", seconds: 3600.0 },
        }
    }

    fn of_seconds(&self, seconds: f64) -> f64 {
        seconds / self.seconds
    }

    fn text(&self, seconds: f64) -> String {
        let value = self.of_seconds(seconds);
        format!("{} {}", fixed(value, if value < 9.95 { 1 } else { 0 }), self.symbol)
    }
}
