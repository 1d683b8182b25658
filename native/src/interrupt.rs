//! Interruptions: Ctrl-C (SIGINT), SIGTERM and SIGHUP.

use std::{
    mem,
    process::exit,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use slimclr_core::command::Command;

use crate::terminal;

/// The exit code of an interrupted program: 128 + SIGINT.
pub const EXIT_CODE: u8 = 130;

/// Interruptions that follow the first one within this time are the same: a terminal that closes hangs up twice.
const SAME: Duration = Duration::from_secs(1);

/// What the next interruption does.
enum Next {
    /// Ends the program.
    Exit,
    /// Sends the command to stop, and says this.
    Stop(UnboundedSender<Command>, &'static str),
    /// Ends the program, unless it is still the interruption of that time.
    ExitUnlessSame(Instant),
}

static NEXT: Mutex<Next> = Mutex::new(Next::Exit);

/// Makes an interruption end the program at once, with exit code 130, unless something [listens](listen).
pub fn handle() {
    let hangs_up = hang_up::is_heard();
    // Fails only if there is a handler already.
    let _ = ctrlc::set_handler(|| {
        let mut next = next();
        match mem::replace(&mut *next, Next::Exit) {
            Next::ExitUnlessSame(time) if time.elapsed() < SAME => *next = Next::ExitUnlessSame(time),
            Next::Stop(commands, message) if commands.unbounded_send(Command::Stop).is_ok() => {
                *next = Next::ExitUnlessSame(Instant::now());
                // Writing may take long, and must not delay the next interruption.
                drop(next);
                terminal::note(message);
            }
            _ => {
                terminal::clear();
                exit(EXIT_CODE.into());
            }
        }
    });
    if !hangs_up {
        hang_up::ignore();
    }
}

/// Returns a receiver of the command to stop, which the next interruption sends. `message` is shown then. One more
/// interruption ends the program at once, as does the first if the receiver was dropped.
pub fn listen(message: &'static str) -> UnboundedReceiver<Command> {
    let (commands, received) = unbounded();
    *next() = Next::Stop(commands, message);
    received
}

/// Returns whether the command to stop has been sent, even if the receiver no longer waited for it.
pub fn has_stopped() -> bool {
    matches!(*next(), Next::ExitUnlessSame(_))
}

fn next() -> MutexGuard<'static, Next> {
    NEXT.lock().expect("no thread panics while it holds the lock")
}

/// SIGHUP, which programs started by `nohup` ignore, because they should continue when the terminal closes.
#[cfg(unix)]
mod hang_up {
    use std::{mem, ptr};

    pub fn is_heard() -> bool {
        // SAFETY: a zeroed action is a valid one, and it is only read into.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            libc::sigaction(libc::SIGHUP, ptr::null(), &mut action);
            action.sa_sigaction != libc::SIG_IGN
        }
    }

    pub fn ignore() {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    }
}

/// Without SIGHUP there is nothing to ignore.
#[cfg(not(unix))]
mod hang_up {
    pub fn is_heard() -> bool {
        true
    }

    pub fn ignore() {}
}
