//! BINGO's bags, and the boxes of CutMix.

use burn::tensor::{DType, Device, Tensor};
use futures::executor::block_on;
use serde::Deserialize;
use serde_json::Value;
use slimclr_core::{
    loss::normalize,
    method::bingo::{CutMix, most_similar},
};

use crate::{
    compare::{Differences, Quantity, tolerance, values},
    fill::input,
    runners::{field, text},
};

#[derive(Deserialize)]
struct CutMixRecord {
    height: usize,
    width: usize,
    lam: f64,
    center: [usize; 2],
    /// First row and the row after the last, then columns; all zero without pixels.
    r#box: [usize; 4],
    pasted: usize,
    lam_adjusted: f64,
}

pub fn bingo_bag(case: &Value, dtype: DType) -> Differences {
    let mut differences = Differences::default();
    let shape = [field(case, "n"), field(case, "dim")];
    let features: Tensor<2> = normalize(input(text(case, "salt"), "features", shape, dtype, &Device::flex()));
    let size = field(case, "bag");
    let bags = block_on(most_similar(&features, size)).unwrap();
    let expected: Vec<Vec<u32>> = field(case, "neighbours");
    differences.exact("images", &[bags.len() / size], &[expected.len()]);
    for (image, (members, expected)) in bags.chunks(size).zip(&expected).enumerate() {
        differences.exact(&format!("bag of image {image}"), members, expected);
    }
    for record in field::<Vec<CutMixRecord>>(case, "cutmix") {
        cut_mix(&record, dtype, &mut differences);
    }
    differences
}

/// Compares the pixels that are pasted, and the share of the others.
fn cut_mix(record: &CutMixRecord, dtype: DType, differences: &mut Differences) {
    let CutMixRecord { height, width, lam, center, .. } = *record;
    let name = format!("CutMix of {height} by {width} pixels, {lam} at {center:?}");
    let cut = CutMix::new(lam, center, [height, width]);
    let [onto, from] = [0.0, 1.0].map(|value| Tensor::<4>::full([1, 1, height, width], value, &Device::flex()));
    let pixels = values(&cut.paste(from, onto));
    let pasted: Vec<[usize; 2]> =
        (0..pixels.len()).filter(|index| pixels[*index] == 1.0).map(|index| [index / width, index % width]).collect();
    let [rows, columns] = [0, 1].map(|dim| {
        let places = pasted.iter().map(|pixel| pixel[dim]);
        [places.clone().min().unwrap_or(0), places.max().map_or(0, |last| last + 1)]
    });
    differences.exact(&format!("box of {name}"), &[rows, columns].concat(), &record.r#box);
    differences.exact(&format!("pixels of {name}"), &[pasted.len()], &[record.pasted]);
    differences.number(
        &format!("share of {name}"),
        cut.share,
        record.lam_adjusted,
        tolerance(Quantity::TwoStage, "", dtype),
    );
}
