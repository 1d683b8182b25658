//! The paper's comparison with a supervised network (figures 3 to 5) and its ablation: what is trained, and the table
//! of results.

pub mod arm;
pub mod results;
