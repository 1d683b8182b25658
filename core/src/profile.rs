//! What a network costs at each width: parameters and multiply-accumulates.

use crate::{encoder::Encoder, width::Widths};

/// Height and width of a feature map, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Extent {
    /// A square image.
    pub fn square(side: usize) -> Self {
        Self { height: side, width: side }
    }
}

/// Counts multiply-accumulates of convolutions and linear layers at one width, as the layers are walked.
#[derive(Debug)]
pub struct Cost<'a> {
    widths: &'a Widths,
    width: usize,
    macs: u64,
}

impl<'a> Cost<'a> {
    /// Nothing counted yet, at the width at `width`.
    pub fn new(widths: &'a Widths, width: usize) -> Self {
        Self { widths, width, macs: 0 }
    }

    /// The network's widths.
    pub fn widths(&self) -> &'a Widths {
        self.widths
    }

    /// Index of the width.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Counts a layer's multiply-accumulates.
    pub fn add(&mut self, macs: u64) {
        self.macs += macs;
    }
}

/// One width's line of the profile.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Profile {
    /// The width.
    pub width: f64,
    /// Parameters that it uses: its slices, its own norms, the head.
    pub parameters: u64,
    /// Multiply-accumulates of convolutions and linear layers for one image.
    pub macs: u64,
}

/// Profiles every width of `encoder`, head included, on square images of `side` pixels.
pub fn profile(encoder: &Encoder, side: usize) -> Vec<Profile> {
    let layout = encoder.layout();
    let widths = layout.widths();
    widths
        .iter()
        .enumerate()
        .map(|(index, width)| {
            let mut cost = Cost::new(widths, index);
            encoder.cost(Extent::square(side), &mut cost);
            Profile { width, parameters: layout.count(index), macs: cost.macs }
        })
        .collect()
}
