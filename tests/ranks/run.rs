//! Runs of several ranks.

use burn::tensor::Device;
use futures::{StreamExt, channel::mpsc::unbounded, executor::block_on};
use slimclr_core::{
    command::Command,
    config::Config,
    event::{Evaluated, Event},
    kernel::ranks::Ranks,
    method::Trainer,
    train::{Artifact, Run},
};

use crate::{
    generated_images::{GeneratedImages, eight_steps},
    threads::on_ranks,
};

/// Options of a run that evaluates, saves and measures after each epoch.
fn config() -> Config {
    Config { evaluate_every: 1.0, checkpoint_every: 1.0, interference: true, ..eight_steps() }
}

/// Runs to the end on one rank, which gets `commands`. Returns the events and what it has saved.
fn run(ranks: Ranks, commands: &[Command]) -> (Vec<Event>, Vec<Artifact>) {
    let config = config();
    let trainer = Trainer::new(&config, config.encoder().unwrap().build().unwrap(), &Device::flex());
    let trainer = Trainer { ranks: ranks.clone(), ..trainer };
    let (send, received) = unbounded();
    commands.iter().for_each(|command| send.unbounded_send(command.clone()).unwrap());
    let host = GeneratedImages::new(config.clone(), ranks);
    let saved = host.saved();
    let run = Run::new(config, trainer, (Device::flex(), "CPU".into()), host, received);
    let events = block_on(run.events().map(Result::unwrap).collect());
    let saved = saved.borrow().clone();
    (events, saved)
}

/// Returns what each event is, and after how many steps; without the progress of evaluations.
fn course(events: &[Event]) -> Vec<(String, u64)> {
    let logged = events.iter().filter(|event| event.is_logged());
    let named = logged.map(|event| {
        let name = serde_json::to_value(event).unwrap()["event"].as_str().unwrap().to_owned();
        (name, event.step())
    });
    named.collect()
}

fn untrained(events: &[Event]) -> Vec<&Evaluated> {
    let evaluated = events.iter().filter_map(|event| if let Event::Evaluated(of) = event { Some(of) } else { None });
    evaluated.filter(|evaluated| evaluated.step == 0).collect()
}

#[test]
fn rank_0_reports_and_saves_what_one_process_does() {
    let (alone, saved_alone) = run(Ranks::default(), &[]);
    let of_ranks = on_ranks(2, |ranks| run(ranks, &[]));
    let [(events, saved), (events_of_other, saved_by_other)] = &of_ranks[..] else { unreachable!("there are two") };
    assert_eq!(course(&alone), course(events));
    assert_eq!((&saved_alone, saved_by_other.len()), (saved, 0));
    // The features of a network with the same weights are the same, whichever rank computes them.
    assert_eq!(untrained(&alone), untrained(events));
    assert_eq!(untrained(events).len(), 2);
    assert!(untrained(events_of_other).is_empty());
    let started = Event::latest_start(events).unwrap();
    assert_eq!((started.ranks, Event::latest_start(&alone).unwrap().ranks), (2, 1));
}

#[test]
fn ranks_stop_together() {
    let of_ranks = on_ranks(2, |ranks| {
        let commands: &[Command] = if ranks.rank() == 1 { &[Command::Stop] } else { &[] };
        run(ranks, commands)
    });
    for (events, saved) in of_ranks {
        assert_eq!(course(&events).last(), Some(&("stopped".to_owned(), 0)), "{events:?}");
        assert!(saved.len() <= 1);
    }
}

#[test]
fn ranks_follow_the_commands_to_rank_0() {
    let other = Config { learning_rate: 0.01, ..config() };
    let change = Command::Change(Box::new(other.clone()));
    let of_ranks = on_ranks(2, |ranks| {
        let commands = match ranks.rank() {
            0 => vec![Command::SingleStep, change.clone(), Command::Resume],
            // Another rank's are not for all.
            _ => vec![Command::Pause],
        };
        run(ranks, &commands)
    });
    for (events, _) in of_ranks {
        let changed = events
            .iter()
            .find_map(|event| if let Event::Changed { step, config } = event { Some((step, config)) } else { None });
        assert_eq!(changed, Some((&1, &Box::new(other.clone()))));
        assert!(matches!(events.last(), Some(Event::Finished { step: 8, .. })));
    }
}
