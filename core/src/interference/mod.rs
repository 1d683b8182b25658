//! Gradient interference between widths: as the paper measures it (spec section 5), where it comes from, and what can be
//! done about it.

pub mod conflict;
pub mod direction;
pub mod landscape;
pub mod magnitude;
pub mod spectrum;
pub mod surgery;
