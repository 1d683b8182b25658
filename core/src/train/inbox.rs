//! The commands to a run.

use std::{
    collections::VecDeque,
    future::{self, Future},
    pin::pin,
};

use futures::{
    StreamExt,
    channel::mpsc::UnboundedReceiver,
    future::{Either, select},
};

use crate::{command::Command, kernel::ranks::Ranks};

/// The commands to a run, in the order in which they are handled. Several ranks handle those to rank 0 together, and stop
/// together once any of them is to.
pub(super) struct Inbox {
    /// No more arrive once the sender is dropped.
    commands: UnboundedReceiver<Command>,
    /// Those that arrived while the run waited for something else.
    postponed: VecDeque<Command>,
    ranks: Ranks,
}

impl Inbox {
    pub(super) fn new(commands: UnboundedReceiver<Command>, ranks: Ranks) -> Self {
        Self { commands, postponed: VecDeque::new(), ranks }
    }

    /// Returns the next command, if there is one.
    pub(super) fn try_next(&mut self) -> Option<Command> {
        let own = self.postponed.pop_front().or_else(|| self.commands.try_recv().ok());
        self.agreed(own)
    }

    /// Waits for the next command; returns `None` if there will be none.
    pub(super) async fn next(&mut self) -> Option<Command> {
        let own = match self.postponed.pop_front() {
            Some(command) => Some(command),
            // The others wait for rank 0.
            None if self.ranks.rank() > 0 => None,
            None => self.commands.next().await,
        };
        self.agreed(own)
    }

    /// Returns what all ranks do, each of which has the command `own`, if any.
    fn agreed(&self, own: Option<Command>) -> Option<Command> {
        if self.ranks.is_single() {
            return own;
        }
        let number = match &own {
            Some(Command::Stop) => 2,
            Some(_) if self.ranks.rank() == 0 => 1,
            _ => 0,
        };
        match self.ranks.agree(number) {
            0 => None,
            1 => {
                let written = own.and_then(|command| serde_json::to_vec(&command).ok());
                serde_json::from_slice(&self.ranks.broadcast(written.unwrap_or_default())).ok()
            }
            _ => Some(Command::Stop),
        }
    }

    /// Returns the next of the commands that arrived while the run waited for something else.
    pub(super) fn next_postponed(&mut self) -> Option<Command> {
        self.postponed.pop_front()
    }

    /// Waits for `work`. If the command to stop comes first, drops the work and returns `None`; other commands wait. One
    /// of several ranks does not leave the others alone: there, the command to stop waits, too.
    pub(super) async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        if !self.ranks.is_single() {
            return Some(work.await);
        }
        let stopped = async {
            while let Some(command) = self.commands.next().await {
                if command == Command::Stop {
                    return;
                }
                self.postponed.push_back(command);
            }
            future::pending().await
        };
        match select(pin!(stopped), pin!(work)).await {
            Either::Left(((), _)) => None,
            Either::Right((result, _)) => Some(result),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{channel::mpsc::unbounded, executor::block_on};

    use super::*;
    use crate::cancellable::yield_now;

    #[test]
    fn a_command_to_stop_ends_the_work_and_others_wait() {
        let (commands, received) = unbounded();
        let mut inbox = Inbox::new(received, Ranks::default());
        commands.unbounded_send(Command::Pause).unwrap();
        assert_eq!(block_on(inbox.unless_stopped(async { 7 })), Some(7));
        let mut turns = 0;
        let endless = async {
            loop {
                turns += 1;
                if turns == 3 {
                    commands.unbounded_send(Command::SingleStep).unwrap();
                    commands.unbounded_send(Command::Stop).unwrap();
                }
                yield_now().await;
            }
        };
        assert_eq!(block_on(inbox.unless_stopped::<()>(endless)), None);
        assert_eq!(turns, 3);
        drop(commands);
        assert_eq!([inbox.try_next(), block_on(inbox.next())], [Some(Command::Pause), Some(Command::SingleStep)]);
        assert_eq!(inbox.try_next(), None);
        assert_eq!(block_on(inbox.unless_stopped(yield_now())), Some(()), "nobody can stop it");
    }
}
