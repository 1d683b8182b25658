//! How many bytes of images fit on a device.

#[cfg(feature = "webgpu")]
use burn::backend::DispatchDevice;
use burn::tensor::Device;

#[cfg(feature = "webgpu")]
/// The maximum size of images on a device, in bytes. CIFAR-10's 50,000 take 205 MB.
const MOST_BYTES: u64 = 1 << 29;

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
