//! The comparison of spec section 7 and the paper's ablation: what is trained, and the table that comes of it.

pub mod arm;
pub mod results;
