//! `slimclr pretrain --dry-run`: the plan of a run, and how long it takes here.

use std::{
    iter,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use burn::tensor::Device;
use clap::ValueEnum;
use futures::executor::block_on;
use indicatif::HumanDuration;
use slimclr_core::{
    config::Config,
    data::bags::Bags,
    eval::features::Extractor,
    method::{MethodKind, Trainer},
    profile::{Profile, profile},
    schedule::RunSchedule,
    train::{Host, Split},
};
use slimclr_report::duration;

use super::NewRun;
use crate::{
    data::loader::Loader,
    peak_memory::peak_memory,
    step_timing::seconds_per_step,
    terminal::{Progress, aligned, count, print},
};

/// Prints the plan of a run, and times a few of its steps and a part of an evaluation. Writes nothing.
///
/// # Errors
/// If the images cannot be read, or the device fails.
pub fn run(new: NewRun) -> Result<()> {
    let NewRun { config, dataset, device: (device, device_name), mut trainer } = new;
    let images = dataset.len(Split::Train);
    let schedule = config.schedule(images)?;
    print(&format!("{images} training images of {}, on {device_name}", dataset.name));
    print(&plan(&config, &schedule));
    print(&costs(&profile(&trainer.encoder, config.image_size)));

    let mut loader = Loader::new(dataset, &config, None)?;
    if config.method == MethodKind::Bingo {
        // Finding similar images takes long. A bag of the image alone costs a step as much.
        let alone = (0..images as u32).flat_map(|image| iter::repeat_n(image, config.bag)).collect();
        loader.set_bags(Bags::new(alone, config.bag)?)?;
    }
    let times = Times::measure(&config, &schedule, &mut loader, &mut trainer, &device)?;
    print(&times.described(&schedule));
    print(&memory(&device));
    Ok(())
}

/// Describes steps, slow start, learning rate, evaluations and checkpoints.
fn plan(config: &Config, schedule: &RunSchedule) -> String {
    let RunSchedule { steps, steps_per_epoch, slow_start_step, slim_rate_factor, learning_rate, .. } = schedule;
    let name = |value: Option<clap::builder::PossibleValue>| value.map(|it| it.get_name().to_owned());
    let method = name(config.method.to_possible_value()).unwrap_or_default();
    let decay = name(config.decay.to_possible_value()).unwrap_or_default();
    let slow_start = match slow_start_step {
        _ if config.widths.len() == 1 => "none, as there is one width".into(),
        0 => "none: all widths train from the first step".into(),
        first => format!("the first {first} steps train the full network alone"),
    };
    let rate = |step| three_digits(schedule.plan(step).rate);
    let mut rates = format!("{} at first, ", rate(0));
    if learning_rate.warmup_steps > 0 {
        rates +=
            &format!("{} after {} steps of warm-up, ", rate(learning_rate.warmup_steps), learning_rate.warmup_steps);
    }
    rates += &format!("{} at the end, {decay} decay", rate(steps - 1));
    if *slim_rate_factor != 1.0 && *slow_start_step > 0 {
        rates += &format!("; times {slim_rate_factor} after slow start");
    }
    let checkpoints = steps.div_ceil(schedule.checkpoint_every);
    [
        ("method", method),
        (
            "steps",
            format!("{steps}: {} epochs of {steps_per_epoch} steps, {} images each", config.epochs, config.batch),
        ),
        ("slow start", slow_start),
        ("learning rate", rates),
        ("evaluations", schedule.evaluations().to_string()),
        ("checkpoints", checkpoints.to_string()),
    ]
    .map(|(what, plan)| format!("{what:<14}{plan}"))
    .join("\n")
}

/// Formats the costs of each width.
fn costs(profiles: &[Profile]) -> String {
    let row = |cost: &Profile| [cost.width.to_string(), count(cost.parameters), count(cost.macs)];
    aligned(&["width", "parameters", "MACs"], &profiles.iter().map(row).collect::<Vec<_>>())
}

/// Seconds that parts of a run take.
struct Times {
    /// A step of slow start, if there are any.
    slow_start: Option<f64>,
    /// A step of all widths.
    all_widths: f64,
    evaluation: f64,
}

impl Times {
    fn measure(
        config: &Config,
        schedule: &RunSchedule,
        loader: &mut Loader,
        trainer: &mut Trainer,
        device: &Device,
    ) -> Result<Self> {
        let progress = Progress::spinner("timing a few steps");
        let mut steps = 0..;
        let mut timed = |trains_subnetworks| {
            let next = || Ok(block_on(loader.batch(steps.next().unwrap_or_default(), device))?);
            seconds_per_step(trainer, device, trains_subnetworks, next)
        };
        let has_slow_start = schedule.slow_start_step > 0 && config.widths.len() > 1;
        // All widths come first, since they also compile what the full network needs.
        let all_widths = timed(true)?;
        let slow_start = has_slow_start.then(|| timed(false)).transpose()?;
        progress.begin("timing a part of an evaluation");
        let has_labels = loader.dataset().has_labels();
        let of = [Split::Train, Split::Test].iter().take(if has_labels { 2 } else { 1 });
        let images: usize = of.map(|split| loader.evaluated(*split)).sum();
        let mut extractor = Extractor::new(&trainer.encoder, &mut trainer.query, device);
        let mut seconds_per_image = 0.0;
        // The first time also allocates and compiles.
        for _ in 0..2 {
            let start = Instant::now();
            let chunk = block_on(loader.labelled(Split::Train, 0))?.context("there is no image to evaluate")?;
            let count = chunk.labels.len();
            block_on(extractor.extract(chunk));
            device.sync()?;
            seconds_per_image = start.elapsed().as_secs_f64() / count.max(1) as f64;
        }
        Ok(Self { slow_start, all_widths, evaluation: images as f64 * seconds_per_image })
    }

    /// Describes the times, and that of the whole run.
    fn described(&self, schedule: &RunSchedule) -> String {
        let Self { slow_start, all_widths, evaluation } = self;
        let slow_steps = slow_start.map_or(0, |_| schedule.slow_start_step.min(schedule.steps));
        let training =
            slow_steps as f64 * slow_start.unwrap_or(0.0) + (schedule.steps - slow_steps) as f64 * all_widths;
        let evaluating = schedule.evaluations() as f64 * evaluation;
        let step = match slow_start {
            Some(slow) => format!("{} a step in slow start, {} after it", time(*slow), time(*all_widths)),
            None => format!("{} a step", time(*all_widths)),
        };
        let [total, evaluating] = [training + evaluating, evaluating]
            .map(|seconds| HumanDuration(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)));
        format!(
            "{:<14}{step}, {} an evaluation\n{:<14}about {total}, of which evaluations take {evaluating}",
            "time here",
            time(*evaluation),
            "whole run"
        )
    }
}

