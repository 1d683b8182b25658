//! Commands to a run while it trains.

mod generated_images;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake},
};

use burn::tensor::Device;
use futures::{
    Stream, StreamExt,
    channel::mpsc::{UnboundedSender, unbounded},
    executor::block_on,
    pin_mut,
};
use generated_images::{CHUNK, GeneratedImages, IMAGES, eight_steps};
use slimclr_core::{
    command::Command,
    config::{Config, ConfigError},
    event::{Event, Step},
    kernel::ranks::Ranks,
    loss::{distill::Distillation, reweight::Reweighting},
    method::Trainer,
    train::{Run, TrainError},
};

type Events = Vec<Result<Event, TrainError<Infallible>>>;

/// Options of a run of eight steps, of which the first four train only the full network.
fn config() -> Config {
    Config { slow_start: 0.5, evaluate_every: 9.0, interference: false, ..eight_steps() }
}

fn run() -> (impl Stream<Item = Result<Event, TrainError<Infallible>>>, UnboundedSender<Command>) {
    let config = config();
    let trainer = Trainer::new(&config, config.encoder().unwrap().build().unwrap(), &Device::flex());
    let (commands, received_commands) = unbounded();
    let host = GeneratedImages::new(config.clone(), Ranks::default());
    (Run::new(config, trainer, (Device::flex(), "CPU".into()), host, received_commands).events(), commands)
}

/// Tells that a task wants to be polled again.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Collects the events until the run pauses or ends, except the progress of evaluations.
fn until_paused(events: &mut (impl Stream<Item = Result<Event, TrainError<Infallible>>> + Unpin)) -> Events {
    let mut seen = Vec::new();
    let woken = Arc::new(Woken::default());
    let waker = woken.clone().into();
    loop {
        match events.poll_next_unpin(&mut Context::from_waker(&waker)) {
            Poll::Ready(Some(Ok(Event::Evaluating(_)))) => {}
            Poll::Ready(Some(event)) => seen.push(event),
            Poll::Pending if woken.0.swap(false, Ordering::Relaxed) => {}
            Poll::Ready(None) | Poll::Pending => return seen,
        }
    }
}

fn steps(events: &Events) -> Vec<&Step> {
    events.iter().filter_map(|event| if let Ok(Event::Step(step)) = event { Some(step) } else { None }).collect()
}

fn step_numbers(events: &Events) -> Vec<u64> {
    steps(events).iter().map(|step| step.step).collect()
}

#[test]
fn a_paused_run_has_reported_all_steps_and_saved_a_checkpoint() {
    let (events, commands) = run();
    pin_mut!(events);
    let send = |command| commands.unbounded_send(command).unwrap();
    send(Command::Pause);
    assert_eq!(step_numbers(&until_paused(&mut events)), [0; 0]);
    for step in 1..=3 {
        send(Command::SingleStep);
        let seen = until_paused(&mut events);
        assert_eq!(step_numbers(&seen), [step]);
        assert!(matches!(seen.last(), Some(Ok(Event::Checkpoint { step: saved })) if *saved == step), "{seen:?}");
    }
    send(Command::Resume);
    let rest = until_paused(&mut events);
    assert_eq!(step_numbers(&rest), [4, 5, 6, 7, 8]);
    assert!(matches!(rest.last(), Some(Ok(Event::Finished { step: 8, .. }))));
}

/// Returns the losses of the second step of a run whose options are changed to `config` after the first.
fn losses_after_change_to(config: &Config) -> Vec<f64> {
    let (events, commands) = run();
    pin_mut!(events);
    let send = |command| commands.unbounded_send(command).unwrap();
    send(Command::SingleStep);
    let before = until_paused(&mut events);
    assert_eq!(steps(&before)[0].losses[1], 0.0, "slow start");
    send(Command::Change(Box::new(config.clone())));
    let changed = until_paused(&mut events);
    let [Ok(Event::Changed { step: 1, config: reported })] = &changed[..] else { panic!("{changed:?}") };
    assert_eq!(&**reported, config);
    send(Command::SingleStep);
    let after = until_paused(&mut events);
    steps(&after)[0].losses.clone()
}

