//! The tables of results.

use super::{
    CPU,
    agreement::Difference,
    pytorch::{PyTorch, Rate},
};
use crate::table::{cell, markdown, or_dash};

/// The result of a device.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name on the command line.
    pub device: String,
    /// The name of the hardware.
    pub adapter: Option<String>,
    /// The largest difference between a loss and the CPU's.
    pub largest: Option<Difference>,
    pub verdict: Verdict,
}

/// The speed of a workload.
#[derive(Debug)]
pub struct Speeds {
    /// The name of the workload.
    pub workload: String,
    /// Each device with slimclr's images per second, or why there are none.
    pub slimclr: Vec<(String, Result<f64, String>)>,
    pub pytorch: PyTorch,
}

/// The result of comparing a device's losses with the CPU's.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The CPU itself.
    Reference,
    /// All losses agree.
    Agrees,
    /// This is the first difference above the tolerance.
    Disagrees(Difference),
    /// The program or the machine has no such device; with the program's message.
    Absent(String),
    /// A run on it failed, for this reason.
    Failed(String),
}

impl Row {
    /// Returns whether the device agrees and is hardware: a software renderer on the CPU would take an hour to time.
    pub fn is_worth_timing(&self) -> bool {
        let adapter = self.adapter.as_deref().unwrap_or_default().to_lowercase();
        let is_software = ["llvmpipe", "lavapipe", "swiftshader", "basic render"].iter().any(|it| adapter.contains(it));
        matches!(self.verdict, Verdict::Reference | Verdict::Agrees) && !is_software
    }
}

impl Verdict {
    /// Returns whether the device is present and disagrees or fails.
    pub fn is_wrong(&self) -> bool {
        matches!(self, Self::Disagrees(_) | Self::Failed(_))
    }

    /// Returns a word for the table and a note below it.
    fn describe(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Reference => ("reference", None),
            Self::Agrees => ("agrees", None),
            Self::Disagrees(difference) => {
                ("DISAGREES", Some(format!("first difference above the tolerance: {difference}")))
            }
            Self::Absent(why) => ("absent", Some(why.clone())),
            Self::Failed(why) => ("FAILED", Some(why.clone())),
        }
    }
}

/// Returns the tables, and notes below them.
pub fn render(rows: &[Row], speeds: &[Speeds]) -> String {
    let compared = ["device", "adapter", "largest relative difference of a loss to the CPU's", "verdict"];
    let timed = ["training step", "device", "images/s", "PyTorch images/s", "ratio to PyTorch"];
    let mut text = markdown(compared, &rows.iter().map(compared_cells).collect::<Vec<_>>());
    text += "\n";
    text += &markdown(timed, &speeds.iter().flat_map(timed_cells).collect::<Vec<_>>());
    let notes = notes(rows, speeds);
    if !notes.is_empty() {
        text += "\n";
        text.extend(notes.iter().map(|note| format!("- {note}\n")));
    }
    text
}

fn compared_cells(row: &Row) -> [String; 4] {
    [
        row.device.clone(),
        or_dash(row.adapter.as_deref().map(cell)),
        or_dash(row.largest.as_ref().map(ToString::to_string)),
        row.verdict.describe().0.into(),
    ]
}

fn timed_cells(speeds: &Speeds) -> impl Iterator<Item = [String; 5]> {
    let rate = |rate: f64| {
        if rate < 100.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
    };
    speeds.slimclr.iter().map(move |(device, slimclr)| {
        let slimclr = slimclr.as_ref().ok().copied();
        // Without slimclr's rate there is nothing to compare PyTorch's with.
        let pytorch = slimclr.and(counterpart(device, &speeds.pytorch).images_per_second());
        let ratio = slimclr.zip(pytorch).map(|(slimclr, pytorch)| format!("{:.2}", slimclr / pytorch));
        [
            speeds.workload.clone(),
            device.clone(),
            or_dash(slimclr.map(rate)),
            or_dash(pytorch.map(rate)),
            or_dash(ratio),
        ]
    })
}

/// Returns PyTorch's rate on the same hardware.
fn counterpart<'a>(device: &str, pytorch: &'a PyTorch) -> &'a Rate {
    if device == CPU { &pytorch.cpu } else { &pytorch.cuda }
}

