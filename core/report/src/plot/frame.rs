//! Sizes of charts and the margins around their plots.

/// Size of a chart and the margins around its plot, in user units.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// CSS class.
    pub class: &'static str,
    /// Width of the whole chart.
    pub width: f64,
    /// Height of the whole chart.
    pub height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

/// The only chart of a figure, with a margin for labels at line ends.
pub const WIDE: Frame =
    Frame { class: "wide", width: 520.0, height: 316.0, left: 68.0, right: 74.0, top: 26.0, bottom: 46.0 };

/// The same with a margin for longer labels.
pub const WIDE_LONG_LABELS: Frame = Frame { right: 116.0, ..WIDE };

/// One of several small charts.
pub const PANEL: Frame =
    Frame { class: "panel", width: 400.0, height: 220.0, left: 62.0, right: 26.0, top: 22.0, bottom: 44.0 };

/// The same with a margin for labels at line ends.
pub const PANEL_LABELLED: Frame = Frame { right: 56.0, ..PANEL };

/// A square plot with a margin for a colour bar.
pub const SQUARE: Frame =
    Frame { class: "panel", width: 412.0, height: 336.0, left: 62.0, right: 88.0, top: 28.0, bottom: 46.0 };

impl Frame {
    /// Returns the x coordinate at a fraction of the plot's width, from the left.
    pub fn x(&self, fraction: f64) -> f64 {
        self.left + fraction * (self.width - self.left - self.right)
    }

    /// Returns the y coordinate at a fraction of the plot's height, from the bottom.
    pub fn y(&self, fraction: f64) -> f64 {
        self.height - self.bottom - fraction * (self.height - self.top - self.bottom)
    }

    /// Returns the left, right, bottom and top edges of the plot.
    pub fn edges(&self) -> [f64; 4] {
        [self.x(0.0), self.x(1.0), self.y(0.0), self.y(1.0)]
    }
}
