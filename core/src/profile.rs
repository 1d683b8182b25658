//! What a network costs at each width and stage: parameters and multiply-accumulates.

use serde::{Deserialize, Serialize};

use crate::{
    encoder::Encoder,
    parameter::{Layout, ParameterId},
    slim::{SlimConv2d, SlimLinear, SwitchableBatchNorm},
    walk::{Then, Walk},
};

/// One stage of a network, or all of it: the stem, a stage of blocks, the head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Parameters that the width uses there: its slices, its own norms.
    pub parameters: u64,
    /// Multiply-accumulates of convolutions and linear layers for one image.
    pub macs: u64,
}

/// One width's line of the profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The width.
    pub width: f64,
    /// Parameters that it uses: its slices, its own norms, the head.
    pub parameters: u64,
    /// Multiply-accumulates of convolutions and linear layers for one image.
    pub macs: u64,
    /// The same by stage.
    #[serde(default)]
    pub stages: Vec<Stage>,
}

/// Profiles every width of `encoder`, head included, on square images of `side` pixels.
pub fn profile(encoder: &Encoder, side: usize) -> Vec<Profile> {
    let layout = encoder.layout();
    (0..)
        .zip(layout.widths().iter())
        .map(|(index, width)| {
            let mut cost = Cost { layout, width: index, stages: Vec::new() };
            encoder.walk(Extent { height: side, width: side }, &mut cost);
            let stages = cost.stages;
            Profile {
                width,
                parameters: stages.iter().map(|stage| stage.parameters).sum(),
                macs: stages.iter().map(|stage| stage.macs).sum(),
                stages,
            }
        })
        .collect()
}

/// Height and width of a feature map, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    height: usize,
    width: usize,
}

impl Extent {
    fn strided(self, stride: usize) -> Self {
        Self { height: self.height.div_ceil(stride), width: self.width.div_ceil(stride) }
    }
}

/// The walk that counts.
struct Cost<'a> {
    layout: &'a Layout,
    width: usize,
    stages: Vec<Stage>,
}

impl Cost<'_> {
    fn current(&mut self) -> &mut Stage {
        self.stages.last_mut().expect("every walk begins with a stage")
    }

    /// Counts a layer that applies its weight at every pixel of `output`.
    fn weight(&mut self, weight: ParameterId, output: Extent) {
        let parameters = self.layout.count_of(weight, self.width);
        let stage = self.current();
        stage.parameters += parameters;
        stage.macs += parameters * (output.height * output.width) as u64;
    }
}

impl Walk for Cost<'_> {
    type Value = Extent;

    fn width(&self) -> usize {
        self.width
    }

    fn stage(&mut self, name: &str) {
        self.stages.push(Stage { name: name.into(), parameters: 0, macs: 0 });
    }

    fn conv(&mut self, x: Extent, conv: &SlimConv2d) -> Extent {
        let output = x.strided(conv.stride());
        self.weight(conv.weight(), output);
        output
    }

    fn norm(&mut self, x: Extent, norm: &SwitchableBatchNorm, _: Then<Extent>) -> Extent {
        for id in norm.affine(self.width).into_iter().flatten() {
            self.current().parameters += self.layout.count_of(id, self.width);
        }
        x
    }

    fn linear(&mut self, x: Extent, linear: &SlimLinear) -> Extent {
        self.weight(linear.weight(), x);
        if let Some(bias) = linear.bias() {
            self.current().parameters += self.layout.count_of(bias, self.width);
        }
        x
    }

    fn relu(&mut self, x: Extent) -> Extent {
        x
    }

    fn add(&mut self, a: Extent, _: Extent) -> Extent {
        a
    }

    fn max_pool(&mut self, x: Extent) -> Extent {
        x.strided(2)
    }

    fn average_pool(&mut self, _: Extent) -> Extent {
        Extent { height: 1, width: 1 }
    }
}
