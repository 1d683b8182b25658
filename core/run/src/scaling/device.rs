//! Devices of data centres, by their makers' data.

use super::collective::{Hops, Interconnect, Protocol};

/// A kind of device, in servers of eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum DeviceKind {
    /// NVIDIA V100 in a DGX-1, the paper's
    V100,
    /// NVIDIA A100 of 80 GB in a DGX A100
    A100,
    /// NVIDIA H100 in a DGX H100
    H100,
}

/// What the time of a step depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Operations per second in 32 bits, of which a multiply-accumulate has two.
    pub flops: f64,
    /// The same in 16 bits, by the matrix units.
    pub half_flops: f64,
    /// Bytes per second of its memory.
    pub memory: f64,
    /// The least time of a kernel among others, in seconds.
    pub launch: f64,
    /// What connects several devices.
    pub interconnect: Interconnect,
}

/// Time of a short kernel in a queue of them, on a V100 (Gray 2019, "Getting Started with CUDA Graphs").
const LAUNCH: f64 = 3.8e-6;

/// NCCL's latencies, by which it chooses among its algorithms (`src/graph/tuning.cc`, 2.18): its protocols LL and Simple.
/// LL sends a flag with every four bytes of data.
const NCCL: [Protocol; 2] = [
    Protocol {
        ring: Hops { base: 6.6e-6, inside: 0.6e-6, between: 2.7e-6 },
        tree: Hops { base: 6.8e-6, inside: 0.6e-6, between: 5.0e-6 },
        bandwidth: 0.25,
    },
    Protocol {
        ring: Hops { base: 8.4e-6, inside: 3.4e-6, between: 14e-6 },
        tree: Hops { base: 0.0, inside: 4.0e-6, between: 14e-6 },
        bandwidth: 1.0,
    },
];

impl DeviceKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::V100, Self::A100, Self::H100];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::V100 => "V100",
            Self::A100 => "A100",
            Self::H100 => "H100",
        }
    }

    /// Returns its data sheet's numbers: dense operations, and bandwidths in one direction. In 32 bits, matrix units are
    /// not used.
    pub fn device(self) -> Device {
        // Servers have 4 cards of 100 Gbit/s, 8 of 200 and 8 of 400.
        let [flops, half_flops, memory, inside, between] = match self {
            Self::V100 => [15.7e12, 125e12, 900e9, 150e9, 50e9],
            Self::A100 => [19.5e12, 312e12, 2039e9, 300e9, 200e9],
            Self::H100 => [67e12, 989e12, 3350e9, 450e9, 400e9],
        };
        let interconnect = Interconnect { per_server: 8, inside, between, protocols: &NCCL };
        Device { flops, half_flops, memory, launch: LAUNCH, interconnect }
    }
}
