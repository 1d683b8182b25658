//! The same steps on WebGPU, over Vulkan in software, as on the CPU.
//!
//! The default build compiles to WGSL; the SPIR-V of the feature `vulkan` crashes Mesa's software driver.

use burn::tensor::{Device, DeviceKind, Tensor};
use slimclr_core::{
    config::Config,
    method::{Batch, Plan, StepOutcome, Trainer},
};

#[test]
fn webgpu_agrees_with_the_cpu() {
    let config =
        Config { widths: vec![1.0, 0.5], batch: 4, queue: 8, dim: 8, image_size: 8, bn_splits: 2, ..Config::mini() };
    let losses = |device: Device| -> Vec<f32> {
        let mut method = Trainer::new(&config, config.encoder().unwrap().build().unwrap(), &device);
        let mut losses = Vec::new();
        for step in 0..3 {
            let batch = Batch::noise(&config, step, &device);
            let plan = Plan { slim: step > 0, rate: 0.05, key_momentum: 0.99 };
            let StepOutcome { losses: of_step, .. } = method.step(batch, plan);
            losses.extend(Tensor::cat(of_step, 0).into_data().iter::<f32>());
        }
        losses
    };
    let cpu = losses(Device::flex());
    let gpu = losses(Device::wgpu(DeviceKind::DefaultDevice));
    assert_eq!(cpu.len(), 1 + 2 + 2);
    for (cpu, gpu) in cpu.iter().zip(&gpu) {
        assert!((cpu - gpu).abs() <= 1e-3 * cpu.abs(), "the CPU's losses {cpu}, WebGPU's {gpu}");
    }
}
