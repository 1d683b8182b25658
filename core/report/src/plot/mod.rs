//! The plotting toolkit: scales, axes, marks, legends and charts, for any figure.

pub mod axes;
pub mod chart;
pub mod colour;
pub mod drawing;
pub mod figure;
pub mod frame;
pub mod grid;
pub mod heat_map;
pub mod labels;
pub mod legend;
pub mod marks;
pub mod matrix;
pub mod scale;
pub mod training_curve;
