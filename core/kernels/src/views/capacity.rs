//! How many bytes of images a device takes.

#[cfg(feature = "webgpu")]
use burn::backend::DispatchDevice;
use burn::tensor::Device;

#[cfg(feature = "webgpu")]
/// Most bytes of a device's memory that images may take: CIFAR-10's 50,000 take 205 MB.
const MOST_BYTES: u64 = 1 << 29;

/// Bytes of images that a device takes; none if it is no GPU.
#[cfg(feature = "webgpu")]
pub fn image_capacity(device: &Device) -> u64 {
    match device.as_dispatch() {
        DispatchDevice::Cube(device) => device.client().properties().memory.max_page_size.min(MOST_BYTES),
        _ => 0,
    }
}

/// Bytes of images that a device takes.
#[cfg(not(feature = "webgpu"))]
pub fn image_capacity(_: &Device) -> u64 {
    0
}
