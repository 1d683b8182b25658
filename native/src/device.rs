//! Opens the device that the option `device` names.

use std::fs;

use anyhow::{Context, Result, bail};
use burn::{
    backend::{CubeDevice, DispatchDevice, WgpuDevice, WgpuDeviceKind},
    tensor::{Device, wgpu::WgpuBackend},
};
use clap::ValueEnum;
use slimclr_core::{
    config::Config,
    precision::{Precision, decide, is_supported},
};

use crate::ranks;

/// Opens the device of a run's options. Returns it with its name for the user, after the options with a precision that is
/// decided.
///
/// # Errors
/// If there is no such device on this machine or in this build, or it does not support the run's precision.
pub fn for_run(config: Config) -> Result<(Config, (Device, String))> {
    let (device, name) = match ranks::local() {
        None => open(&config.device)?,
        Some(place) => of_rank(&config.device, place)?,
    };
    let precision = decide(config.precision, config.backbone, &device);
    let precision_name = precision.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    if !is_supported(precision, &device) {
        bail!("{name} does not support {precision_name}: use --precision f32");
    }
    let name = if precision == Precision::F32 { name } else { format!("{name}, {precision_name}") };
    Ok((Config { precision, ..config }, (device, name)))
}

/// Opens the device named by `choice` for the process with this number, of `count` on this machine: each has a GPU of its
/// own, or all share the CPU's cores. Returns it with its name for the user.
fn of_rank(choice: &str, (rank, count): (usize, usize)) -> Result<(Device, String)> {
    let (device, name) = match choice {
        "auto" => best(rank),
        "cpu" => Ok(cpu()),
        _ if choice.contains(':') => {
            bail!(
                "device = '{choice}': each of {count} processes takes a device of its own; write it without the number"
            )
        }
        _ => open(&format!("{choice}:{rank}")),
    }
    .context(format!("{count} processes on this machine need a device each"))?;
    let (processes, threads) = (ranks::ranks().count(), rayon::current_num_threads());
    let name = if device == Device::flex() { format!("{name}, of which it uses {threads}") } else { name };
    Ok((device, format!("{processes} processes, each with {name}")))
}

/// Opens the device named by `choice`. Returns it with its name for the user.
///
/// # Errors
/// If there is no such device on this machine or in this build.
pub fn open(choice: &str) -> Result<(Device, String)> {
    let (kind, number) = match choice.split_once(':') {
        None => (choice, 0),
        Some((kind, number)) => match number.parse() {
            Ok(number) => (kind, number),
            Err(_) => bail!("device = '{choice}': '{number}' is not a number; write {kind}:0, {kind}:1, …"),
        },
    };
    match kind {
        "auto" | "cpu" if choice != kind => bail!("device = '{choice}': {kind} takes no number; write --device {kind}"),
        "auto" => best(0),
        "cpu" => Ok(cpu()),
        "vulkan" => nth(number, "Vulkan", adapters(WgpuBackend::Vulkan)),
        "webgpu" => nth(number, "WebGPU", adapters(WgpuBackend::Auto)),
        "cuda" => cuda(number),
        _ => bail!("device = '{choice}': choose auto, cpu, vulkan, webgpu or cuda, or one of several such as cuda:1"),
    }
}

/// Opens the best GPU with this number, or the CPU if there is no GPU. A software renderer is far slower than the CPU back
/// end, so it does not count.
fn best(number: usize) -> Result<(Device, String)> {
    #[cfg(feature = "cuda")]
    if cuda(0).is_ok() {
        return cuda(number);
    }
    let gpus: Vec<Device> = adapters(WgpuBackend::Auto).into_iter().filter(|device| !is_software(device)).collect();
    if gpus.is_empty() { Ok(cpu()) } else { nth(number, "WebGPU", gpus) }
}

fn cpu() -> (Device, String) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = cpu_model().map_or_else(|| "CPU".to_owned(), |model| format!("CPU ({model})"));
    (Device::flex(), format!("{model}, {cores} cores"))
}

/// Reads the processor's model name, on Linux.
fn cpu_model() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Lists wgpu's adapters for a graphics API (or for the best one available): GPUs first, software renderers last.
fn adapters(api: WgpuBackend) -> Vec<Device> {
    let kinds = [
        WgpuDeviceKind::DiscreteGpu(0),
        WgpuDeviceKind::IntegratedGpu(0),
        WgpuDeviceKind::VirtualGpu(0),
        WgpuDeviceKind::Other(0),
        WgpuDeviceKind::Cpu,
    ];
    kinds
        .into_iter()
        .flat_map(|kind| CubeDevice::enumerate(CubeDevice::Wgpu(WgpuDevice::new(kind).on(api)).to_id()))
        .map(|id| Device::new(CubeDevice::from_id(id)))
        .collect()
}

fn is_software(device: &Device) -> bool {
    matches!(device.as_dispatch(), DispatchDevice::Cube(CubeDevice::Wgpu(WgpuDevice { kind: WgpuDeviceKind::Cpu, .. })))
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<(Device, String)> {
    nth(number, "CUDA", Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec())
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize) -> Result<(Device, String)> {
    bail!("device = 'cuda': this program was built without CUDA; build it with --features cuda, or use --device vulkan")
}

fn nth(number: usize, api: &str, devices: Vec<Device>) -> Result<(Device, String)> {
    let count = devices.len();
    let Some(device) = devices.into_iter().nth(number) else {
        bail!(
            "there is no {api} device {number}: this machine has {count}, numbered from 0; choose another or use --device cpu"
        );
    };
    let adapter = device.identity().map_or_else(|| format!("{device:?}"), |identity| identity.name);
    Ok((device, format!("{api} on {adapter}")))
}
