//! A backbone of your own: a slimmable network of plain convolutions and max pooling, as VGG's.
//!
//! `cargo run --release --package slimclr-core --example custom_backbone`

use std::error::Error;

use burn::tensor::{Device, Tensor};
use slimclr_core::{
    backbone::{Backbone, Block, ConvNorm, ConvNormShape, Stage},
    config::Config,
    encoder::Encoder,
    head::{Head, HeadKind},
    layout::Layout,
    method::{Batch, Trainer},
    profile::profile,
    width::{Channels, WidthError},
};

fn vgg(layout: &mut Layout) -> Result<Backbone, WidthError> {
    let mut inputs = Channels::IMAGE;
    let mut stages = Vec::new();
    for (number, channels) in [16, 32, 64].into_iter().enumerate() {
        let shape = ConvNormShape { sides: [inputs, Channels::Slim(channels)], kernel: 3, stride: 1, gamma: 1.0 };
        let names = [format!("conv{number}"), format!("bn{number}")];
        let conv = ConvNorm::new(layout, [&names[0], &names[1]], shape)?;
        stages.push(Stage::new(format!("stage {number}"), vec![Block::ConvRelu(conv), Block::MaxPool]));
        inputs = Channels::Slim(channels);
    }
    Ok(Backbone::new(stages, inputs))
}

pub fn main() -> Result<(), Box<dyn Error>> {
    let config = Config { epochs: 0.1, ..Config::mini() };
    let mut layout = Layout::new(config.network_widths()?);
    let backbone = vgg(&mut layout)?;
    let head = Head::new(&mut layout, HeadKind::Mocov2, backbone.features(), config.hidden, config.dim)?;
    let encoder = Encoder::from_parts(layout, backbone, head, None);
    for cost in profile(&encoder, config.image_size) {
        println!("width {}: {} parameters, {} multiply-accumulates", cost.width, cost.parameters, cost.macs);
    }
    let mut trainer = Trainer::new(&config, encoder, &Device::flex());
    let plan = config.schedule(config.batch)?.plan(0);
    let losses = trainer.step(Batch::noise(&config, 0, &Device::flex()), plan).losses.weighted;
    println!("losses of the first step: {}", Tensor::<1>::cat(losses, 0));
    Ok(())
}
