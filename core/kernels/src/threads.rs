//! Loops over all cores. In the browser they run on the caller's thread.

#[cfg(not(target_family = "wasm"))]
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

#[cfg(not(target_family = "wasm"))]
use rayon::prelude::*;

/// How long a worker spins without work; longer than any single-threaded part of a step.
#[cfg(not(target_family = "wasm"))]
const AWAKE: Duration = Duration::from_millis(10);

/// Runs `work` inside the rayon pool, and keeps the other workers spinning until it returns: most loops of a step are
/// shorter than a wake-up. A worker gives up after 10 ms without work, because it may have started to spin inside a
/// join that the caller is waiting for.
pub fn with_awake_workers<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    #[cfg(not(target_family = "wasm"))]
    {
        let done = AtomicBool::new(false);
        rayon::scope(|scope| {
            let (done, own) = (&done, rayon::current_thread_index());
            scope.spawn_broadcast(move |_, thread| {
                let mut worked = Instant::now();
                while Some(thread.index()) != own && !done.load(Ordering::Relaxed) && worked.elapsed() < AWAKE {
                    match rayon::yield_now() {
                        Some(rayon::Yield::Executed) => worked = Instant::now(),
                        _ => std::thread::yield_now(),
                    }
                }
            });
            let _guard = SetOnDrop(done);
            work()
        })
    }
    #[cfg(target_family = "wasm")]
    work()
}

/// Sets its flag when dropped, even during a panic.
#[cfg(not(target_family = "wasm"))]
struct SetOnDrop<'a>(&'a AtomicBool);

#[cfg(not(target_family = "wasm"))]
impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Computes both results, the second on another thread if one is free.
pub fn join<A: Send, B: Send>(first: impl FnOnce() -> A + Send, second: impl FnOnce() -> B + Send) -> (A, B) {
    #[cfg(not(target_family = "wasm"))]
    return rayon::join(first, second);
    #[cfg(target_family = "wasm")]
    (first(), second())
}

/// Returns the number of worker threads.
pub fn threads() -> usize {
    #[cfg(not(target_family = "wasm"))]
    return rayon::current_num_threads();
    #[cfg(target_family = "wasm")]
    1
}

/// Returns how many of a loop's `count` parts a thread takes at a time: few enough that all threads finish at about the
/// same time, even if some are slower.
fn share(count: usize) -> usize {
    count.div_ceil(16 * threads()).max(1)
}

/// Computes a result for each of `0..count`, on all cores.
pub fn map<T: Send>(count: usize, compute: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
    #[cfg(not(target_family = "wasm"))]
    return (0..count).into_par_iter().with_max_len(share(count)).map(compute).collect();
    #[cfg(target_family = "wasm")]
    (0..count).map(compute).collect()
}

/// Calls `work` for each chunk of `size` values with the chunk's index, on all cores. Each core has its own state.
pub fn for_each_chunk<T: Send, S>(
    values: &mut [T],
    size: usize,
    state: impl Fn() -> S + Sync + Send,
    work: impl Fn(&mut S, usize, &mut [T]) + Sync + Send,
) {
    let share = share(values.len() / size);
    let shares = values.chunks_mut(size * share).enumerate();
    let run = |state: &mut S, (number, values): (usize, &mut [T])| {
        let numbers = number * share..;
        numbers.zip(values.chunks_exact_mut(size)).for_each(|(number, chunk)| work(state, number, chunk));
    };
    #[cfg(not(target_family = "wasm"))]
    {
        let workers = threads().min(shares.len());
        let shares = Mutex::new(shares);
        let next = || shares.lock().expect("no thread panics while it takes a share").next();
        let take = || {
            let Some(first) = next() else { return };
            let mut state = state();
            run(&mut state, first);
            while let Some(share) = next() {
                run(&mut state, share);
            }
        };
        rayon::scope(|scope| {
            (1..workers).for_each(|_| scope.spawn(|_| take()));
            take();
        });
    }
    #[cfg(target_family = "wasm")]
    {
        let mut state = state();
        shares.for_each(|share| run(&mut state, share));
    }
}
