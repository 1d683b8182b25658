//! Loss landscapes with the weights' path (paper figure 5).

use serde::{Deserialize, Serialize};

/// The loss around the trained weights, for some widths of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Landscape {
    /// How the plane's directions were chosen.
    pub directions: Directions,
    /// Images that the loss was averaged over.
    pub images: usize,
    /// One surface per width, widest first.
    pub surfaces: Vec<Surface>,
}

/// How the two directions of a plane through the trained weights are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Directions {
    /// The principal components of the weights' path: the plane that shows most of it
    Pca,
    /// Random directions with filter normalisation: each filter has the norm of the trained one (Li et al. 2018)
    Random,
}

/// The loss of one width on a plane whose origin is its trained weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Surface {
    /// The width.
    pub width: f64,
    /// Coordinates along the first direction, ascending.
    pub x: Vec<f64>,
    /// Coordinates along the second direction, ascending.
    pub y: Vec<f64>,
    /// The loss at each point, a row for each `y`; `None` if it is NaN or infinite.
    pub loss: Vec<Vec<Option<f64>>>,
    /// The weights' path, projected onto the plane.
    pub path: Vec<Waypoint>,
    /// The share of the path's variance along each direction.
    pub explained: [f64; 2],
}

/// The weights of one snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waypoint {
    /// The fractional epoch.
    pub epoch: f64,
    /// Their coordinates on the plane; `None` if they are NaN or infinite.
    pub at: Option<[f64; 2]>,
    /// The loss of the weights themselves, which may differ from that of their projection.
    pub loss: Option<f64>,
}
