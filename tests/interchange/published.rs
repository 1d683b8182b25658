//! Networks in files as other methods' published code saves them. `tests/python/published.py` writes the files and
//! computes the outputs.

use std::{fs, path::Path};

use burn::tensor::{DType, Device, Tensor};
use safetensors::{Dtype, SafeTensors, serialize, tensor::TensorView};
use slimclr_core::{
    forward::{Forward, Mode},
    interchange::pretrained::Pretrained,
    layout::Shapes,
    visitor::Visitor,
};

use crate::fill::{Kind, fill, input};

const SALT: &str = "fixture/";

/// Files, branches that are asked for, and the beginnings of what is found.
const NARROW: [(&str, Option<&str>, &str); 17] = [
    ("moco.pth.tar", None, "ResNet-18 x0.015625 below state_dict.encoder_q; head 8-8-10; not used: the network below"),
    ("moco.pth.tar", Some("encoder_k"), "ResNet-18 x0.015625 below state_dict.encoder_k; head 8-8-10"),
    ("swav.pth.tar", None, "ResNet-18 x0.015625 below its root; head 8-12-10 with batch norm, 6 prototypes"),
    ("swav-without-norm.pth.tar", None, "ResNet-18 x0.015625 below state_dict; head 8-12-10, 6 prototypes"),
    ("seed.pth.tar", None, "ResNet-18 x0.015625 below state_dict.student; head 8-8-10; not used: the network below"),
    (
        "seed.pth.tar",
        Some("teacher"),
        "ResNet-18 x0.015625 below state_dict.teacher; head 8-12-10 with batch norm, 6 prototypes",
    ),
    ("disco.pth.tar", None, "ResNet-18 x0.015625 below state_dict.encoder_q; head 8-12-10"),
    ("disco.pth.tar", Some("encoder_k"), "ResNet-18 x0.015625 below state_dict.encoder_k; head 8-12-10"),
    ("disco.pth.tar", Some("teacher_encoder_q"), "ResNet-18 x0.015625 below state_dict.teacher_encoder_q; head 8-8-10"),
    ("bingo.pth.tar", None, "ResNet-18 x0.015625 below state_dict.encoder_q; head 8-12-10"),
    (
        "bingo.pth.tar",
        Some("encoder_k"),
        "ResNet-18 x0.015625 below state_dict.encoder_k; head 8-12-10 with batch norm",
    ),
    ("compress.pth", None, "ResNet-18 x0.015625 below model; no head"),
    ("compress-one-queue.pth", None, "ResNet-18 x0.015625 below model; head 8-16"),
    (
        "simdis.pth",
        None,
        "ResNet-18 x0.015625 below model.student; head 8-12-10 with batch norm, predictors sema_dv, tema_dv",
    ),
    ("simdis.pth", Some("student_ema"), "ResNet-18 x0.015625 below model.student_ema; head 8-12-10 with batch norm"),
    (
        "simdis.pth",
        Some("model.teacher"),
        "ResNet-18 x0.015625 below model.teacher; head 8-12-10 with batch norm, predictors ttemadv",
    ),
    ("shi.pth.tar", None, "ResNet-18 x0.015625 below state_dict.encoder_q; head 8-16-10"),
];

/// SEED's students without a narrow form, and what is found.
const LARGE: [(&str, &str); 3] = [
    ("efficientnet_b0", "TensorFlow's EfficientNet-B0"),
    ("efficientnet_b1", "TensorFlow's EfficientNet-B1"),
    ("mobilenet_v3_large", "MobileNetV3-Large"),
];

