//! The memory of this process.

/// Returns the most memory that this process has had at once, in bytes; `None` where the system does not say.
#[cfg(unix)]
pub fn peak_memory() -> Option<u64> {
    // SAFETY: zeros are a valid structure, which the call fills.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::getrusage(libc::RUSAGE_SELF, &mut usage) == 0).then_some(usage)
    };
    // Apple counts bytes, other systems kilobytes.
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    Some(u64::try_from(usage?.ru_maxrss).ok()? * unit)
}

/// Returns the most memory that this process has had at once, in bytes; `None` where the system does not say.
#[cfg(not(unix))]
pub fn peak_memory() -> Option<u64> {
    None
}