fn notes(rows: &[Row], speeds: &[Speeds]) -> Vec<String> {
    let of_rows = rows.iter().filter_map(|row| {
        let (word, why) = row.verdict.describe();
        Some(format!("{}: {word}: {}", row.device, why?))
    });
    let of_speeds = speeds.iter().flat_map(|Speeds { workload, slimclr, pytorch }| {
        let of_slimclr = slimclr.iter().filter_map(move |(device, rate)| {
            let why = rate.as_ref().err()?;
            Some(format!("{workload}: not timed on {device}: {why}"))
        });
        let of_pytorch = [("CPU", &pytorch.cpu), ("GPU", &pytorch.cuda)].into_iter().filter_map(move |(name, rate)| {
            Some(match rate {
                Rate::NotMeasured => return None,
                Rate::Failed(why) => format!("{workload}: PyTorch was not timed on the {name}: {why}"),
                Rate::Measured(measured) => format!("{workload}: PyTorch on the {name}: {measured}"),
            })
        });
        of_slimclr.chain(of_pytorch)
    });
    of_rows.chain(of_speeds).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu_check::process::End;

    fn row(device: &str, adapter: &str, verdict: Verdict) -> Row {
        Row { device: device.into(), adapter: Some(adapter.into()), largest: None, verdict }
    }

    fn speeds(slimclr: [(&str, Result<f64, String>); 2], cpu: Rate, cuda: Rate) -> Speeds {
        let slimclr = slimclr.map(|(device, rate)| (device.to_owned(), rate)).into();
        Speeds { workload: "ResNet".into(), slimclr, pytorch: PyTorch { cpu, cuda } }
    }

    fn measured(rate: f64) -> Rate {
        let line = serde_json::json!({
            "images_per_second": rate,
            "device": "cpu",
            "backward": "joint",
            "channels_last": true,
            "version": "2",
            "threads": 2,
            "tf32": false,
        });
        Rate::read(End::Code(0), &line.to_string())
    }

    #[test]
    fn the_ratio_is_to_the_same_hardware() {
        let speeds = speeds([("cpu", Ok(5000.0)), ("vulkan", Ok(5000.0))], measured(80.0), measured(10_000.0));
        let cells: Vec<_> = timed_cells(&speeds).collect();
        assert_eq!(cells[0], ["ResNet", "cpu", "5000", "80.0", "62.50"]);
        assert_eq!(cells[1], ["ResNet", "vulkan", "5000", "10000", "0.50"]);
    }

    #[test]
    fn missing_values_are_dashes() {
        let cells = compared_cells(&row("cuda", "A|B\nC", Verdict::Absent("no driver".into())));
        assert_eq!(cells, ["cuda", "A/B C", "–", "absent"]);
        let speeds = speeds([("webgpu", Err("no bf16".into())), ("cuda", Ok(1.0))], Rate::NotMeasured, measured(2.0));
        assert_eq!(timed_cells(&speeds).next().unwrap(), ["ResNet", "webgpu", "–", "–", "–"]);
    }

    #[test]
    fn reasons_are_below_the_tables() {
        let rows = [row("cpu", "CPU", Verdict::Reference), row("cuda", "GPU", Verdict::Failed("signal".into()))];
        let slimclr = [("cpu", Ok(80.0)), ("webgpu", Err("no bf16".into()))];
        let text = render(&rows, &[speeds(slimclr, Rate::Failed("no module".into()), Rate::NotMeasured)]);
        let parts: Vec<&str> = text.split("\n\n").collect();
        let [compared, timed, notes] = parts[..] else { panic!("{text}") };
        assert_eq!((compared.lines().count(), timed.lines().count()), (4, 4));
        assert_eq!(
            notes,
            "- cuda: FAILED: signal\n- ResNet: not timed on webgpu: no bf16\n\
             - ResNet: PyTorch was not timed on the CPU: no module\n"
        );
    }

    #[test]
    fn failed_devices_and_software_renderers_are_not_timed() {
        assert!(row("cuda", "NVIDIA", Verdict::Agrees).is_worth_timing());
        assert!(!row("cuda", "NVIDIA", Verdict::Failed("signal".into())).is_worth_timing());
        assert!(!row("vulkan", "llvmpipe (LLVM 19)", Verdict::Agrees).is_worth_timing());
    }
}