/// Checks that the networks in `folder` are found and have the outputs that PyTorch computed.
#[track_caller]
pub fn check(folder: &Path) {
    let expected = fs::read(folder.join("published.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&expected).unwrap();
    let mut compared = 0;
    for (file, branch, description) in NARROW {
        let bytes = fs::read(folder.join(file)).unwrap();
        let trained = Pretrained::read_branch(file, bytes, branch).unwrap();
        let found = trained.description().unwrap();
        assert!(found.starts_with(&format!("{file}: {description}")), "{found}");
        compared += compare(&trained, file, &expected);
    }
    let shapes = fs::read(folder.join("shapes.json")).unwrap();
    let shapes: serde_json::Map<_, _> = serde_json::from_slice(&shapes).unwrap();
    for (name, network) in LARGE {
        let file = format!("{name}.pth.tar");
        let shapes: Shapes = serde_json::from_value(shapes[name].clone()).unwrap();
        let complete = folder.join(&file);
        let bytes = if complete.exists() { fs::read(complete).unwrap() } else { filled(&shapes) };
        let trained = Pretrained::read(&file, bytes).unwrap();
        let found = trained.description().unwrap();
        assert!(found.contains(network) && found.contains("student; head 1280-1280-10"), "{found}");
        compared += compare(&trained, &file, &expected);
    }
    // Features and outputs of each network, the scores of three heads, and three predictors.
    assert_eq!(compared, 2 * (NARROW.len() + LARGE.len()) + 3 + 3);
}

/// Returns a file with a network of these shapes, whose values are those that PyTorch had.
fn filled(shapes: &Shapes) -> Vec<u8> {
    let salt = format!("{SALT}student/");
    let tensor = |(name, shape): (&String, &Vec<usize>)| match shape.is_empty() {
        // The batches that a norm has seen.
        true => (name.clone(), Dtype::I64, vec![0; 8]),
        false => {
            let values = fill(&salt, name, shape, Kind::of(name, shape.len()));
            (name.clone(), Dtype::F32, values.into_iter().flat_map(f32::to_le_bytes).collect())
        }
    };
    let tensors: Vec<(String, Dtype, Vec<u8>)> = shapes.iter().map(tensor).collect();
    let views = tensors.iter().map(|(name, dtype, bytes)| {
        (format!("module.student.{name}"), TensorView::new(*dtype, shapes[name].clone(), bytes).unwrap())
    });
    serialize(views, None).unwrap()
}

/// Compares what a network computes with the tensors of its file and branch. Returns how many were compared.
#[track_caller]
fn compare(trained: &Pretrained, file: &str, expected: &SafeTensors) -> usize {
    let (branch, _) = trained.branches().unwrap();
    // A file with one network has it under no branch.
    let names = [branch.rsplit('.').next().unwrap(), ""].map(|branch| format!("{file}/{branch}/"));
    let name = names.iter().find(|name| expected.tensor(&format!("{name}features")).is_ok()).unwrap();
    let images: Tensor<4> = input(SALT, "input", [2, 3, 64, 64], DType::F32, &Device::flex());
    let (encoder, mut parameters) = trained.load(&Device::flex()).unwrap();
    let mut pass = Forward::new(&mut parameters, 0, Mode::Eval);
    let features = pass.features(&encoder, images.clone());
    let outputs = pass.project(&encoder, images);
    let unflattened: Tensor<4> = outputs.clone().unsqueeze_dims(&[2, 3]);
    let mut found = vec![("features".to_owned(), features), ("outputs".to_owned(), outputs)];
    if let Some(prototypes) = encoder.prototypes() {
        found.push(("scores".into(), pass.linear(unflattened.clone(), prototypes).flatten(1, 3)));
    }
    for view in ["sema_dv", "tema_dv", "ttemadv"] {
        if let Some(predictor) = encoder.view_predictor(view) {
            found.push((view.into(), predictor.visit(unflattened.clone(), &mut pass).flatten(1, 3)));
        }
    }
    let compared = found.len();
    for (output, found) in found {
        let view = expected.tensor(&format!("{name}{output}")).unwrap();
        let pytorch: Vec<f32> = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        assert_eq!(found.dims().to_vec(), view.shape(), "{name}{output}");
        let found: Vec<f32> = found.into_data().iter().collect();
        let squares: f32 = pytorch.iter().map(|theirs| theirs * theirs).sum();
        let differences: f32 = found.iter().zip(&pytorch).map(|(ours, theirs)| (ours - theirs).powi(2)).sum();
        assert!(differences <= 1e-10 * squares, "{name}{output}: {differences} of {squares}");
    }
    compared
}
