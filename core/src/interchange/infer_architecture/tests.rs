use super::*;
use crate::{
    encoder::{BuildError, Predictors},
    width::{WidthError, Widths},
};

fn encoder(backbone: BackboneKind, depth: usize, widths: &[f64], head: HeadKind) -> EncoderConfig {
    let widths = Widths::try_from(widths.to_vec()).unwrap();
    let chooses_hidden = matches!(head, HeadKind::Mocov3 | HeadKind::Simclr | HeadKind::Disco | HeadKind::Swav);
    let hidden = if chooses_hidden { 96 } else { head.paper_hidden() };
    EncoderConfig { widths, hidden, ..EncoderConfig::new(backbone, depth, head, 24) }
}

fn small() -> EncoderConfig {
    encoder(BackboneKind::Cifar, 8, &[1.0, 0.5], HeadKind::Mocov2)
}

/// Returns the state dict of an encoder under `prefix`, with its norms' counters.
fn state_dict(config: &EncoderConfig, prefix: &str) -> Shapes {
    let encoder = config.build().unwrap();
    let shapes = encoder.layout().named_shapes();
    let counter = |name: &str| Some((name.strip_suffix(".running_var")?.to_owned() + BATCHES_SEEN, vec![]));
    let with_counters = shapes.flat_map(|(name, shape)| [counter(&name), Some((name, shape))]);
    with_counters.flatten().map(|(name, shape)| (format!("{prefix}{name}"), shape)).collect()
}

/// Returns the state dict of a plain network with torchvision's names under `prefix`, with its norms' counters.
fn torchvision(config: &EncoderConfig, prefix: &str) -> Shapes {
    let encoder = config.build().unwrap();
    let counter = |name: &str| Some((name.strip_suffix(".running_var")?.to_owned() + BATCHES_SEEN, vec![]));
    let names = Names::of(encoder.layout());
    let shapes = encoder.layout().iter().map(|(_, spec)| (names.name(spec), spec.named_shape()));
    let with_counters = shapes.flat_map(|(name, shape)| [counter(&name), Some((name, shape))]);
    with_counters.flatten().map(|(name, shape)| (format!("{prefix}{name}"), shape)).collect()
}

/// Returns the state dict that MoCo v2 saves.
fn moco_v2(config: &EncoderConfig) -> Shapes {
    let mut all = state_dict(config, "module.encoder_q.");
    all.extend(state_dict(config, "module.encoder_k."));
    all.extend([("module.queue".into(), vec![24, 4096]), ("module.queue_ptr".into(), vec![1])]);
    all
}

#[test]
fn the_architecture_is_inferred_from_names_and_shapes() {
    use BackboneKind::{Cifar, Resnet, ResnetCifarStem};
    use HeadKind::{Disco, Mocov2, Mocov3, Simclr, Supervised, SupervisedSwitch, Swav};
    for config in [
        encoder(Cifar, 20, &[1.0, 0.75, 0.5, 0.25], Mocov2),
        encoder(Cifar, 110, &[1.0], Supervised),
        encoder(Resnet, 18, &[1.0, 0.35], SupervisedSwitch),
        encoder(ResnetCifarStem, 18, &[1.0, 0.5], Mocov2),
        encoder(ResnetCifarStem, 50, &[1.0, 0.25], Simclr),
        encoder(Resnet, 34, &[1.0, 0.9, 0.3, 0.125], Mocov2),
        encoder(Resnet, 50, &[1.0, 0.3], Mocov2),
        encoder(Resnet, 101, &[1.0, 0.5, 0.25], SupervisedSwitch),
        encoder(Resnet, 152, &[1.0, 0.5], Supervised),
        encoder(Resnet, 18, &[1.0, 0.75, 0.25], Simclr),
        encoder(Resnet, 50, &[1.0, 0.25], Mocov3),
        encoder(Resnet, 18, &[1.0, 0.5], Disco),
        EncoderConfig {
            predictors: Predictors::Simdis(vec!["sema_dv".into(), "tema_dv".into()]),
            prototypes: 30,
            ..encoder(Cifar, 20, &[1.0, 0.5], Swav)
        },
        EncoderConfig { multiplier: 2.0, ..encoder(Resnet, 50, &[1.0, 0.75], Mocov2) },
        EncoderConfig { multiplier: 0.5, ..encoder(Resnet, 18, &[1.0], Mocov2) },
        // Of 48 channels: 0.29 as an f64 is slightly below 0.29.
        EncoderConfig { multiplier: 3.0, ..encoder(Cifar, 8, &[1.0, 0.29], Mocov2) },
    ] {
        assert_eq!(infer(&moco_v2(&config), None).unwrap().config, config);
        for prefix in ["module.", "", "encoder_q."] {
            assert_eq!(infer(&state_dict(&config, prefix), None).unwrap().config, config, "{prefix}");
        }
    }
    let moco_v3 = EncoderConfig { predictors: Predictors::Mocov3, ..encoder(Cifar, 8, &[1.0, 0.5], Mocov3) };
    let mut tensors = state_dict(&moco_v3, "module.base_encoder.");
    tensors.extend(state_dict(
        &EncoderConfig { predictors: Predictors::None, ..moco_v3.clone() },
        "module.momentum_encoder.",
    ));
    // The authors' predictor is beside the encoders.
    let beside = |name: String| name.replace("base_encoder.predictor.", "predictor.");
    let tensors = tensors.into_iter().map(|(name, shape)| (beside(name), shape)).collect();
    assert_eq!(infer(&tensors, None).unwrap().config, moco_v3);
}

