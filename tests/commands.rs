//! What may be asked of a run while it goes on.

use std::convert::Infallible;

use burn::tensor::Device;
use futures::{
    FutureExt, Stream, StreamExt,
    channel::mpsc::{UnboundedSender, unbounded},
    pin_mut,
};
use slimclr_core::{
    augment::Normalisation,
    command::Command,
    config::{Config, ConfigError},
    data::batch::{HostBatch, LabelledImages},
    event::{Event, Step},
    loss::{distill::Distillation, reweight::Reweighting},
    method::{Batch, Trainer},
    train::{Artifact, Host, Run, Split, TrainError},
};

/// Stripes of as many kinds as there are images, kept nowhere.
struct Stripes {
    config: Config,
}

const IMAGES: usize = 16;

impl Stripes {
    fn pixels(&self, image: usize) -> impl Iterator<Item = f32> + use<> {
        let pixels = 3 * self.config.image_size * self.config.image_size;
        (0..pixels).map(move |pixel| ((pixel * (image + 1)) as f32 * 0.1).sin())
    }
}

impl Host for Stripes {
    type Error = Infallible;

    fn images(&self) -> usize {
        IMAGES
    }

    fn normalisation(&self) -> Normalisation {
        Normalisation::CIFAR10
    }

    fn now(&self) -> f64 {
        0.0
    }

    async fn batch(&mut self, step: u64, device: &Device) -> Result<Batch, Infallible> {
        let images = (0..self.config.batch).map(|image| image + step as usize);
        let view = |shift| images.clone().flat_map(|image| self.pixels(image + shift)).collect();
        let views = HostBatch { pixels: vec![view(0), view(1)], labels: vec![0; self.config.batch] };
        Ok(Batch::from_host(views, self.config.image_size, device))
    }

    async fn labelled(&mut self, _: Split, chunk: usize) -> Result<Option<LabelledImages>, Infallible> {
        let all = || (0..IMAGES).flat_map(|image| self.pixels(image)).collect();
        let labels = (0..IMAGES as u32).collect();
        let whole =
            || LabelledImages { pixels: all(), labels, indices: (0..IMAGES).collect(), size: self.config.image_size };
        Ok((chunk == 0).then(whole))
    }

    async fn save(&mut self, _: Artifact, _: Vec<u8>) -> Result<(), Infallible> {
        Ok(())
    }

    async fn gradients(&mut self, _: u64) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(None)
    }
}

type Events = Vec<Result<Event, TrainError<Infallible>>>;

/// Eight steps, the first four of the full network alone.
fn config() -> Config {
    Config {
        batch: 4,
        queue: 16,
        dim: 8,
        multiplier: 1.0,
        image_size: 16,
        widths: vec![1.0, 0.5],
        epochs: 2.0,
        slow_start: 0.5,
        evaluate_every: 9.0,
        interference: false,
        ..Config::mini()
    }
}

fn run() -> (impl Stream<Item = Result<Event, TrainError<Infallible>>>, UnboundedSender<Command>) {
    let config = config();
    let trainer = Trainer::new(&config, config.encoder().unwrap().build().unwrap(), &Device::flex());
    let (commands, asked) = unbounded();
    let home = Stripes { config: config.clone() };
    (Run::new(config, trainer, (Device::flex(), "CPU".into()), home, asked).events(), commands)
}

/// All that happens until the run waits or has ended.
fn until_it_waits(events: &mut (impl Stream<Item = Result<Event, TrainError<Infallible>>> + Unpin)) -> Events {
    let mut seen = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        seen.push(event);
    }
    seen
}

fn steps(events: &Events) -> Vec<&Step> {
    events.iter().filter_map(|event| if let Ok(Event::Step(step)) = event { Some(step) } else { None }).collect()
}

fn numbers(events: &Events) -> Vec<u64> {
    steps(events).iter().map(|step| step.step).collect()
}

#[test]
fn whoever_waits_has_seen_all_steps_so_far() {
    let (events, commands) = run();
    pin_mut!(events);
    let ask = |command| commands.unbounded_send(command).unwrap();
    ask(Command::Pause);
    assert_eq!(numbers(&until_it_waits(&mut events)), [0; 0]);
    for step in 1..=3 {
        ask(Command::SingleStep);
        let seen = until_it_waits(&mut events);
        assert_eq!(numbers(&seen), [step]);
        assert!(matches!(seen.last(), Some(Ok(Event::Checkpoint { step: kept })) if *kept == step), "{seen:?}");
    }
    ask(Command::Resume);
    let rest = until_it_waits(&mut events);
    assert_eq!(numbers(&rest), [4, 5, 6, 7, 8]);
    assert!(matches!(rest.last(), Some(Ok(Event::Finished { step: 8, .. }))));
}

/// The losses of the second step of a run that goes on with `config` after the first.
fn losses_after_a_change_to(config: &Config) -> Vec<f64> {
    let (events, commands) = run();
    pin_mut!(events);
    let ask = |command| commands.unbounded_send(command).unwrap();
    ask(Command::SingleStep);
    let before = until_it_waits(&mut events);
    assert_eq!(steps(&before)[0].losses[1], 0.0, "slow start");
    ask(Command::Change(Box::new(config.clone())));
    let changed = until_it_waits(&mut events);
    let [Ok(Event::Changed { step: 1, config: told })] = &changed[..] else { panic!("{changed:?}") };
    assert_eq!(&**told, config);
    ask(Command::SingleStep);
    let after = until_it_waits(&mut events);
    steps(&after)[0].losses.clone()
}

#[test]
fn techniques_change_while_a_run_goes_on() {
    let [full, sub] = losses_after_a_change_to(&config())[..] else { panic!("there are two widths") };
    assert_eq!(sub, 0.0, "slow start goes on");

    // Equal weights after slow start are the weight of the full network alone before its end.
    let equal = Config { slow_start: 0.0, reweighting: Reweighting::Equal, ..config() };
    let [equal_full, equal_sub] = losses_after_a_change_to(&equal)[..] else { panic!("there are two widths") };
    assert!((equal_full - full).abs() < 1e-5 && equal_sub > 0.0, "{equal_full} {full} {equal_sub}");

    let weighted = Config { reweighting: config().reweighting, ..equal.clone() };
    assert!(losses_after_a_change_to(&weighted)[0] > 1.2 * equal_full);

    let untaught = Config { distill: Distillation::None, ..equal };
    let alone = losses_after_a_change_to(&untaught);
    assert!((alone[0] - equal_full).abs() < 1e-5 && (alone[1] - equal_sub).abs() > 1e-3, "{alone:?} {equal_sub}");
}

#[test]
fn what_cannot_change_ends_the_run_with_the_reason() {
    let (events, commands) = run();
    pin_mut!(events);
    commands.unbounded_send(Command::Change(Box::new(Config { batch: 8, ..config() }))).unwrap();
    let seen = until_it_waits(&mut events);
    assert!(matches!(seen.last(), Some(Err(TrainError::Config(ConfigError::Fixed)))), "{seen:?}");
    assert_eq!(config().check_change(&Config { batch: 8, ..config() }), Err(ConfigError::Fixed));
    assert_eq!(config().check_change(&Config { slow_start: 0.0, ..config() }), Ok(()));
    let range = config().check_change(&Config { distill_weight: 7.0, ..config() });
    assert!(matches!(range, Err(ConfigError::Range { key: "distill_weight", .. })), "{range:?}");
}
