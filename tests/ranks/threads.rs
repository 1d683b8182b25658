//! Ranks that are threads of the test's process.

use std::{
    process::exit,
    sync::{Arc, Barrier, Mutex},
    thread,
};

use rayon::ThreadPoolBuilder;
use slimclr_core::kernel::ranks::{Collectives, Ranks};

/// What the threads share: what each has given, and a barrier before and after it is read.
#[derive(Debug)]
struct Shared {
    given: Mutex<Vec<Vec<u8>>>,
    barrier: Barrier,
}

/// One of the threads.
#[derive(Debug)]
struct Thread {
    rank: usize,
    count: usize,
    shared: Arc<Shared>,
}

impl Thread {
    /// Returns what every thread gives.
    fn exchange(&self, own: Vec<u8>) -> Vec<Vec<u8>> {
        self.shared.given.lock().unwrap()[self.rank] = own;
        self.shared.barrier.wait();
        let all = self.shared.given.lock().unwrap().clone();
        self.shared.barrier.wait();
        all
    }
}

impl Collectives for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.count
    }

    fn sum(&self, values: Vec<f32>) -> Vec<f32> {
        let all = self.exchange(values.iter().flat_map(|value| value.to_le_bytes()).collect());
        let mut sum = vec![0.0; values.len()];
        for of_rank in all {
            assert_eq!(of_rank.len(), 4 * sum.len(), "the ranks give different numbers of values");
            let values = of_rank.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        sum
    }

    fn gather(&self, bytes: Vec<u8>) -> Vec<u8> {
        let length = bytes.len();
        let all = self.exchange(bytes);
        assert!(all.iter().all(|of_rank| of_rank.len() == length), "the ranks give different numbers of bytes");
        all.concat()
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.exchange(bytes).swap_remove(0)
    }

    fn highest(&self, number: u64) -> u64 {
        let all = self.exchange(number.to_le_bytes().to_vec());
        let numbers = all.into_iter().map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
        numbers.max().unwrap()
    }

    fn seconds(&self) -> f64 {
        0.0
    }
}

/// Ends the process with the thread, for which the others would wait forever.
struct ExitOnPanic;

impl Drop for ExitOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            exit(101);
        }
    }
}

/// Does `work` on `count` ranks at once, each with its own thread pool. Returns the results in the order of ranks.
pub fn on_ranks<T: Send>(count: usize, work: impl Fn(Ranks) -> T + Sync) -> Vec<T> {
    let shared = Arc::new(Shared { given: Mutex::new(vec![Vec::new(); count]), barrier: Barrier::new(count) });
    let of_rank = |rank| {
        let _guard = ExitOnPanic;
        let engine = Arc::new(Thread { rank, count, shared: shared.clone() });
        let pool = ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        pool.install(|| work(Ranks::new(engine)))
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|rank| scope.spawn(move || of_rank(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
