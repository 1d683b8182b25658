//! Gradient interference between widths, as the paper measures it (spec section 5).

pub mod magnitude;
