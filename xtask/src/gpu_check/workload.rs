//! The workloads that are timed: training steps at four widths, the same in slimclr and in PyTorch.

use std::fmt;

use super::{CPU, GpuCheck};

/// Keys in the queue of the CIFAR ResNet, as in the CIFAR-10 recipe.
pub const CIFAR_QUEUE: u64 = 4096;

/// A training step that is timed.
pub struct Workload {
    /// The kind of network, as both programs name it.
    backbone: &'static str,
    depth: usize,
    image_size: u64,
    batch: u64,
    queue: u64,
    /// Whether convolutions and matrix products are in bf16; the rest is in f32.
    bf16: bool,
    /// `None` if the CPU would take minutes for a step.
    cpu: Option<Timing>,
    gpu: Timing,
}

/// The steps of a run that are timed, in both programs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Steps before the timed ones.
    pub warmup: u64,
    /// Timed steps.
    pub steps: u64,
    /// Steps between two readings of the clock in PyTorch. Each reading waits for the device, which would slow down a
    /// GPU at every step; slimclr reads the clock about four times a second.
    pub stretch: u64,
}

impl Workload {
    /// Returns all workloads.
    pub fn all(options: &GpuCheck) -> [Self; 2] {
        let &GpuCheck { depth, batch, gpu_steps, cpu_steps, .. } = options;
        let long_steps = gpu_steps.div_ceil(5);
        [
            Self {
                backbone: "cifar",
                depth,
                image_size: 32,
                batch,
                queue: CIFAR_QUEUE,
                bf16: false,
                cpu: Some(Timing { warmup: 2, steps: cpu_steps, stretch: 1 }),
                gpu: Timing { warmup: 20, steps: gpu_steps, stretch: gpu_steps.min(10) },
            },
            Self {
                backbone: "resnet",
                depth: 50,
                image_size: 224,
                batch: 256,
                queue: 65_536,
                bf16: true,
                cpu: None,
                gpu: Timing { warmup: 4, steps: long_steps, stretch: long_steps.min(2) },
            },
        ]
    }

    /// Returns the steps to time on this device; `None` if it is not timed there.
    pub fn timing(&self, device: &str) -> Option<Timing> {
        if device == CPU { self.cpu } else { Some(self.gpu) }
    }

    /// Returns whether every device must be able to run it; not all have bf16 and enough memory.
    pub fn is_for_all(&self) -> bool {
        self.cpu.is_some()
    }

    /// Returns a short name for files.
    pub fn slug(&self) -> String {
        format!("{}-{}", self.backbone, self.depth)
    }

    /// Returns the flags for slimclr.
    pub fn slimclr_flags(&self) -> Vec<String> {
        [self.network_flags(), vec!["--precision".into(), self.precision().into()]].concat()
    }

    /// Returns the flags for PyTorch's program.
    pub fn pytorch_flags(&self) -> Vec<String> {
        let bf16 = self.bf16.then(|| "--bf16".into());
        self.network_flags().into_iter().chain(bf16).collect()
    }

    /// Returns the flags that both programs have.
    fn network_flags(&self) -> Vec<String> {
        flat([
            ("--backbone", self.backbone.into()),
            ("--depth", self.depth.to_string()),
            ("--image-size", self.image_size.to_string()),
            ("--batch", self.batch.to_string()),
            ("--queue", self.queue.to_string()),
        ])
    }

    fn precision(&self) -> &'static str {
        if self.bf16 { "bf16" } else { "f32" }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { depth, image_size, batch, .. } = self;
        let family = if self.backbone == "cifar" { "CIFAR ResNet" } else { "ResNet" };
        write!(f, "{family}-{depth}, {image_size} pixels, batch {batch}, {}", self.precision())
    }
}

impl Timing {
    /// Returns the flags for PyTorch's program.
    pub fn pytorch_flags(&self) -> Vec<String> {
        flat([
            ("--warmup", self.warmup.to_string()),
            ("--steps", self.steps.to_string()),
            ("--stretch", self.stretch.to_string()),
        ])
    }
}

fn flat<const N: usize>(options: [(&str, String); N]) -> Vec<String> {
    options.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        gpu_check::tests::options,
        pytorch::{STEP, unpack},
    };

    #[test]
    fn both_programs_get_the_same_network() {
        let [cifar, resnet] = Workload::all(&options(&["--depth", "32", "--batch", "128"]));
        let small = "--backbone cifar --depth 32 --image-size 32 --batch 128 --queue 4096";
        assert_eq!(cifar.to_string(), "CIFAR ResNet-32, 32 pixels, batch 128, f32");
        assert_eq!(cifar.slimclr_flags().join(" "), format!("{small} --precision f32"));
        assert_eq!(cifar.pytorch_flags().join(" "), small);
        let large = "--backbone resnet --depth 50 --image-size 224 --batch 256 --queue 65536";
        assert_eq!(resnet.to_string(), "ResNet-50, 224 pixels, batch 256, bf16");
        assert_eq!(resnet.slimclr_flags().join(" "), format!("{large} --precision bf16"));
        assert_eq!(resnet.pytorch_flags().join(" "), format!("{large} --bf16"));
    }

    #[test]
    fn pytorchs_program_has_every_flag() {
        let folder = tempfile::tempdir().unwrap();
        let program = fs::read_to_string(unpack(folder.path()).unwrap().join(STEP)).unwrap();
        for workload in Workload::all(&options(&[])) {
            let flags = [workload.pytorch_flags(), workload.gpu.pytorch_flags()].concat();
            for flag in flags.iter().filter(|word| word.starts_with("--")) {
                assert!(program.contains(&format!("add_argument(\"{flag}\"")), "{flag}");
            }
        }
    }

    #[test]
    fn resnet_50_has_fewer_steps_and_none_on_the_cpu() {
        let [cifar, resnet] = Workload::all(&options(&["--gpu-steps", "100", "--cpu-steps", "3"]));
        assert_eq!(cifar.timing(CPU), Some(Timing { warmup: 2, steps: 3, stretch: 1 }));
        assert_eq!(cifar.timing("cuda:1"), Some(Timing { warmup: 20, steps: 100, stretch: 10 }));
        assert_eq!(resnet.timing(CPU), None);
        assert_eq!(resnet.timing("cuda:1"), Some(Timing { warmup: 4, steps: 20, stretch: 2 }));
        let [_, resnet] = Workload::all(&options(&["--gpu-steps", "1"]));
        assert_eq!(resnet.timing("vulkan"), Some(Timing { warmup: 4, steps: 1, stretch: 1 }));
    }
}
