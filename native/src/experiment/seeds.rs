//! Arms that are trained once with each of several seeds.

use std::{fmt::Display, fs, path::Path};

/// Names the arm that trains `what` with a seed.
pub fn arm_name(what: impl Display, seed: u64) -> String {
    format!("{what}-seed{seed}")
}

/// Returns the seeds of this command's arms and of those that have a folder in `out`, ascending.
pub fn so_far(out: &Path, of_command: &[u64]) -> Vec<u64> {
    let entries = fs::read_dir(out).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let found = names.filter_map(|name| name.rsplit_once("-seed")?.1.parse().ok());
    let mut seeds: Vec<u64> = found.chain(of_command.iter().copied()).collect();
    seeds.sort_unstable();
    seeds.dedup();
    seeds
}

/// Says what ± means, and what it leaves out.
pub fn about(seeds: &[u64]) -> String {
    match seeds {
        [seed] => {
            format!("Each network was trained once, with seed {seed}; the variance between seeds is not included.")
        }
        seeds => {
            let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
            format!("± is the standard error over the seeds {}.", seeds.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_of_earlier_commands_count() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(so_far(&folder.path().join("none"), &[2, 0]), [0, 2]);
        for name in
            [arm_name("disco-0.5", 1).as_str(), arm_name("slimclr-mocov2", 2).as_str(), "teacher", "seed-0.5-seedx"]
        {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        assert_eq!(so_far(folder.path(), &[0, 1]), [0, 1, 2]);
    }
}
