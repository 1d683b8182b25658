//! The rates of the same training step in PyTorch.

use std::fmt;

use serde::Deserialize;

use super::process::{End, last_message};

/// PyTorch's rates on this machine.
#[derive(Debug, PartialEq)]
pub struct PyTorch {
    /// On the CPU.
    pub cpu: Rate,
    /// On CUDA; also compared with Vulkan and WebGPU, which PyTorch does not have.
    pub cuda: Rate,
}

/// PyTorch's rate, or why there is none.
#[derive(Debug, PartialEq)]
pub enum Rate {
    /// It was not measured, as there is nothing to compare it with.
    NotMeasured,
    /// PyTorch is not installed, has no such device, or failed; with Python's message.
    Failed(String),
    /// The measurement.
    Measured(Measured),
}

/// The line that the Python program prints.
#[derive(Debug, PartialEq, Deserialize)]
pub struct Measured {
    /// Training images per second.
    pub images_per_second: f64,
    device: String,
    /// Whether one backward pass for all widths was faster, or one for each width.
    backward: String,
    /// Whether `channels_last` was faster.
    channels_last: bool,
    version: String,
    threads: u64,
    tf32: bool,
}

impl Rate {
    /// Reads the rate from how the Python program ended and what it printed.
    pub fn read(end: End, output: &str) -> Self {
        let message = last_message(output).unwrap_or("it printed nothing");
        match (end, serde_json::from_str(message)) {
            (End::Code(0), Ok(measured)) => Self::Measured(measured),
            (End::Code(_), _) => Self::Failed(message.into()),
            (end, _) => Self::Failed(format!("Python {end}: {message}")),
        }
    }

    /// Returns the images per second if they were measured.
    pub fn images_per_second(&self) -> Option<f64> {
        match self {
            Self::Measured(measured) => Some(measured.images_per_second),
            Self::NotMeasured | Self::Failed(_) => None,
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { version, device, threads, backward, .. } = self;
        let layout = if self.channels_last { "channels last" } else { "channels first" };
        let backward = if backward == "joint" { "one backward for all widths" } else { "a backward per width" };
        write!(f, "{version} on {device}")?;
        if device == "cpu" {
            write!(f, " with {threads} threads")?;
        }
        write!(f, ", {backward}, {layout} (the fastest variant)")?;
        if self.tf32 { f.write_str(", convolutions in TF32 as by default") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"images_per_second": 80.5, "device": "cpu", "backward": "joint", "channels_last": true,
        "version": "2.11.0", "threads": 2, "tf32": false}"#;

    #[test]
    fn the_rate_is_the_last_line() {
        let rate = Rate::read(End::Code(0), &format!("a warning\n{}\n", LINE.replace('\n', "")));
        assert_eq!(rate.images_per_second(), Some(80.5));
        let Rate::Measured(measured) = rate else { panic!("not measured") };
        assert!(
            measured
                .to_string()
                .starts_with("2.11.0 on cpu with 2 threads, one backward for all widths, channels last")
        );
    }

    #[test]
    fn without_pytorch_the_reason_is_pythons_message() {
        let output = "Traceback\nModuleNotFoundError: No module named 'torch'\n";
        assert_eq!(
            Rate::read(End::Code(1), output),
            Rate::Failed("ModuleNotFoundError: No module named 'torch'".into())
        );
    }
}
