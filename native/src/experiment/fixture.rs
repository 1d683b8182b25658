//! Events of short runs.

use slimclr_core::{
    config::Config,
    event::{Evaluated, Event, Started, Step},
};

use super::setting::Setting;
use crate::command::evaluate::Probes;

/// The start of a run of two steps, each of 64 images.
pub fn started(widths: &[f64]) -> Event {
    Event::Started(Box::new(Started {
        config: Config { widths: widths.to_vec(), batch: 64, ..Config::mini() },
        device: "CPU".into(),
        images: 5000,
        normalisation: None,
        step: 0,
        steps: 2,
        steps_per_epoch: 1,
        slow_start_step: 0,
        queue_filled_step: None,
        ranks: 1,
        profile: Vec::new(),
    }))
}

/// A step of two seconds.
pub fn step(step: u64) -> Event {
    Event::Step(Step { step, loss: 1.0, losses: vec![1.0], images_per_second: 32.0, ..Step::default() })
}

/// The last step's evaluation with the default probes. The linear probe has diverged if it has no accuracy.
pub fn probed(width: f64, probe: Option<f64>) -> Event {
    let Probes { linear, lambda } = Probes::default();
    Event::Evaluated(Evaluated {
        step: 2,
        width,
        knn: Some(0.5),
        knn_standard_error: Some(0.005),
        probe,
        probe_top5: probe.map(|_| 0.9),
        probe_recipe: Some(linear.into()),
        ridge: Some(0.25),
        ridge_lambda: Some(lambda),
        ..Default::default()
    })
}

/// The end of training.
pub const FINISHED: Event = Event::Finished { step: 2, seconds: 9.0 };

/// What the tables say of an experiment with these options.
pub fn setting(options: Config) -> Setting {
    Setting {
        program: "slimclr 1",
        command: "slimclr experiment".into(),
        network: "cifar-resnet8".into(),
        training_images: 5000,
        test_images: 10_000,
        options,
    }
}
