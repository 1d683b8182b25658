//! The same steps on WebGPU, over Vulkan in software, as on the CPU.
//!
//! The default build compiles to WGSL; the SPIR-V of the feature `vulkan` crashes Mesa's software driver.

use burn::tensor::{Device, DeviceKind, Tensor};
use slimclr_core::{
    config::Config,
    encoder::BackboneKind,
    interference::surgery::Surgery,
    method::{Batch, Method, Plan, Trainer},
    optim::OptimizerKind,
    precision::Precision,
};

fn tiny() -> Config {
    Config {
        widths: vec![1.0, 0.5],
        batch: 4,
        queue: 8,
        dim: 8,
        hidden: 16,
        image_size: 8,
        bn_splits: 2,
        ..Config::mini()
    }
}

/// The losses of three steps, the first of the full network alone.
fn losses(config: &Config, device: &Device) -> Vec<f32> {
    let mut trainer = Trainer::new(config, config.encoder().unwrap().build().unwrap(), device);
    let step = |step: u64| {
        let plan = Plan { slim: step > 0, rate: 0.05, key_momentum: 0.99 };
        let losses = trainer.step(Batch::noise(config, step, device), plan).losses;
        Tensor::cat(losses, 0).into_data().iter::<f32>().collect::<Vec<_>>()
    };
    (0..3).flat_map(step).collect()
}

/// The losses on WebGPU lie within `tolerance` of the CPU's.
#[track_caller]
fn webgpu_agrees(config: &Config, tolerance: f32) {
    let cpu = losses(config, &Device::flex());
    let gpu = losses(config, &Device::wgpu(DeviceKind::DefaultDevice));
    assert_eq!(cpu.len(), 1 + 2 * config.widths.len());
    for (cpu, gpu) in cpu.iter().zip(&gpu) {
        assert!((cpu - gpu).abs() <= tolerance * cpu.abs(), "the CPU's losses {cpu}, WebGPU's {gpu}: {config:?}");
    }
}

#[test]
fn moco_v2_agrees_with_the_cpu() {
    webgpu_agrees(&tiny(), 1e-3);
}

#[test]
fn moco_v3_by_lars_agrees_with_the_cpu() {
    webgpu_agrees(&Config { method: Method::Mocov3, optimizer: OptimizerKind::Lars, clip_norm: 1.0, ..tiny() }, 1e-3);
}

#[test]
fn simclr_and_labels_agree_with_the_cpu() {
    for method in [Method::Simclr, Method::Supervised] {
        webgpu_agrees(&Config { method, accumulate: 2, bn_splits: 1, ..tiny() }, 1e-3);
    }
}

#[test]
fn surgery_agrees_with_the_cpu() {
    for surgery in [Surgery::Pcgrad, Surgery::Cagrad] {
        webgpu_agrees(&Config { surgery, ..tiny() }, 1e-3);
    }
}

#[test]
fn an_efficientnet_agrees_with_the_cpu() {
    let backbone = BackboneKind::EfficientnetB0;
    let config = Config { backbone, widths: vec![1.0], batch: 8, bn_splits: 1, image_size: 32, ..tiny() };
    webgpu_agrees(&config, 1e-3);
}

#[test]
fn sixteen_bits_agree_with_the_cpus() {
    let config = Config { precision: Precision::F16, ..tiny() };
    assert!(config.precision.is_supported_by(&Device::wgpu(DeviceKind::DefaultDevice)));
    // The scale at first is too high for these losses: both skip the same steps.
    webgpu_agrees(&config, 2e-2);
}
