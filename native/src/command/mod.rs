//! One module per subcommand.

pub mod completions;
pub mod demo;
pub mod embed;
pub mod evaluate;
pub mod experiment;
pub mod export;
pub mod finetune;
pub mod landscape;
pub mod man;
pub mod neighbours;
pub mod pack;
pub mod pretrain;
pub mod profile;
pub mod report;
pub mod runs;
pub mod serve;
