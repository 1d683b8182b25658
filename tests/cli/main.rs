//! The command-line program: runs, interruptions and invalid input.

mod dry_run;
mod embed;
mod evaluate;
mod experiment;
mod export;
mod files;
mod finetune;
mod image_folders;
mod interruption;
mod invalid_input;
mod landscape;
mod listing;
mod manual;
mod measures;
mod neighbours;
mod pretrain;
mod profile;
mod program;
mod report;
mod run_identity;
mod runs;
mod shards;
mod streams;
mod teacher;
mod tensorboard;
