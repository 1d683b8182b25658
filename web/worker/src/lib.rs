#![cfg(target_family = "wasm")]
use wasm_bindgen::prelude::*;
#[wasm_bindgen]
pub async fn probe(depth: usize) -> Vec<f32> {
    use burn::tensor::{Device, Tensor};
    use slimclr_core::{config::Config, method::{Batch, Plan, Trainer}};
    let config = Config { depth, ..Config::mini() };
    let device = if depth == 8 { Device::flex() } else { Device::wgpu_options().init_async().await };
    let mut t = Trainer::new(&config, config.encoder().unwrap().build().unwrap(), &device);
    let v = Tensor::<4>::zeros([8, 3, 32, 32], &device);
    let o = t.step(Batch { views: vec![v.clone(), v], labels: Tensor::zeros([8], &device) }, Plan { slim: true, rate: 0.1, key_momentum: 0.9 });
    Tensor::<1>::cat(o.losses, 0).into_data_async().await.unwrap().iter().collect()
}
