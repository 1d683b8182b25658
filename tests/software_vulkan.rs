//! The same steps on WebGPU, over Vulkan in software, as on the CPU.
//!
//! The default build compiles to WGSL; the SPIR-V of the feature `vulkan` crashes Mesa's software driver.

use burn::tensor::{Device, DeviceKind, Tensor};
use slimclr_core::{
    config::Config,
    encoder::BackboneKind,
    method::{Batch, Plan, StepOutcome, Trainer},
};

/// Takes `plans` in turn on both.
#[track_caller]
fn webgpu_agrees_with_the_cpu(config: &Config, plans: &[Plan]) {
    let losses = |device: Device| -> Vec<f32> {
        let mut method = Trainer::new(config, config.encoder().unwrap().build().unwrap(), &device);
        let mut losses = Vec::new();
        for (step, plan) in (0..).zip(plans) {
            let StepOutcome { losses: of_step, .. } = method.step(Batch::noise(config, step, &device), *plan);
            losses.extend(Tensor::cat(of_step, 0).into_data().iter::<f32>());
        }
        losses
    };
    let cpu = losses(Device::flex());
    let gpu = losses(Device::wgpu(DeviceKind::DefaultDevice));
    assert_eq!(cpu.len(), gpu.len());
    for (cpu, gpu) in cpu.iter().zip(&gpu) {
        assert!((cpu - gpu).abs() <= 1e-3 * cpu.abs(), "the CPU's losses {cpu}, WebGPU's {gpu}");
    }
}

fn plan(slim: bool) -> Plan {
    Plan { slim, rate: 0.05, key_momentum: 0.99 }
}

#[test]
fn a_slimmable_network_trains_alike() {
    let config =
        Config { widths: vec![1.0, 0.5], batch: 4, queue: 8, dim: 8, image_size: 8, bn_splits: 2, ..Config::mini() };
    webgpu_agrees_with_the_cpu(&config, &[false, true, true].map(plan));
}

#[test]
fn an_efficientnet_trains_alike() {
    let backbone = BackboneKind::EfficientnetB0;
    let config = Config { backbone, widths: vec![1.0], batch: 8, queue: 8, dim: 8, image_size: 32, ..Config::mini() };
    webgpu_agrees_with_the_cpu(&config, &[true, true].map(plan));
}
