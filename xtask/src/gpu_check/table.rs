//! The table at the end.

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
    /// Images per second of the timed run.
    pub images_per_second: Option<f64>,
    /// What that comes to.
    pub verdict: Verdict,
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

const HEADINGS: [&str; 7] = [
    "device",
    "adapter",
    "largest relative loss difference to the CPU",
    "images/s",
    "PyTorch images/s",
    "ratio to PyTorch",
    "verdict",
];

/// The table, and below it what does not fit in.
pub fn render(rows: &[Row], pytorch: &PyTorch) -> String {
    let cells: Vec<[String; 7]> = rows.iter().map(|row| cells(row, pytorch)).collect();
    let mut text = markdown(HEADINGS, &cells);
    let notes = notes(rows, pytorch);
    if !notes.is_empty() {
        text += "\n";
        text.extend(notes.iter().map(|note| format!("- {note}\n")));
    }
    text
}

fn cells(row: &Row, pytorch: &PyTorch) -> [String; 7] {
    let rate = |rate: f64| {
        if rate < 100.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
    };
    // PyTorch's figure stands beside ours or not at all.
    let theirs = row.images_per_second.and(beside(row, pytorch).images_per_second());
    let ratio = row.images_per_second.zip(theirs).map(|(ours, theirs)| format!("{:.2}", ours / theirs));
    [
        row.device.clone(),
        or_dash(row.adapter.as_deref().map(in_a_cell)),
        or_dash(row.largest.as_ref().map(ToString::to_string)),
        or_dash(row.images_per_second.map(rate)),
        or_dash(theirs.map(rate)),
        or_dash(ratio),
        row.verdict.words().0.into(),
    ]
}

/// PyTorch's rate on the same hardware.
fn beside<'a>(row: &Row, pytorch: &'a PyTorch) -> &'a Rate {
    if row.device == CPU { &pytorch.cpu } else { &pytorch.cuda }
}

/// Neither line breaks nor the sign that ends a cell.
fn in_a_cell(text: &str) -> String {
    text.replace('|', "/").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn notes(rows: &[Row], pytorch: &PyTorch) -> Vec<String> {
    let of_rows = rows.iter().filter_map(|row| {
        let (word, why) = row.verdict.words();
        Some(format!("{}: {word}: {}", row.device, why?))
    });
    let of_pytorch = [("CPU", &pytorch.cpu), ("GPU", &pytorch.cuda)].into_iter().filter_map(|(name, rate)| {
        Some(match rate {
            Rate::NotAsked => return None,
            Rate::None(why) => format!("PyTorch was not timed on the {name}: {why}"),
            Rate::Measured(measured) => format!("PyTorch beside the {name}: {measured}"),
        })
    });
    of_rows.chain(of_pytorch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu_check::process::End;

    fn row(device: &str, images_per_second: Option<f64>, verdict: Verdict) -> Row {
        Row { device: device.into(), adapter: Some("A|B\nC".into()), largest: None, images_per_second, verdict }
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
        let pytorch = PyTorch { cpu: measured(80.0), cuda: measured(10_000.0) };
        let cells_of = |device| cells(&row(device, Some(5000.0), Verdict::Agrees), &pytorch);
        assert_eq!(&cells_of("cpu")[3..6], ["5000", "80.0", "62.50"]);
        assert_eq!(&cells_of("vulkan")[3..6], ["5000", "10000", "0.50"]);
    }

    #[test]
    fn a_device_that_was_not_timed_has_dashes() {
        let pytorch = PyTorch { cpu: Rate::NotAsked, cuda: measured(10_000.0) };
        let cells = cells(&row("cuda", None, Verdict::Absent("no driver".into())), &pytorch);
        assert_eq!(cells, ["cuda", "A/B C", "–", "–", "–", "–", "absent"]);
    }

    #[test]
    fn what_does_not_fit_into_the_table_is_below_it() {
        let pytorch = PyTorch { cpu: Rate::None("no module".into()), cuda: Rate::NotAsked };
        let rows = [row("cpu", Some(80.0), Verdict::Reference), row("cuda", None, Verdict::Absent("no driver".into()))];
        let text = render(&rows, &pytorch);
        let (table, notes) = text.split_once("\n\n").unwrap();
        assert_eq!(table.lines().count(), 4);
        assert_eq!(notes, "- cuda: absent: no driver\n- PyTorch was not timed on the CPU: no module\n");
    }
}