#[test]
fn values_are_read_by_the_state_dicts_names() {
    let shapes = moco_v2(&small());
    let inferred = infer(&shapes, None).unwrap();
    let parameters = inferred.parameters(&Device::flex(), |name| {
        assert!(name.starts_with("module.encoder_q."));
        let shape = shapes[name].clone();
        Ok::<_, ()>(TensorData::full(shape, name.len() as f32))
    });
    for (spec, value) in parameters.unwrap().named() {
        let expected = "module.encoder_q.".len() + spec.name.len();
        assert_eq!(value.clone().max().into_scalar::<f32>(), expected as f32, "{}", spec.name);
    }
}

#[test]
fn missing_unknown_and_misshapen_tensors_are_named_together() {
    let mut tensors = moco_v2(&small());
    tensors.retain(|name, _| !name.starts_with("module.encoder_q.bn1.bn.0."));
    tensors.insert("module.encoder_q.fc.9.weight".into(), vec![1]);
    tensors.insert("module.encoder_q.fc.0.weight".into(), vec![64, 60]);
    assert_eq!(
        infer(&tensors, None).unwrap_err().to_string(),
        "the tensors do not fit the network: 4 missing (bn1.bn.0.weight, bn1.bn.0.bias, \
         bn1.bn.0.running_mean, …); 1 unknown (fc.9.weight); 1 of another shape (fc.0.weight has shape [64, 60], \
         not [64, 64])"
    );
}

#[test]
fn other_networks_are_refused() {
    let refused = |change: &dyn Fn(&mut Shapes)| {
        let mut tensors = state_dict(&small(), "module.");
        change(&mut tensors);
        infer(&tensors, None).unwrap_err()
    };
    assert_eq!(refused(&|tensors| tensors.clear()), InferError::NoNetwork("0 tensors".into()));
    let stem = |shape: [usize; 4]| refused(&|t| drop(t.insert("module.conv1.weight".into(), shape.to_vec())));
    assert_eq!(stem([16, 3, 5, 5]), InferError::Stem(vec![16, 3, 5, 5]));
    assert!(matches!(stem([20, 3, 3, 3]), InferError::Mismatch(_)), "a stem that does not fit the next layer");
    let none = BuildError::NoChannels { multiplier: 0.0, channels: 16 };
    assert_eq!(stem([0, 3, 3, 3]), InferError::Build(none));
    assert_eq!(refused(&|t| t.retain(|name, _| !name.contains(".bn."))), InferError::NotSlimmable);
    assert_eq!(refused(&|t| t.retain(|name, _| !name.starts_with("module.fc."))), InferError::Head);
    let deeper = refused(&|t| drop(t.insert("module.features.9.conv1.weight".into(), vec![])));
    assert!(matches!(deeper, InferError::Build(BuildError::Depth { depth: 10, .. })), "{deeper}");
    let uneven = refused(&|t| drop(t.insert("module.features.2.bn2.bn.1.running_mean".into(), vec![30])));
    assert_eq!(
        uneven.to_string(),
        "no width fits all norms bn.1: features.2.shortcut.1 has 32 of 64 channels, but features.2.bn2 has 30 of 64 channels"
    );
    let repeated = refused(&|tensors| {
        tensors.retain(|name, _| !name.contains(".bn.1."));
        let again: Shapes =
            tensors.iter().map(|(name, shape)| (name.replace(".bn.0.", ".bn.1."), shape.clone())).collect();
        tensors.extend(again);
    });
    assert!(matches!(repeated, InferError::Width(WidthError::NotDescending { .. })), "{repeated}");
}

