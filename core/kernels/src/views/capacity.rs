//! Which devices make views, and how many bytes of images fit on them.

#[cfg(feature = "webgpu")]
use burn::backend::DispatchDevice;
use burn::tensor::Device;
use slimclr_data::sampler::Finish;

#[cfg(feature = "webgpu")]
/// The maximum size of images on a device, in bytes. CIFAR-10's 50,000 take 154 MB.
const MOST_BYTES: u64 = 1 << 29;

/// Returns where the views are finished that a batch for this device takes from the host: on GPUs, there.
#[cfg(feature = "webgpu")]
pub fn finish_for(device: &Device) -> Finish {
    match device.as_dispatch() {
        DispatchDevice::Cube(_) => Finish::Device,
        _ => Finish::Host,
    }
}

/// Returns that the host finishes views, since this build supports no GPU.
#[cfg(not(feature = "webgpu"))]
pub fn finish_for(_: &Device) -> Finish {
    Finish::Host
}

/// Returns how many bytes of images fit on a device: 0 unless it is a GPU.
#[cfg(feature = "webgpu")]
pub fn image_capacity(device: &Device) -> u64 {
    match device.as_dispatch() {
        DispatchDevice::Cube(device) => device.client().properties().memory.max_page_size.min(MOST_BYTES),
        _ => 0,
    }
}

/// Returns 0, since this build supports no GPU.
#[cfg(not(feature = "webgpu"))]
pub fn image_capacity(_: &Device) -> u64 {
    0
}
