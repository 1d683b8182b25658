//! Runs the cases of the methods that distil a trained teacher, and of those that the paper compares with.

pub mod bags;
pub mod compress;
pub mod contrastive;
pub mod kd;
pub mod schedules;
pub mod simdis;
pub mod swav;
pub mod training;
