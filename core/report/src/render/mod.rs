//! What is written: SVG files and HTML.

pub mod comparison;
pub mod html;
pub mod img;
pub mod neighbours;
pub mod run_report;
pub mod svg;
pub mod widths_table;
