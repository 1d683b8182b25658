//! The events of an arm as a small file that can be kept and shared.

use std::{io::Write, path::Path};

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use serde_json::Value;
use slimclr_core::event::Event;

use crate::{
    files::{create_folder, write_atomically},
    run_folder::RunFolder,
};

/// Sub-folder of an experiment with the recordings of its arms.
const RECORDINGS: &str = "recordings";
/// Steps that a recording has at most, besides the last.
const STEPS: usize = 500;
/// Digits of the numbers of steps and of interference, which are most of the file.
const DIGITS: usize = 4;

/// Writes the events of a run, compressed, into the folder of its experiment.
///
/// # Errors
/// If they cannot be read or written.
pub fn write(run: &RunFolder, experiment: &Path) -> Result<()> {
    let folder = experiment.join(RECORDINGS);
    create_folder(&folder)?;
    write_atomically(&folder.join(format!("{}.jsonl.gz", run.name())), &compress(&run.events()?)?)
}

/// Returns `events` as compressed JSON Lines.
fn compress(events: &[Event]) -> Result<Vec<u8>> {
    let mut file = GzBuilder::new().write(Vec::new(), Compression::best());
    for event in thinned(events) {
        let mut line = serde_json::to_value(event)?;
        if let Event::Step(_) | Event::Interference(_) = event {
            round(&mut line);
        }
        serde_json::to_writer(&mut file, &line)?;
        file.write_all(b"\n")?;
    }
    Ok(file.finish()?)
}

/// Returns all events except most steps: every n-th and the last are kept.
fn thinned(events: &[Event]) -> impl Iterator<Item = &Event> {
    let is_step = |event: &&Event| matches!(event, Event::Step(_));
    let steps = events.iter().filter(is_step).count();
    let every = steps.div_ceil(STEPS).max(1);
    let mut number = 0;
    events.iter().filter(move |event| {
        number += usize::from(is_step(event));
        !is_step(event) || number == steps || number.is_multiple_of(every)
    })
}

/// Rounds all fractions in a value.
fn round(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let rounded = number.as_f64().and_then(|number| format!("{number:.*e}", DIGITS - 1).parse::<f64>().ok());
            if let Some(rounded) = rounded {
                *value = rounded.into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(round),
        Value::Object(fields) => fields.values_mut().for_each(round),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use slimclr_core::event::Step;

    use super::*;
    use crate::experiment::fixture::{FINISHED, probed, started};

    #[test]
    fn a_recording_has_the_events_with_fewer_steps_and_digits() {
        let step = |step| Event::Step(Step { step, loss: 5.123_456_7, images_per_second: 32.0, ..Step::default() });
        let mut events = vec![started(&[1.0])];
        events.extend((1..=1201).map(step));
        events.extend([FINISHED, probed(1.0, Some(0.123_456))]);
        let mut lines = String::new();
        GzDecoder::new(&compress(&events).unwrap()[..]).read_to_string(&mut lines).unwrap();
        let read: Vec<Event> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let steps = read.iter().filter_map(|event| match event {
            Event::Step(step) => Some((step.step, step.loss)),
            _ => None,
        });
        let steps: Vec<(u64, f64)> = steps.collect();
        assert_eq!((steps.len(), steps[0], steps[399], steps[400]), (401, (3, 5.123), (1200, 5.123), (1201, 5.123)));
        let others = |events: &[Event]| {
            events.iter().filter(|event| !matches!(event, Event::Step(_))).cloned().collect::<Vec<_>>()
        };
        assert_eq!(others(&read), others(&events));
    }
}
