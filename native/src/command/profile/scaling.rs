//! `slimclr profile --ranks`: a run on many devices, on paper.

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use slimclr_core::{
    config::{Config, in_range},
    scaling::{DeviceKind, IMAGENET, ScaledRun, StepModel, TABLE_4, table_4},
};
use slimclr_report::count;

use super::ProfileFlags;
use crate::terminal::{self, aligned};

/// Seconds of an hour.
const HOUR: f64 = 3600.0;

/// Prints a step's parts and the run's hours on each number of devices, where scaling bends, and the hours of the paper's
/// runs.
///
/// # Errors
/// If the run cannot be modelled, or devices cannot share its batch.
pub fn run(config: &Config, flags: &ProfileFlags) -> Result<()> {
    let device = &flags.options.device;
    let kind = DeviceKind::from_str(device, true)
        .map_err(|_| anyhow!("--device {device}: with --ranks, it is one of {}", device_kinds()))?;
    let mut model = StepModel::new(config, kind.device(), flags.images)?;
    if let Some(rate) = flags.measured {
        in_range("measured", rate, rate.is_finite() && rate > 0.0, "above 0")?;
        let efficiency = model.efficiency_at(rate);
        model = model.with_efficiency(efficiency);
    }
    let runs = flags.ranks.iter().map(|ranks| model.run(*ranks)).collect::<Result<Vec<_>, _>>()?;
    terminal::print(&heading(config, kind, &model, flags.measured));
    terminal::print(&format!("\n{}\n", steps(&runs)));
    terminal::print(&bend(config, &model));
    terminal::print(&format!("\n{}", paper(kind, &model, &flags.ranks)?));
    Ok(())
}

/// Lists the kinds of devices that are modelled.
pub fn device_kinds() -> String {
    DeviceKind::ALL.map(|kind| kind.name().to_lowercase()).join(", ")
}

/// Describes what is modelled.
fn heading(config: &Config, kind: DeviceKind, model: &StepModel, measured: Option<f64>) -> String {
    let name = |value: Option<clap::builder::PossibleValue>| value.map(|it| it.get_name().to_owned());
    let [method, precision] = [name(config.method.to_possible_value()), name(config.precision.to_possible_value())];
    let source = match measured {
        Some(rate) => format!("at the measured {rate} images/s of one"),
        None => "as the paper's run on V100 did".into(),
    };
    format!(
        "on paper: {} at widths {}, {} in {}, {} images a step for {} epochs, on {} in servers of eight\noperations reach {:.0} \
         % of the device's peaks, {source}; nothing is hidden behind computation",
        config.encoder().map_or_else(|_| String::new(), |encoder| encoder.to_string()),
        widths(&config.widths),
        method.unwrap_or_default(),
        precision.unwrap_or_default(),
        count(config.batch as u64),
        config.epochs,
        kind.name(),
        100.0 * model.efficiency(),
    )
}

/// Formats the parts of a step on each number of devices.
fn steps(runs: &[ScaledRun]) -> String {
    let heads = [
        "\ndevices",
        "images\neach",
        "compute\nms",
        "launches\nms",
        "ring\nms",
        "trees\nms",
        "keys\nms",
        "norms\nms",
        "step\nms",
        "used\n%",
        "run\nhours",
    ];
    let row = |run: &ScaledRun| {
        let step = run.step;
        let parts = [step.compute, step.launches, step.ring, step.tree, step.embeddings, step.norms, step.total()];
        let mut row = vec![count(run.ranks as u64), count(run.images as u64)];
        row.extend(parts.map(|seconds| format!("{:.2}", 1e3 * seconds)));
        row.extend([format!("{:.0}", 100.0 * run.efficiency), format!("{:.2}", run.seconds / HOUR)]);
        row
    };
    let table = aligned(&heads, &runs.iter().map(row).collect::<Vec<_>>());
    format!(
        "{table}\na step of all widths; ring, trees: the all-reduce of the gradient, of which a step has the faster one;\n\
         keys: the gather of embeddings; norms: sums for batch norm; used: of the devices' time, what one would need"
    )
}

/// Says where scaling bends.
fn bend(config: &Config, model: &StepModel) -> String {
    match model.bend() {
        Some(run) => format!(
            "scaling bends at {} devices: from there on, less than half of their time is used. Most of the rest goes into \
             {}",
            count(run.ranks as u64),
            run.step.largest_overhead()
        ),
        None => format!("more than half of the devices' time is used, on up to {} of them", count(config.batch as u64)),
    }
}

/// Formats the hours of the paper's runs on each number of devices.
fn paper(kind: DeviceKind, model: &StepModel, ranks: &[usize]) -> Result<String> {
    let mut heads = vec!["\nwidths".to_owned(), "8 V100\npaper".into()];
    heads.extend(ranks.iter().map(|ranks| format!("{} {}\nmodel", count(*ranks as u64), kind.name())));
    let mut rows = Vec::new();
    for (of, published) in TABLE_4 {
        let model = StepModel::new(&table_4(of), kind.device(), IMAGENET)?.with_efficiency(model.efficiency());
        let mut row = vec![widths(of), format!("{published:.1}")];
        // A batch of the paper's size may not divide into them.
        let hours = |ranks: &usize| model.run(*ranks).map_or("-".into(), |run| format!("{:.2}", run.seconds / HOUR));
        row.extend(ranks.iter().map(hours));
        rows.push(row);
    }
    Ok(format!(
        "hours of the paper's runs (table 4: ResNet-50 by MoCo v2 in f16, 1,024 images a step for 200 epochs):\n{}",
        aligned(&heads, &rows)
    ))
}

/// Formats widths as on the command line.
fn widths(widths: &[f64]) -> String {
    widths.iter().map(f64::to_string).collect::<Vec<_>>().join(",")
}
