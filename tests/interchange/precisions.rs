//! Networks in f16 and in 8 bits.

use std::fs;

use burn::tensor::{DType, Device, Tensor};
use futures::executor::block_on;
use slimclr_core::{
    config::Config,
    interchange::{
        onnx::{Ranges, Runtime},
        sub_network::SubNetwork,
    },
};

use crate::{Network, bytes, fill, python, write_tensors};

/// Checks that ONNX Runtime computes the narrowest network of a run with these options, in f16 and in 8 bits, as the
/// library does.
#[track_caller]
pub fn agree(config: &Config) {
    let folder = tempfile::tempdir().unwrap();
    let Network { encoder, parameters, .. } = Network::write_run(folder.path().join("run"), config);
    let network = block_on(SubNetwork::take(&encoder, &parameters, config.widths.len() - 1)).unwrap();
    let folded = network.to_onnx().without_norms();
    let images: Tensor<4> = fill::input("interchange/", "images", [3, 3, 64, 64], DType::F32, &Device::flex());
    let mut ranges = Ranges::default();
    block_on(ranges.observe(&Runtime::new(&folded, &Device::flex()), images.clone())).unwrap();

    let mut arguments = Vec::new();
    for (precision, rounded) in [("f16", folded.in_f16()), ("int8", folded.in_int8(&ranges))] {
        let outputs = Runtime::new(&rounded, &Device::flex()).run(images.clone());
        let mut tensors = vec![("images", images.dims().to_vec(), bytes(images.clone().flatten(0, 3)))];
        for (name, output) in ["features", "logits"].into_iter().zip(outputs) {
            tensors.push((name, output.dims().to_vec(), bytes(output.flatten(0, 1))));
        }
        let [expected, path] =
            ["safetensors", "onnx"].map(|kind| folder.path().join(format!("network-{precision}.{kind}")));
        write_tensors(&expected, &tensors);
        fs::write(&path, rounded.encode(&[])).unwrap();
        arguments.extend([expected, path]);
    }
    python("check_precisions.py", &arguments);
}
