//! The tables at the end.

use super::{
    CPU,
    agreement::Difference,
    pytorch::{PyTorch, Rate},
};
use crate::table::{markdown, or_dash};

/// What is known of a device.
#[derive(Debug, Clone)]
pub struct Row {
    /// As it is called on the command line.
    pub device: String,
    /// What it is, in words.
    pub adapter: Option<String>,
    /// The largest difference of a loss to the CPU's.
    pub largest: Option<Difference>,
    /// What that comes to.
    pub verdict: Verdict,
}

/// How fast a workload is.
#[derive(Debug)]
pub struct Speeds {
    /// What was timed, in words.
    pub workload: String,
    /// The devices, each with its images per second or why there is no such figure.
    pub ours: Vec<(String, Result<f64, String>)>,
    /// The measure of ours.
    pub pytorch: PyTorch,
}

/// What a device's losses say.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The CPU itself.
    Reference,
    /// All losses are the CPU's.
    Agrees,
    /// This is the first loss that is not.
    Disagrees(Difference),
    /// The program or the machine has no such device; in the program's words.
    Absent(String),
    /// It is there, but a run on it broke off.
    Failed(String),
}

impl Row {
    /// Whether the device is right, and no program on the CPU that plays a GPU: such a one is good for comparing,
    /// but would take an hour to time.
    pub fn is_worth_timing(&self) -> bool {
        let adapter = self.adapter.as_deref().unwrap_or_default().to_lowercase();
        let is_software = ["llvmpipe", "lavapipe", "swiftshader", "basic render"].iter().any(|it| adapter.contains(it));
        matches!(self.verdict, Verdict::Reference | Verdict::Agrees) && !is_software
    }
}

impl Verdict {
    /// Whether the device is there and not as it should be.
    pub fn is_wrong(&self) -> bool {
        matches!(self, Self::Disagrees(_) | Self::Failed(_))
    }

    /// One word for the table, and what there is to say below it.
    fn words(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Reference => ("reference", None),
            Self::Agrees => ("agrees", None),
            Self::Disagrees(difference) => ("DISAGREES", Some(format!("first beyond the tolerance: {difference}"))),
            Self::Absent(why) => ("absent", Some(why.clone())),
            Self::Failed(why) => ("FAILED", Some(why.clone())),
        }
    }
}

/// The tables, and below them what does not fit in.
pub fn render(rows: &[Row], speeds: &[Speeds]) -> String {
    let compared = ["device", "adapter", "largest relative loss difference to the CPU", "verdict"];
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
        or_dash(row.adapter.as_deref().map(in_a_cell)),
        or_dash(row.largest.as_ref().map(ToString::to_string)),
        row.verdict.words().0.into(),
    ]
}

fn timed_cells(speeds: &Speeds) -> impl Iterator<Item = [String; 5]> {
    let rate = |rate: f64| {
        if rate < 100.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
    };
    speeds.ours.iter().map(move |(device, ours)| {
        let ours = ours.as_ref().ok().copied();
        // PyTorch's figure stands beside ours or not at all.
        let theirs = ours.and(beside(device, &speeds.pytorch).images_per_second());
        let ratio = ours.zip(theirs).map(|(ours, theirs)| format!("{:.2}", ours / theirs));
        [speeds.workload.clone(), device.clone(), or_dash(ours.map(rate)), or_dash(theirs.map(rate)), or_dash(ratio)]
    })
}

/// PyTorch's rate on the same hardware.
fn beside<'a>(device: &str, pytorch: &'a PyTorch) -> &'a Rate {
    if device == CPU { &pytorch.cpu } else { &pytorch.cuda }
}

/// Neither line breaks nor the sign that ends a cell.
fn in_a_cell(text: &str) -> String {
    text.replace('|', "/").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn notes(rows: &[Row], speeds: &[Speeds]) -> Vec<String> {
    let of_rows = rows.iter().filter_map(|row| {
        let (word, why) = row.verdict.words();
        Some(format!("{}: {word}: {}", row.device, why?))
    });
    let of_speeds = speeds.iter().flat_map(|Speeds { workload, ours, pytorch }| {
        let of_ours = ours.iter().filter_map(move |(device, rate)| {
            let why = rate.as_ref().err()?;
            Some(format!("{workload}: not timed on {device}: {why}"))
        });
        let of_pytorch = [("CPU", &pytorch.cpu), ("GPU", &pytorch.cuda)].into_iter().filter_map(move |(name, rate)| {
            Some(match rate {
                Rate::NotAsked => return None,
                Rate::None(why) => format!("{workload}: PyTorch was not timed on the {name}: {why}"),
                Rate::Measured(measured) => format!("{workload}: PyTorch beside the {name}: {measured}"),
            })
        });
        of_ours.chain(of_pytorch)
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

    fn speeds(ours: [(&str, Result<f64, String>); 2], cpu: Rate, cuda: Rate) -> Speeds {
        let ours = ours.map(|(device, rate)| (device.to_owned(), rate)).into();
        Speeds { workload: "ResNet".into(), ours, pytorch: PyTorch { cpu, cuda } }
    }

    fn measured(rate: f64) -> Rate {
        let line = format!(
            "{{\"images_per_second\":{rate},\"device\":\"cpu\",\"backward\":\"joint\",\"channels_last\":true,\"version\":\"2\",\
             \"threads\":2,\"tf32\":false}}"
        );
        Rate::read(End::Code(0), &line)
    }

    #[test]
    fn the_ratio_is_to_the_same_hardware() {
        let speeds = speeds([("cpu", Ok(5000.0)), ("vulkan", Ok(5000.0))], measured(80.0), measured(10_000.0));
        let cells: Vec<_> = timed_cells(&speeds).collect();
        assert_eq!(cells[0], ["ResNet", "cpu", "5000", "80.0", "62.50"]);
        assert_eq!(cells[1], ["ResNet", "vulkan", "5000", "10000", "0.50"]);
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let cells = compared_cells(&row("cuda", "A|B\nC", Verdict::Absent("no driver".into())));
        assert_eq!(cells, ["cuda", "A/B C", "–", "absent"]);
        let speeds = speeds([("webgpu", Err("no bf16".into())), ("cuda", Ok(1.0))], Rate::NotAsked, measured(2.0));
        assert_eq!(timed_cells(&speeds).next().unwrap(), ["ResNet", "webgpu", "–", "–", "–"]);
    }

    #[test]
    fn what_does_not_fit_into_the_tables_is_below_them() {
        let rows = [row("cpu", "CPU", Verdict::Reference), row("cuda", "GPU", Verdict::Failed("signal".into()))];
        let ours = [("cpu", Ok(80.0)), ("webgpu", Err("no bf16".into()))];
        let text = render(&rows, &[speeds(ours, Rate::None("no module".into()), Rate::NotAsked)]);
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
    fn what_is_wrong_or_software_is_not_timed() {
        assert!(row("cuda", "NVIDIA", Verdict::Agrees).is_worth_timing());
        assert!(!row("cuda", "NVIDIA", Verdict::Failed("signal".into())).is_worth_timing());
        assert!(!row("vulkan", "llvmpipe (LLVM 19)", Verdict::Agrees).is_worth_timing());
    }
}