#[test]
fn techniques_can_change_during_a_run() {
    let [full, sub] = losses_after_change_to(&config())[..] else { panic!("there are two widths") };
    assert_eq!(sub, 0.0, "slow start continues");

    // With equal weights, the full network's weight is the same during slow start and after it.
    let equal = Config { slow_start: 0.0, reweighting: Reweighting::Equal, ..config() };
    let [equal_full, equal_sub] = losses_after_change_to(&equal)[..] else { panic!("there are two widths") };
    assert!((equal_full - full).abs() < 1e-5 && equal_sub > 0.0, "{equal_full} {full} {equal_sub}");

    let weighted = Config { reweighting: config().reweighting, ..equal.clone() };
    assert!(losses_after_change_to(&weighted)[0] > 1.2 * equal_full);

    let undistilled = Config { distill: Distillation::None, ..equal };
    let alone = losses_after_change_to(&undistilled);
    assert!((alone[0] - equal_full).abs() < 1e-5 && (alone[1] - equal_sub).abs() > 1e-3, "{alone:?} {equal_sub}");
}

#[test]
fn an_invalid_change_ends_the_run_with_an_error() {
    let (events, commands) = run();
    pin_mut!(events);
    commands.unbounded_send(Command::Change(Box::new(Config { batch: 8, ..config() }))).unwrap();
    let seen = until_paused(&mut events);
    assert!(matches!(seen.last(), Some(Err(TrainError::Config(ConfigError::Fixed)))), "{seen:?}");
    assert_eq!(config().check_change(&Config { batch: 8, ..config() }), Err(ConfigError::Fixed));
    assert_eq!(config().check_change(&Config { slow_start: 0.0, ..config() }), Ok(()));
    let range = config().check_change(&Config { distill_weight: 7.0, ..config() });
    assert!(matches!(range, Err(ConfigError::Range { key: "distill_weight", .. })), "{range:?}");
}

/// Runs until an evaluation after `steps` steps is under way, sends `last`, and returns the events from then on.
fn sent_in_evaluation(steps: u64, last: impl IntoIterator<Item = Command>) -> Events {
    let (events, commands) = run();
    pin_mut!(events);
    loop {
        match block_on(events.next()) {
            Some(Ok(Event::Evaluating(progress))) if progress.step == steps => {
                assert_eq!((progress.images, progress.of), (CHUNK, 2 * IMAGES));
                break;
            }
            Some(Ok(_)) => {}
            end => panic!("{end:?}"),
        }
    }
    last.into_iter().for_each(|command| commands.unbounded_send(command).unwrap());
    until_paused(&mut events)
}

#[test]
fn a_run_that_is_stopped_in_an_evaluation_reports_none_of_it_and_saves_a_checkpoint() {
    // The untrained network is evaluated after the first step, which is then undone.
    for steps in [0, 8] {
        let seen = sent_in_evaluation(steps, [Command::Stop]);
        let [Ok(Event::Checkpoint { step: saved }), Ok(Event::Stopped { step: stopped })] = &seen[..] else {
            panic!("{seen:?}")
        };
        assert_eq!([*saved, *stopped], [steps; 2]);
    }
}

#[test]
fn a_change_that_arrives_before_the_command_to_stop_is_saved() {
    let changed = Config { slow_start: 0.0, ..config() };
    let seen = sent_in_evaluation(8, [Command::Pause, Command::Change(Box::new(changed.clone())), Command::Stop]);
    let [Ok(Event::Changed { step: 8, config }), Ok(Event::Checkpoint { .. }), Ok(Event::Stopped { .. })] = &seen[..]
    else {
        panic!("{seen:?}")
    };
    assert_eq!(**config, changed);
}
