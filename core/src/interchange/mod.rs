//! Networks from and for other programs.

pub mod authors;
