//! A figure: panels with a legend, a caption and notes.

use crate::plot::{drawing::Drawing, legend::LegendItem};

/// Why a figure or a part of it cannot be drawn, as a sentence.
pub type Missing = String;

/// One or several charts with the text that belongs to them.
#[derive(Debug)]
pub struct Figure {
    /// The charts; those of one group are adjacent.
    pub panels: Vec<Panel>,
    /// What the symbols mean.
    pub legend: Vec<LegendItem>,
    /// What to look for.
    pub caption: String,
    /// What is not drawn, or else worth knowing.
    pub notes: Vec<String>,
    /// Which runs are not drawn, and why.
    pub omitted: Option<Missing>,
}

impl Figure {
    /// A figure of one chart without a heading.
    pub fn single(drawing: Drawing, legend: Vec<LegendItem>, caption: impl Into<String>) -> Self {
        let panels = vec![Panel::new("", "", Ok(drawing))];
        Self { panels, legend, caption: caption.into(), notes: Vec::new(), omitted: None }
    }
}

/// One chart of a figure.
#[derive(Debug)]
pub struct Panel {
    /// What it shares with other panels, such as their run; panels of one group are drawn under one heading.
    pub group: String,
    /// What it shows within its group.
    pub heading: String,
    /// The index of the width that it shows, if it is about one width.
    pub width: Option<usize>,
    /// The chart, or why there is none.
    pub content: Result<Drawing, Missing>,
}

impl Panel {
    /// A panel that is not about a single width.
    pub fn new(group: impl Into<String>, heading: impl Into<String>, content: Result<Drawing, Missing>) -> Self {
        Self { group: group.into(), heading: heading.into(), width: None, content }
    }

    /// Returns group and heading in one line, for panels that are not under their group's heading.
    pub fn full_heading(&self) -> String {
        let separator = if self.group.is_empty() || self.heading.is_empty() { "" } else { " · " };
        format!("{}{separator}{}", self.group, self.heading)
    }
}

/// Returns the groups of `panels` with their headings. If most groups have one panel only, returns a single group
/// without a heading.
pub fn groups(panels: &[Panel]) -> Vec<(Option<&str>, &[Panel])> {
    let groups: Vec<&[Panel]> = panels.chunk_by(|a, b| a.group == b.group).collect();
    let single = groups.iter().filter(|group| group.len() == 1).count();
    if 2 * single > groups.len() {
        return vec![(None, panels)];
    }
    groups.into_iter().map(|group| (Some(group[0].group.as_str()).filter(|name| !name.is_empty()), group)).collect()
}