#[test]
fn plain_networks_are_inferred_from_torchvisions_names() {
    use BackboneKind::{
        EfficientnetB0, EfficientnetB1, MobilenetV3Large, Resnet, ResnetCifarStem, TfEfficientnetB0, TfEfficientnetB1,
    };
    use HeadKind::{Disco, Mocov2, Mocov3, Simclr, Supervised, Swav};
    for config in [
        encoder(Resnet, 18, &[1.0], Supervised),
        encoder(Resnet, 34, &[1.0], Mocov2),
        encoder(ResnetCifarStem, 18, &[1.0], Simclr),
        EncoderConfig { multiplier: 0.5, ..encoder(ResnetCifarStem, 50, &[1.0], Supervised) },
        encoder(Resnet, 50, &[1.0], Mocov2),
        encoder(Resnet, 50, &[1.0], Simclr),
        encoder(Resnet, 101, &[1.0], Supervised),
        encoder(Resnet, 152, &[1.0], Mocov3),
        EncoderConfig { multiplier: 2.0, ..encoder(Resnet, 50, &[1.0], Supervised) },
        // Channels of a width: 0.3 of 64, 128, 256 and 512, which no multiple of the stem's has.
        EncoderConfig { multiplier: 0.3, ..encoder(Resnet, 18, &[1.0], Supervised) },
        encoder(EfficientnetB0, 0, &[1.0], Supervised),
        encoder(EfficientnetB1, 0, &[1.0], Supervised),
        encoder(TfEfficientnetB0, 0, &[1.0], Mocov2),
        encoder(TfEfficientnetB1, 0, &[1.0], Disco),
        encoder(MobilenetV3Large, 0, &[1.0], Mocov2),
        encoder(Resnet, 18, &[1.0], Disco),
        EncoderConfig { multiplier: 2.0, prototypes: 30, ..encoder(Resnet, 50, &[1.0], Swav) },
        EncoderConfig {
            predictors: Predictors::Simdis(vec!["s_dv".into(), "tema_dv".into()]),
            ..encoder(Resnet, 50, &[1.0], Swav)
        },
    ] {
        for prefix in ["", "module.encoder_q.", "state_dict.model.backbone."] {
            assert_eq!(infer(&torchvision(&config, prefix), None).unwrap().config, config, "{prefix}");
        }
    }
    let moco_v3 = EncoderConfig { predictors: Predictors::Mocov3, ..encoder(Resnet, 50, &[1.0], Mocov3) };
    let tensors = torchvision(&moco_v3, "module.base_encoder.");
    let beside = |name: String| name.replace("base_encoder.predictor.", "predictor.");
    let tensors = tensors.into_iter().map(|(name, shape)| (beside(name), shape)).collect();
    assert_eq!(infer(&tensors, None).unwrap().config, moco_v3);
}

#[test]
fn a_head_that_is_not_known_is_left_out() {
    let resnet = |head: Vec<(&str, Vec<usize>)>| {
        let backbone = torchvision(&encoder(BackboneKind::Resnet, 18, &[1.0], HeadKind::None), "net.");
        let head = head.into_iter().map(|(name, shape)| (name.to_owned(), shape));
        infer(&backbone.into_iter().chain(head).collect(), None).unwrap()
    };
    for (head, description) in [
        (vec![], "ResNet-18 below net; no head"),
        // An unknown one, a deeper one, one without a bias.
        (
            vec![("net.fc.attention", vec![64, 512]), ("net.prototypes.weight", vec![30, 64])],
            "ResNet-18 below net; no known head: 1 unknown (fc.attention); not used: fc.attention, prototypes.weight",
        ),
        (
            vec![
                ("net.fc.0.weight", vec![512, 512]),
                ("net.fc.2.weight", vec![512, 512]),
                ("net.fc.4.weight", vec![24, 512]),
            ],
            "ResNet-18 below net; no known head: 2 missing (fc.0.bias, fc.2.bias); 1 unknown (fc.4.weight); not used: \
             fc.0.weight, fc.2.weight, fc.4.weight",
        ),
        (
            vec![
                ("net.projection_head.0.weight", vec![2048, 512]),
                ("net.projection_head.0.bias", vec![2048]),
                ("net.projection_head.2.weight", vec![24, 2048]),
            ],
            "ResNet-18 below net; no known head: 1 missing (projection_head.2.bias); not used: \
             projection_head.0.bias, projection_head.0.weight, projection_head.2.weight",
        ),
        // What is beside the network is no part of it.
        (vec![("queue", vec![24, 64]), ("other.weight", vec![8, 8, 3, 3])], "ResNet-18 below net; no head"),
    ] {
        let inferred = resnet(head);
        assert_eq!((inferred.config.head, inferred.config.outputs), (HeadKind::None, 512), "{description}");
        assert_eq!(inferred.description, description);
    }
}

