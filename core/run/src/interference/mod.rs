//! Measurements of gradient interference between widths, and what figures derive from them (paper section 3.2).

pub mod agreement;
pub mod direction;
pub mod eigen;
pub mod landscape;
pub mod magnitude;
pub mod path;