/// Describes the memory that the timed steps needed.
fn memory(device: &Device) -> String {
    let of_device = device.memory_pool_usage().map(|usage| format!("{}B on the GPU", count(usage.bytes_reserved)));
    let of_process = peak_memory().map(|bytes| format!("{}B of main memory", count(bytes)));
    let parts: Vec<String> = of_device.into_iter().chain(of_process).collect();
    match &parts[..] {
        [] => format!("{:<14}unknown on this system", "memory"),
        parts => format!("{:<14}{}, peak of these steps", "memory", parts.join(" and ")),
    }
}

/// Formats seconds: with three digits below a minute, else in their two largest units.
fn time(seconds: f64) -> String {
    if seconds < 60.0 { format!("{} s", three_digits(seconds)) } else { duration(seconds) }
}

/// Formats a number with three significant digits.
fn three_digits(number: f64) -> String {
    match number {
        0.0 => "0".into(),
        0.001..1000.0 => {
            let decimals = (2.0 - number.log10().floor()).max(0.0);
            let factor = 10_f64.powf(decimals);
            ((number * factor).round() / factor).to_string()
        }
        _ => format!("{number:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let texts = [0.0, 0.06, 0.012345, 1.0, 12.345, 999.4, 3.2e-7, 12345.0].map(three_digits);
        assert_eq!(texts, ["0", "0.06", "0.0123", "1", "12.3", "999", "3.20e-7", "1.23e4"]);
        assert_eq!(
            [0.012345, 59.4, 90.0, 2960.0, 7260.0].map(time),
            ["0.0123 s", "59.4 s", "1 min 30 s", "49 min 20 s", "2 h 1 min"]
        );
    }

    #[test]
    fn a_run_takes_as_long_as_its_steps_and_evaluations() {
        let config = Config { epochs: 10.0, batch: 10, slow_start: 0.5, evaluate_every: 5.0, ..Config::mini() };
        let schedule = config.schedule(100).unwrap();
        let times = Times { slow_start: Some(1.0), all_widths: 3.0, evaluation: 20.0 };
        let text = times.described(&schedule);
        // 50 steps of 1 s, 50 of 3 s, and three evaluations.
        assert!(text.contains("about 4 minutes, of which evaluations take 60 seconds"), "{text}");
        let plan = plan(&config, &schedule);
        assert!(plan.contains("100: 10 epochs of 10 steps, 10 images each"), "{plan}");
        assert!(plan.contains("the first 50 steps train the full network alone"), "{plan}");
    }
}