#[test]
fn a_branch_and_its_head_are_described() {
    let swav = EncoderConfig { prototypes: 30, ..encoder(BackboneKind::Resnet, 18, &[1.0], HeadKind::Swav) };
    let student = encoder(BackboneKind::Resnet, 18, &[1.0], HeadKind::Mocov2);
    let in_file = |name: &str| name.replace("teacher.fc.", "teacher.projection_head.");
    let tensors = torchvision(&student, "module.student.").into_iter().chain(torchvision(&swav, "module.teacher."));
    let tensors: Shapes = tensors.map(|(name, shape)| (in_file(&name), shape)).collect();
    for (branch, config, description) in [
        (None, &student, "ResNet-18 below student; head 512-512-24; not used: the network below teacher"),
        (
            Some("teacher"),
            &swav,
            "ResNet-18 below teacher; head 512-96-24 with batch norm, 30 prototypes; not used: the network below student",
        ),
    ] {
        let inferred = infer(&tensors, branch).unwrap();
        assert_eq!((&inferred.config, inferred.description.as_str()), (config, description));
    }
    // What does not fit with the head is left out, not the head.
    let mut tensors = torchvision(&swav, "");
    tensors.insert("prototypes.weight".into(), vec![30, 23]);
    let inferred = infer(&tensors, None).unwrap();
    assert_eq!(inferred.config, EncoderConfig { prototypes: 0, ..swav });
    assert!(inferred.description.ends_with("; not used: prototypes.weight"), "{}", inferred.description);
}

#[test]
fn networks_that_resemble_a_known_one_are_refused() {
    let refused = |depth, change: &dyn Fn(&mut Shapes)| {
        let mut tensors = torchvision(&encoder(BackboneKind::Resnet, depth, &[1.0], HeadKind::Supervised), "");
        change(&mut tensors);
        infer(&tensors, None).unwrap_err().to_string()
    };
    // Squeeze-excitation, ResNeXt, a deep stem after the first convolution, a missing norm.
    let squeeze = refused(50, &|t| drop(t.insert("layer1.0.se.fc1.weight".into(), vec![16, 256])));
    assert_eq!(
        squeeze,
        "it resembles ResNet-50, but the tensors do not fit the network: 1 unknown (layer1.0.se.fc1.weight)"
    );
    let grouped = refused(50, &|t| drop(t.insert("layer1.0.conv2.weight".into(), vec![64, 4, 3, 3])));
    assert!(grouped.contains("layer1.0.conv2.weight has shape [64, 4, 3, 3], not [64, 64, 3, 3]"), "{grouped}");
    let stem = refused(18, &|t| drop(t.insert("conv2.weight".into(), vec![64, 64, 3, 3])));
    assert!(stem.contains("1 unknown (conv2.weight)"), "{stem}");
    let norm = refused(18, &|t| drop(t.remove("layer2.0.downsample.1.bias")));
    assert!(norm.contains("1 missing (layer2.0.downsample.1.bias)"), "{norm}");
    let small = refused(18, &|t| {
        t.insert("conv1.weight".into(), vec![64, 3, 3, 3]);
        t.retain(|name, _| !name.starts_with("layer4."));
    });
    assert_eq!(small, InferError::ThreeStages.to_string());
    let grey = refused(18, &|t| drop(t.insert("conv1.weight".into(), vec![64, 1, 7, 7])));
    assert!(grey.starts_with("conv1.weight has shape [64, 1, 7, 7], but"), "{grey}");
    let deeper = refused(18, &|t| drop(t.insert("layer4.2.conv1.weight".into(), vec![512, 512, 3, 3])));
    assert!(deeper.contains("no depth 20: choose from 18, 34, 50, 101, 152"), "{deeper}");
}
