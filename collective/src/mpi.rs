//! MPI, which connects processes on one machine or on many.

use std::{
    fmt::{self, Debug, Formatter},
    io::{Write, stderr},
    mem, panic,
    process::exit,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use mpi::{
    Threading,
    collective::{CommunicatorCollectives, Root, SystemOperation},
    environment::{self, Universe},
    topology::{Communicator, SimpleCommunicator},
};
use slimclr_kernels::ranks::Collectives;
use thiserror::Error;

use crate::{launch, place::Place};

/// Values that are summed at once. In pieces of this size, a sum is about twice as fast as in one call.
const PIECE: usize = 1 << 18;
/// Bytes that are sent at once. MPI counts in 32 bits.
const BYTES: usize = 1 << 26;
/// How long a process waits at the start for the others.
const START: Duration = Duration::from_secs(300);

/// Why a process cannot join the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JoinError {
    /// The launcher is that of another MPI, or of something else: every process is alone.
    #[error(
        "the launcher has started {0} processes, but each is alone: this program was built with {library}; use its \
         launcher, or build the program with the launcher's MPI",
        library = library()
    )]
    Alone(usize),
    /// The library allows no calls by threads.
    #[error("{} was built without threads: use another build of it", library())]
    Threads,
}

/// Returns the name of the MPI library.
fn library() -> String {
    let version = environment::library_version().unwrap_or_default();
    version.split([',', '\n']).next().unwrap_or_default().trim().to_owned()
}

/// The processes that a launcher has started to train a run together. When it is dropped, this process waits for the
/// others to end, too.
pub struct Job {
    engine: Arc<Mpi>,
    place: Place,
    _universe: Universe,
}

impl Job {
    /// Joins the other processes, if a launcher has started this one. From then on, a panic on any thread ends all.
    ///
    /// # Errors
    /// If the launcher has started several processes, but MPI does not connect them.
    pub fn join() -> Result<Option<Self>, JoinError> {
        let Some(processes) = launch::processes() else { return Ok(None) };
        let joined = exit_unless_joined();
        let Some((universe, threading)) = environment::initialize_with_threading(Threading::Serialized) else {
            return Ok(None);
        };
        drop(joined);
        let world = universe.world();
        let [rank, count] = [world.rank(), world.size()].map(|number| number as usize);
        if count < processes {
            return Err(JoinError::Alone(processes));
        }
        if threading < Threading::Serialized {
            return Err(JoinError::Threads);
        }
        let place = Place::of(&world);
        let state = State { world, sum: Vec::new(), seconds: 0.0 };
        let engine = Arc::new(Mpi { rank, count, state: Mutex::new(state) });
        end_all_on_panic(rank);
        Ok(Some(Self { engine, place, _universe: universe }))
    }

    /// Returns what connects the processes.
    pub fn engine(&self) -> Arc<dyn Collectives> {
        self.engine.clone()
    }

    /// Returns the place of this process on its machine.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Ends all processes, this one with the exit code `code`.
    pub fn abort(&self, code: u8) -> ! {
        SimpleCommunicator::world().abort(code.into())
    }
}

/// Returns the name of this machine.
pub fn host() -> String {
    environment::processor_name().unwrap_or_else(|_| "this machine".into())
}

/// Ends the process if it has not joined the others in time: one of them never came. Dropping the sender calls it off.
fn exit_unless_joined() -> mpsc::Sender<()> {
    let (joined, waiting) = mpsc::channel();
    thread::spawn(move || {
        if waiting.recv_timeout(START) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = writeln!(stderr(), "error: not all processes have started within {} s", START.as_secs());
            exit(2);
        }
    });
    joined
}

/// Makes a panic end all processes. Unwinding would wait for the others, which wait for this one.
fn end_all_on_panic(rank: usize) {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        report(panic);
        let _ = writeln!(stderr(), "error: process {rank} on {} has failed, so all end", host());
        SimpleCommunicator::world().abort(101)
    }));
}

/// Connects the processes.
struct Mpi {
    rank: usize,
    count: usize,
    state: Mutex<State>,
}

/// What the calls of MPI use, one at a time.
struct State {
    world: SimpleCommunicator,
    /// The memory of the latest sum's terms, for the next one.
    sum: Vec<f32>,
    /// Seconds spent in calls.
    seconds: f64,
}

// SAFETY: MPI was initialised for calls from any thread, one at a time, which is what the mutex around this ensures.
unsafe impl Send for State {}

impl Debug for Mpi {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        out.debug_struct("Mpi").field("rank", &self.rank).field("count", &self.count).finish_non_exhaustive()
    }
}

impl Mpi {
    /// Makes calls, and measures how long they take.
    fn call<T>(&self, calls: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().expect("a panic ends the process");
        let start = Instant::now();
        let result = calls(&mut state);
        state.seconds += start.elapsed().as_secs_f64();
        result
    }
}

impl Collectives for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.count
    }

    fn sum(&self, values: Vec<f32>) -> Vec<f32> {
        self.call(|State { world, sum, .. }| {
            sum.resize(values.len(), 0.0);
            for (values, sum) in values.chunks(PIECE).zip(sum.chunks_mut(PIECE)) {
                world.all_reduce_into(values, sum, SystemOperation::sum());
            }
            mem::replace(sum, values)
        })
    }

    fn gather(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.call(|State { world, .. }| {
            let mut all = vec![0_u8; self.count * bytes.len()];
            for (piece, start) in bytes.chunks(BYTES).zip((0..).step_by(BYTES)) {
                let mut of_all = vec![0_u8; self.count * piece.len()];
                world.all_gather_into(piece, &mut of_all[..]);
                for (rank, piece) in of_all.chunks_exact(piece.len()).enumerate() {
                    all[rank * bytes.len() + start..][..piece.len()].copy_from_slice(piece);
                }
            }
            all
        })
    }

    fn broadcast(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        self.call(|State { world, .. }| {
            let first = world.process_at_rank(0);
            let mut length = bytes.len() as u64;
            first.broadcast_into(&mut length);
            bytes.resize(length as usize, 0);
            bytes.chunks_mut(BYTES).for_each(|piece| first.broadcast_into(piece));
        });
        bytes
    }

    fn highest(&self, number: u64) -> u64 {
        self.call(|State { world, .. }| {
            let mut highest = 0_u64;
            world.all_reduce_into(&number, &mut highest, SystemOperation::max());
            highest
        })
    }

    fn seconds(&self) -> f64 {
        self.state.lock().expect("a panic ends the process").seconds
    }
}
