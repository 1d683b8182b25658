//! torchvision's names of a network's tensors.

use std::collections::BTreeSet;

use crate::layout::{Layout, ParameterSpec};

/// Prefix of the first block of torchvision's EfficientNets, which no other backbone has.
const EFFICIENTNET_BLOCK: &str = "features.1.0.block.";

/// Translates a layout's parameter names to torchvision's, for a network of one width.
///
/// The layout has the authors' names: blocks are numbered through the network, shortcuts are called `shortcut`, and the
/// name of a norm or linear layer of one width has the width's index. torchvision numbers blocks within their stage
/// (`layer1.0`), calls shortcuts `downsample`, and has no widths. Other names are kept: those of an EfficientNet are
/// torchvision's except for the head's, and the backbones that torchvision does not have keep their publishers' names.
pub struct Names {
    /// Indices of the stages' first blocks.
    first_blocks: BTreeSet<usize>,
    /// The name of the head, `fc` in the layout.
    head: &'static str,
}

impl Names {
    /// Finds the stages' first blocks in `layout`: the first block, and each with a shortcut, because shortcuts are
    /// where the shape changes.
    pub fn of(layout: &Layout) -> Self {
        let with_shortcut = layout.iter().filter_map(|(_, spec)| {
            let (block, rest) = residual_block(&spec.name)?;
            rest.starts_with("shortcut.").then_some(block)
        });
        let first_blocks = with_shortcut.chain([0]).collect();
        let is_efficientnet = layout.iter().any(|(_, spec)| spec.name.starts_with(EFFICIENTNET_BLOCK));
        // Layer 0 of an EfficientNet's classifier is a dropout.
        Self { first_blocks, head: if is_efficientnet { "classifier.1" } else { "fc" } }
    }

    /// Returns the names of the same network whose head is called `head`.
    pub fn with_head(self, head: &'static str) -> Self {
        Self { head, ..self }
    }

    /// Returns the name of `spec`, such as `layer2.0.bn1.weight` for `features.3.bn1.bn.1.weight`.
    pub fn name(&self, spec: &ParameterSpec) -> String {
        let mut name = spec.name.clone();
        if let Some(index) = spec.only_width {
            // A switchable norm, or a switchable linear layer.
            name = name.replace(&format!(".bn.{index}."), ".").replace(&format!(".linears.{index}."), ".");
        }
        if let Some(part) = name.strip_prefix("fc.") {
            return format!("{}.{part}", self.head);
        }
        let Some((block, rest)) = residual_block(&name) else { return name };
        let stage = self.first_blocks.range(..=block).count();
        let first = self.first_blocks.range(..=block).next_back().expect("block 0 begins the first stage");
        format!("layer{stage}.{}.{}", block - first, rest.replace("shortcut.", "downsample."))
    }
}

