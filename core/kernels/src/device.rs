//! Kinds of devices.

#[cfg(feature = "webgpu")]
use burn::backend::DispatchDevice;
use burn::tensor::Device;

/// Returns whether a device has a graphics API, or CUDA, even if a software renderer is behind it.
pub fn is_gpu(device: &Device) -> bool {
    #[cfg(feature = "webgpu")]
    return matches!(device.as_dispatch(), DispatchDevice::Cube(_));
    #[cfg(not(feature = "webgpu"))]
    {
        let _ = device;
        false
    }
}
