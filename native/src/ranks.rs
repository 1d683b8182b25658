//! The processes that train a run together, if a launcher such as mpirun has started several.
//!
//! Rank 0 writes all files and says everything. What goes wrong on another rank, that one says, and then all end.

use std::{process::ExitCode, sync::OnceLock};

use anyhow::{Result, bail};
use slimclr_collective::launch;
use slimclr_core::kernel::ranks::Ranks;

/// This process and those that it has joined.
#[derive(Debug, Default)]
struct Joined {
    ranks: Ranks,
    /// The number of this process on its machine, and how many are there.
    local: Option<(usize, usize)>,
}

static JOINED: OnceLock<Joined> = OnceLock::new();

/// Returns the ranks that train together; a single one unless the program [does so](together).
pub fn ranks() -> Ranks {
    JOINED.get().map(|joined| joined.ranks.clone()).unwrap_or_default()
}

/// Returns whether this process reports the run and writes its files.
pub fn is_first() -> bool {
    ranks().rank() == 0
}

/// Returns the number of this process on its machine and how many train there, if there are several processes.
pub fn local() -> Option<(usize, usize)> {
    JOINED.get().and_then(|joined| joined.local)
}

/// Does `work` on rank 0 first, then on the others, which find what it has written.
///
/// # Errors
/// Those of `work`.
pub fn first_then_others<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    if is_first() {
        let done = work()?;
        ranks().agree(0);
        return Ok(done);
    }
    ranks().agree(0);
    work()
}

/// Checks that no launcher has started several processes: this command does not work in parallel.
///
/// # Errors
/// If one has.
pub fn check_alone(command: &str) -> Result<()> {
    match launch::processes() {
        Some(processes) if processes > 1 => bail!(
            "{processes} processes were started, but only pretrain and finetune use several: start {command} without the \
             launcher"
        ),
        _ => Ok(()),
    }
}

/// Trains with the other processes that a launcher has started, if it has, by `train`.
///
/// # Errors
/// If this program cannot join them. An error of `train` ends all of them.
#[cfg(not(feature = "mpi"))]
pub fn together(train: impl FnOnce() -> Result<ExitCode>) -> Result<ExitCode> {
    match launch::processes() {
        Some(processes) if processes > 1 => bail!(
            "{processes} processes were started, but this program was built without MPI: build it with --features mpi, or \
             start one process"
        ),
        _ => train(),
    }
}

/// Trains with the other processes that a launcher has started, if it has, by `train`.
///
/// # Errors
/// If this program cannot join them. An error of `train` ends all of them.
#[cfg(feature = "mpi")]
pub fn together(train: impl FnOnce() -> Result<ExitCode>) -> Result<ExitCode> {
    use std::{thread, time::Duration};

    use rayon::ThreadPoolBuilder;
    use slimclr_collective::{Job, host};

    use crate::terminal;

    /// How long another rank waits before it says its error, which is often that of rank 0, too.
    const AFTER_FIRST: Duration = Duration::from_secs(1);

    let Some(job) = Job::join()? else { return train() };
    let (ranks, place) = (Ranks::new(job.engine()), job.place());
    let several = !ranks.is_single();
    let joined = Joined { ranks: ranks.clone(), local: several.then_some((place.rank, place.count)) };
    JOINED.set(joined).expect("the program joins the others once");
    if several {
        if std::env::var_os("RAYON_NUM_THREADS").is_none() {
            ThreadPoolBuilder::new().num_threads(place.threads).build_global()?;
        }
        terminal::be_quiet_unless(is_first());
    }
    match train() {
        Ok(code) => Ok(code),
        Err(error) if !several => Err(error),
        Err(error) => {
            if !is_first() {
                thread::sleep(AFTER_FIRST);
            }
            terminal::be_quiet_unless(true);
            let rank = if is_first() { String::new() } else { format!("process {} on {}: ", ranks.rank(), host()) };
            terminal::note(&format!("error: {rank}{error:#}"));
            job.abort(2)
        }
    }
}
