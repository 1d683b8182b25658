//! Progress of a long task.

use std::{
    env,
    io::Write,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use slimclr_core::data::names::shown;

/// Time between lines where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// The bar on the terminal, which lines must not be written into.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Whether nothing is shown: another process says it.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Shows from now on what the program says only if `speaks` holds.
#[cfg(feature = "mpi")]
pub fn be_quiet_unless(speaks: bool) {
    QUIET.store(!speaks, Ordering::Relaxed);
}

fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Writes a line of the result to standard output.
pub fn print(line: &str) {
    write_line(std::io::stdout(), line);
}

/// Writes bytes of the result to standard output as they are. A closed pipe is ignored, as everywhere.
pub fn write(bytes: &[u8]) {
    if is_quiet() {
        return;
    }
    let mut stream = std::io::stdout();
    let _ = stream.write_all(bytes).and_then(|()| stream.flush());
}

/// Writes a line to standard error.
pub fn note(line: &str) {
    write_line(std::io::stderr(), line);
}

/// Writes a warning to standard error.
pub fn warn(warning: &str) {
    note(&format!("warning: {warning}"));
}

/// Writes a line, or several, above the progress bar. All output goes through here: it ignores a closed pipe, a full disk
/// and a closed terminal, which must not end a run, and escapes control characters, which names of files may have.
fn write_line(mut stream: impl Write, line: &str) {
    if is_quiet() {
        return;
    }
    // Cloned, so that a line of another thread does not wait for the lock of this one.
    let bar = SHOWN.lock().expect("no thread panics while it holds the lock").clone();
    let lines: String = line.split('\n').map(|line| shown(line.as_bytes()) + "\n").collect();
    // One call, so that lines of several threads do not mix.
    let line = lines.into_bytes();
    match bar {
        Some(bar) => bar.suspend(|| drop(stream.write_all(&line))),
        None => drop(stream.write_all(&line)),
    }
}

/// Shows the progress of a long task on standard error until it is dropped: a bar on a terminal; elsewhere plain lines,
/// one at the start and one every minute, so that a log shows that the program is alive.
pub struct Progress {
    bar: ProgressBar,
    /// Ends the lines when dropped; `None` on a terminal.
    lines: Option<Sender<()>>,
}

impl Progress {
    /// Shows a task of `count` parts, which `things` names.
    pub fn new(count: u64, things: &'static str, task: &str) -> Self {
        let template = format!("{{bar:24}} {{human_pos}}/{{human_len}} {things}  {{eta}} left  {{msg}}");
        let line = move |bar: &ProgressBar| {
            format!("{}: {}{}", bar.message(), parts(bar.position(), count, things), time_left(bar.eta()))
        };
        note_unless_on_terminal(&format!("{task}: {} {things}", HumanCount(count)));
        Self::show(Some(count), &template, task, line)
    }

    /// Shows a task that finds parts, of which it does not know how many there are; `things` names them.
    pub fn counter(things: &'static str, task: &str) -> Self {
        let line = move |bar: &ProgressBar| format!("{}: {} {things}", bar.message(), HumanCount(bar.position()));
        note_unless_on_terminal(task);
        Self::show(None, &format!("{{spinner}} {{msg}}: {{human_pos}} {things}"), task, line)
    }

    /// Shows a task without parts that can be counted.
    pub fn spinner(task: &str) -> Self {
        let line = |bar: &ProgressBar| format!("{}: {} so far", bar.message(), HumanDuration(bar.elapsed()));
        note_unless_on_terminal(task);
        Self::show(None, "{spinner} {msg}", task, line)
    }

    /// Shows a bar of this template, or every minute a line that is written from the bar's state.
    pub fn show(
        count: Option<u64>,
        template: &str,
        message: &str,
        line: impl Fn(&ProgressBar) -> String + Send + 'static,
    ) -> Self {
        let on_terminal = is_on_terminal();
        let target = if on_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template(template).expect("the template is valid");
        let bar = ProgressBar::with_draw_target(count, target).with_style(style).with_message(message.to_owned());
        let mut lines = None;
        if on_terminal {
            bar.enable_steady_tick(Duration::from_millis(250));
            *SHOWN.lock().expect("no thread panics while it holds the lock") = Some(bar.clone());
        } else {
            let bar = bar.clone();
            lines = Some(every(LINE_EVERY, move || note(&line(&bar))));
        }
        Self { bar, lines }
    }

    /// Returns the bar's state, which is kept without a terminal too.
    pub fn bar(&self) -> &ProgressBar {
        &self.bar
    }

    /// Counts `parts` more parts as done.
    pub fn inc(&self, parts: usize) {
        self.bar.inc(parts as u64);
    }

    /// Begins the next part of a task.
    pub fn begin(&self, task: &str) {
        self.bar.set_message(task.to_owned());
        note_unless_on_terminal(task);
    }

    /// Returns whether lines are written instead of a bar.
    pub fn is_plain(&self) -> bool {
        self.lines.is_some()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        clear();
        self.bar.finish_and_clear();
    }
}

/// Removes the bar from the terminal.
pub fn clear() {
    if let Some(bar) = SHOWN.lock().expect("no thread panics while it holds the lock").take() {
        bar.finish_and_clear();
    }
}

/// Returns whether standard error is a terminal that shows bars.
fn is_on_terminal() -> bool {
    let wants_plain_text = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !wants_plain_text && !is_quiet() && !ProgressDrawTarget::stderr().is_hidden()
}

fn note_unless_on_terminal(line: &str) {
    if !is_on_terminal() {
        note(line);
    }
}

/// Formats how many parts are done: `1,250 of 50,000 images`.
pub fn parts(done: u64, of: u64, things: &str) -> String {
    format!("{} of {} {things}", HumanCount(done), HumanCount(of))
}

/// Longer estimates mean that the rate is not known yet.
const LONGEST_ESTIMATE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Formats the time left, to be appended; empty if there is less than a second, or it is not known yet.
pub fn time_left(left: Duration) -> String {
    let is_known = left.as_secs() > 0 && left < LONGEST_ESTIMATE;
    if is_known { format!(", {} left", HumanDuration(left)) } else { String::new() }
}

/// Calls `act` every `interval` on another thread, until the returned sender is dropped.
fn every(interval: Duration, act: impl Fn() + Send + 'static) -> Sender<()> {
    let (keeper, ended) = channel();
    thread::spawn(move || {
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(interval) {
            act();
        }
    });
    keeper
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_of_centuries_is_not_shown() {
        assert_eq!(
            [0, 90, u64::MAX / 2].map(|seconds| time_left(Duration::from_secs(seconds))),
            ["", ", 2 minutes left", ""]
        );
    }

    #[test]
    fn lines_are_written_until_the_task_ends() {
        let (send, acts) = channel();
        let keeper = every(Duration::from_millis(5), move || {
            let _ = send.send(());
        });
        for _ in 0..2 {
            acts.recv_timeout(Duration::from_secs(20)).unwrap();
        }
        drop(keeper);
        // The thread ends, and with it the sender.
        while acts.recv_timeout(Duration::from_secs(20)).is_ok() {}
        assert!(acts.try_recv().is_err());
    }

    #[test]
    fn control_characters_are_escaped_but_lines_stay_lines() {
        let mut written = Vec::new();
        write_line(&mut written, "first\u{1b}[31m\nsecond: café");
        write_line(&mut written, "");
        assert_eq!(String::from_utf8(written).unwrap(), "first\\u{1b}[31m\nsecond: café\n\n");
    }

    #[test]
    fn lines_say_what_is_done_and_what_is_left() {
        assert_eq!(parts(1250, 50_000, "images"), "1,250 of 50,000 images");
        assert_eq!(time_left(Duration::from_secs(300)), ", 5 minutes left");
        assert_eq!(time_left(Duration::from_millis(900)), "");
    }
}
