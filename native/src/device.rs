//! Where to compute, from the option `device`.

use anyhow::{Result, bail};
use burn::{
    backend::{CubeDevice, DispatchDevice, WgpuDevice, WgpuDeviceKind},
    tensor::{Device, DeviceType},
};

/// The device that `choice` names, with a name for people.
///
/// # Errors
/// If it is not spelled right, or this machine or this build lacks it.
pub fn open(choice: &str) -> Result<(Device, String)> {
    let (kind, number) = match choice.split_once(':') {
        None => (choice, 0),
        Some((kind, number)) => match number.parse() {
            Ok(number) => (kind, number),
            Err(_) => bail!("device = '{choice}': '{number}' is no number; write {kind}:0, {kind}:1, …"),
        },
    };
    match kind {
        "auto" => Ok(best()),
        "cpu" => Ok(cpu()),
        "vulkan" => listed("Vulkan", number, Device::enumerate(DeviceType::Vulkan).into_vec()),
        "webgpu" => listed("WebGPU", number, Device::enumerate(DeviceType::WebGpu).into_vec()),
        "cuda" => cuda(number),
        _ => bail!("device = '{choice}': choose auto, cpu, vulkan, webgpu or cuda, with a number if need be (cuda:1)"),
    }
}

/// The best GPU there is, else the CPU. Vulkan on a software renderer is far slower than the CPU back end.
fn best() -> (Device, String) {
    #[cfg(feature = "cuda")]
    if let Ok(found) = cuda(0) {
        return found;
    }
    let gpus: Vec<Device> =
        Device::enumerate(DeviceType::Vulkan).into_vec().into_iter().filter(|device| !is_software(device)).collect();
    listed("Vulkan", 0, gpus).unwrap_or_else(|_| cpu())
}

fn cpu() -> (Device, String) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (Device::flex(), format!("CPU, {cores} cores"))
}

fn is_software(device: &Device) -> bool {
    matches!(
        device.as_dispatch(),
        DispatchDevice::Cube(CubeDevice::Wgpu(WgpuDevice { kind: WgpuDeviceKind::Cpu, .. }))
    )
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<(Device, String)> {
    listed("CUDA", number, Device::enumerate(DeviceType::Cuda).into_vec())
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize) -> Result<(Device, String)> {
    bail!("device = 'cuda': this program was built without CUDA; build it with --features cuda, or use vulkan")
}

fn listed(api: &str, number: usize, devices: Vec<Device>) -> Result<(Device, String)> {
    let count = devices.len();
    let Some(device) = devices.into_iter().nth(number) else {
        bail!("device {number} of {api} was asked for, but this machine has {count}; use --device cpu");
    };
    let adapter = device.identity().map_or_else(|| format!("{device:?}"), |identity| identity.name);
    Ok((device, format!("{api} on {adapter}")))
}
