//! The place of a process on its machine.

use std::thread::available_parallelism;

use mpi::{
    collective::{CommunicatorCollectives, SystemOperation},
    topology::{Communicator, SimpleCommunicator},
};

/// The place of this process among those on the same machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its number among them, from 0.
    pub rank: usize,
    /// How many there are.
    pub count: usize,
    /// Threads that this process should compute with: all cores that it may use, or its share of them if the others may
    /// use the same ones.
    pub threads: usize,
}

impl Place {
    /// Finds the place of this process in `world`, of which all processes ask at once.
    pub(crate) fn of(world: &SimpleCommunicator) -> Self {
        let local = world.split_shared(world.rank());
        let [rank, count] = [local.rank(), local.size()].map(|number| number as usize);
        let (cores, allowed) = (available_parallelism().map_or(1, usize::from), cores_allowed());
        let [mut lowest, mut highest] = [0_u64; 2];
        local.all_reduce_into(&allowed, &mut lowest, SystemOperation::min());
        local.all_reduce_into(&allowed, &mut highest, SystemOperation::max());
        let threads = if lowest == highest { (cores / count).max(1) } else { cores };
        Self { rank, count, threads }
    }
}

/// Returns a number that tells which cores this process may use: launchers often bind each process to its own.
fn cores_allowed() -> u64 {
    #[cfg(target_os = "linux")]
    {
        use std::{
            hash::{DefaultHasher, Hasher},
            mem, slice,
        };
        // SAFETY: all zeros are a valid, empty set, which the system overwrites; a set is plain bytes.
        let bytes = unsafe {
            let mut set: libc::cpu_set_t = mem::zeroed();
            libc::sched_getaffinity(0, size_of_val(&set), &mut set);
            slice::from_raw_parts((&raw const set).cast::<u8>(), size_of_val(&set)).to_vec()
        };
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes);
        hasher.finish()
    }
    #[cfg(not(target_os = "linux"))]
    0
}