/// Splits the name of a tensor in a residual block into the block's index and the rest: 3 and `conv1.weight` for
/// `features.3.conv1.weight`.
fn residual_block(name: &str) -> Option<(usize, &str)> {
    let (block, rest) = name.strip_prefix("features.")?.split_once('.')?;
    // `conv` without a number is the `Sequential` of a MobileNetV3's block.
    let is_residual = ["conv1", "conv2", "conv3", "bn", "shortcut"].iter().any(|layer| rest.starts_with(layer));
    is_residual.then_some((block.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backbone::{
            cifar::cifar_resnet,
            efficientnet::{Form, Size, efficientnet},
            mobilenet::mobilenet_v3_large,
            resnet::{Stem, resnet},
        },
        layers::SlimLinear,
        width::Widths,
    };

    /// Returns the names at the second width.
    fn names(build: impl FnOnce(&mut Layout)) -> Vec<String> {
        let mut layout = Layout::new(Widths::try_from(vec![1.0, 0.5]).unwrap());
        build(&mut layout);
        let names = Names::of(&layout);
        let of_width = layout.iter().filter(|(_, spec)| spec.slice(layout.widths(), 1).is_some());
        of_width.map(|(_, spec)| names.name(spec)).collect()
    }

    /// Returns the names of the blocks, each once.
    fn blocks(names: &[String]) -> Vec<&str> {
        let mut blocks: Vec<&str> =
            names.iter().filter(|name| name.starts_with("layer")).map(|name| &name[..name.len().min(8)]).collect();
        blocks.dedup();
        blocks
    }

    #[test]
    fn blocks_are_numbered_within_their_stage() {
        let names = names(|layout| drop(resnet(layout, Stem::Imagenet, 18, 1.0).unwrap()));
        assert_eq!(
            blocks(&names),
            ["layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1", "layer4.0", "layer4.1"]
        );
        let of_block: Vec<&str> = names.iter().filter_map(|name| name.strip_prefix("layer2.0.")).collect();
        let norm = |layer| ["weight", "bias", "running_mean", "running_var"].map(|part| format!("{layer}.{part}"));
        let mut expected = Vec::new();
        for (conv, bn) in [("conv1", "bn1"), ("conv2", "bn2"), ("downsample.0", "downsample.1")] {
            expected.push(format!("{conv}.weight"));
            expected.extend(norm(bn));
        }
        assert_eq!(of_block, expected);
        assert_eq!(names[..5].concat(), "conv1.weightbn1.weightbn1.biasbn1.running_meanbn1.running_var");
    }

    #[test]
    fn stages_begin_where_the_shape_changes_in_every_backbone() {
        let bottlenecks = names(|layout| drop(resnet(layout, Stem::Imagenet, 50, 2.0).unwrap()));
        let blocks_of = |names: &[String], stage: &str| blocks(names).iter().filter(|b| b.starts_with(stage)).count();
        assert_eq!(["layer1", "layer2", "layer3", "layer4"].map(|stage| blocks_of(&bottlenecks, stage)), [3, 4, 6, 3]);
        assert!(bottlenecks.contains(&"layer1.0.downsample.0.weight".into()));
        let cifar = names(|layout| drop(cifar_resnet(layout, 20, 1.0).unwrap()));
        assert_eq!(["layer1", "layer2", "layer3", "layer4"].map(|stage| blocks_of(&cifar, stage)), [3, 3, 3, 0]);
    }

    #[test]
    fn an_efficientnet_keeps_its_names_except_the_classifiers() {
        let mut layout = Layout::new(Widths::full());
        let features = efficientnet(&mut layout, Size::B0, Form::Torchvision).unwrap().features();
        SlimLinear::new(&mut layout, "fc", [features; 2]).unwrap();
        let names = Names::of(&layout);
        let found: Vec<String> = layout.iter().map(|(_, spec)| names.name(spec)).collect();
        for name in [
            "features.0.1.running_mean",
            "features.1.0.block.1.fc2.bias",
            "features.2.1.block.3.0.weight",
            "features.8.1.bias",
            "classifier.1.weight",
        ] {
            assert!(found.iter().any(|found| found == name), "{name}");
        }
    }

    #[test]
    fn a_mobilenet_keeps_its_names() {
        let mut layout = Layout::new(Widths::full());
        let features = mobilenet_v3_large(&mut layout).unwrap().features();
        SlimLinear::new(&mut layout, "fc", [features; 2]).unwrap();
        let names = Names::of(&layout);
        let found: Vec<String> = layout.iter().map(|(_, spec)| names.name(spec)).collect();
        for name in [
            "features.0.1.running_mean",
            "features.1.conv.0.weight",
            "features.1.conv.5.bias",
            "features.4.conv.5.fc.2.bias",
            "features.15.conv.8.running_var",
            "conv.1.weight",
            "classifier.0.bias",
            "fc.weight",
        ] {
            assert!(found.iter().any(|found| found == name), "{name}");
        }
    }

    #[test]
    fn a_switchable_classifiers_names_have_no_width() {
        let mut layout = Layout::new(Widths::try_from(vec![1.0, 0.5]).unwrap());
        let channels = crate::width::Channels::Fixed(8);
        crate::layers::SwitchableLinear::new(&mut layout, "fc", [channels; 2]).unwrap();
        let names = Names::of(&layout);
        let found: Vec<String> = layout.iter().map(|(_, spec)| names.name(spec)).collect();
        assert_eq!(found, ["fc.weight", "fc.bias", "fc.weight", "fc.bias"]);
    }
}
