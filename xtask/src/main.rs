//! `cargo xtask`: the project's tests, benchmarks and web bundle. It does not depend on Burn, so it builds in seconds.

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
mod tool;
mod web;

use std::process::ExitCode;

use clap::Parser;

/// Tests, benchmarks and the web bundle of SlimCLR
///
/// `cargo xtask test` must pass before a change is merged; it installs what it needs, or says what to install. `cargo
/// xtask web` makes the page for browsers, and `cargo xtask package` the JavaScript package. `cargo xtask bench` compares speed with PyTorch and TensorFlow.js. `cargo
/// xtask learn` compares the accuracy of the same recipe with PyTorch. `cargo xtask gpu-check` compares a GPU's losses
/// and speed with the CPU's.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", arg_required_else_help = true, disable_help_subcommand = true)]
enum Task {
    Test(test::Test),
    Web(web::Web),
    Package(web::Package),
    Bench(bench::Bench),
    GpuCheck(gpu_check::GpuCheck),
    Learn(learn::Learn),
}

fn main() -> ExitCode {
    let result = match Task::parse() {
        Task::Test(task) => task.run(),
        Task::Web(task) => task.run(),
        Task::Package(task) => task.run(),
        Task::Bench(task) => task.run(),
        Task::GpuCheck(task) => task.run(),
        Task::Learn(task) => task.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
