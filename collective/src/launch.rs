//! Launchers, which start several processes of a program.

use std::env;

/// Variables in which launchers say how many processes they have started: OpenMPI's mpirun, that of MPICH and Intel MPI,
/// that of MVAPICH, srun, torchrun.
const COUNTS: [&str; 5] =
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "WORLD_SIZE"];

/// Returns how many processes a launcher has started, if one has started this process.
pub fn processes() -> Option<usize> {
    processes_by(|name| env::var(name).ok())
}

fn processes_by(variable: impl Fn(&str) -> Option<String>) -> Option<usize> {
    COUNTS.iter().filter_map(|name| variable(name)?.trim().parse().ok()).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_say_how_many_processes_there_are() {
        let among = |name, value: &str| processes_by(|asked| (asked == name).then(|| value.to_owned()));
        assert_eq!(among("OMPI_COMM_WORLD_SIZE", "4"), Some(4));
        assert_eq!(among("SLURM_STEP_NUM_TASKS", "1"), Some(1));
        assert_eq!(among("WORLD_SIZE", "many"), None);
        assert_eq!(among("SLURM_NTASKS", "8"), None, "set in a batch script, too, which is one process");
    }
}
