//! The project's chores, behind `cargo xtask`: a light crate, so that it is built in seconds where the
//! rest takes minutes.

mod apt;
mod bench;
mod browser;
mod duration;
mod gpu_check;
mod learn;
mod log;
mod median;
mod npm;
mod process;
mod python;
mod pytorch;
mod rustup;
mod stamped_dir;
mod table;
mod test;
mod web;

use std::process::ExitCode;

use clap::Parser;

/// The chores of the SlimCLR workspace
///
/// Before a change goes in, `cargo xtask test` must pass; it installs what it needs, or says what to
/// install. `cargo xtask web` makes the browser's page. `cargo xtask bench` measures speed beside PyTorch's and
/// TensorFlow.js', `cargo xtask learn` what the same recipe learns there and here. On a machine with a GPU, `cargo xtask gpu-check` tells whether the GPU computes what the CPU computes,
/// and how fast.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", arg_required_else_help = true, disable_help_subcommand = true)]
enum Chore {
    Test(test::Test),
    Web(web::Web),
    Bench(bench::Bench),
    GpuCheck(gpu_check::GpuCheck),
    Learn(learn::Learn),
}

fn main() -> ExitCode {
    let done = match Chore::parse() {
        Chore::Test(chore) => chore.run(),
        Chore::Web(chore) => chore.run(),
        Chore::Bench(chore) => chore.run(),
        Chore::GpuCheck(chore) => chore.run(),
        Chore::Learn(chore) => chore.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
