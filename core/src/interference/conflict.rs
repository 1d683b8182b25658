//! Agreement of the widths' gradients on the weights that they share.

use burn::tensor::{ExecutionError, Tensor};
use slimclr_run::interference::agreement::{Agreement, Pairs, StageAgreement};

use crate::{
    gradient::WidthGradient,
    layout::{Layout, ParameterId},
};

/// Measures the gradients of one step by stage, reading the device once: each stage's agreement and norms, and the
/// agreement over all of them.
///
/// # Errors
/// If the device fails.
pub async fn agreement(
    layout: &Layout,
    stages: &[(String, Vec<ParameterId>)],
    gradients: &[WidthGradient],
) -> Result<(Agreement, Vec<StageAgreement>), ExecutionError> {
    let mut on_device = Vec::new();
    // Stage and pair of widths of each three products, in the same order.
    let mut places = Vec::new();
    for (number, (_, weights)) in stages.iter().enumerate() {
        for (wider, one) in gradients.iter().enumerate() {
            for (narrower, other) in gradients.iter().enumerate().skip(wider + 1) {
                for id in weights {
                    let Some(it) = one.overlap(other, layout, *id) else { continue };
                    on_device.push((it.own.clone() * it.other.clone()).sum());
                    on_device.extend([it.own, it.other].map(|part| part.powi_scalar(2).sum()));
                    places.push((number, [wider, narrower]));
                }
            }
        }
    }
    let compared = on_device.len();
    // Stage and width of each square; the squares follow the products.
    let mut owners = Vec::new();
    for (number, (_, weights)) in stages.iter().enumerate() {
        for (width, gradient) in gradients.iter().enumerate() {
            let squares = weights.iter().filter_map(|id| Some(gradient.get(*id)?.clone().powi_scalar(2).sum()));
            let before = on_device.len();
            on_device.extend(squares);
            owners.extend(std::iter::repeat_n((number, width), on_device.len() - before));
        }
    }
    let read: Vec<f64> = if on_device.is_empty() {
        Vec::new()
    } else {
        Tensor::cat(on_device, 0).into_data_async().await?.iter().collect()
    };
    let (products, squares) = read.split_at(compared);
    let measured: Vec<(usize, [usize; 2], Products)> = places
        .into_iter()
        .zip(products.chunks_exact(3))
        .map(|((stage, pair), products)| (stage, pair, [products[0], products[1], products[2]]))
        .collect();
    let widths = layout.widths().len();
    let trained = gradients.len();
    let of_stages = |is_in: &dyn Fn(usize) -> bool| {
        let within = || measured.iter().filter(|(stage, ..)| is_in(*stage));
        let of_pair = |pair| within().filter(move |(_, of, _)| *of == pair).map(|(.., products)| *products);
        Agreement {
            cosines: pairs(widths, trained, 1.0, |pair| {
                cosine(of_pair(pair).fold([0.0; 3], |sum, of| std::array::from_fn(|index| sum[index] + of[index])))
            }),
            conflicts: pairs(widths, trained, 0.0, |pair| {
                let cosines: Vec<f64> = of_pair(pair).filter_map(cosine).collect();
                let against = cosines.iter().filter(|cosine| **cosine < 0.0).count();
                (!cosines.is_empty()).then(|| against as f64 / cosines.len() as f64)
            }),
        }
    };
    let norm = |owner: (usize, usize)| {
        let own = owners.iter().zip(squares).filter(|(other, _)| **other == owner).map(|(_, square)| square);
        (owner.1 < trained).then(|| own.sum::<f64>().sqrt())
    };
    let by_stage = stages.iter().enumerate().map(|(number, (name, _))| StageAgreement {
        stage: name.clone(),
        agreement: of_stages(&|stage| stage == number),
        norms: (0..widths).map(|width| norm((number, width))).collect(),
    });
    Ok((of_stages(&|_| true), by_stage.collect()))
}

/// The inner product of two gradients on their shared slices, and of each with itself.
type Products = [f64; 3];

/// Computes the cosine; `None` if one of the two is zero.
fn cosine([product, one, other]: Products) -> Option<f64> {
    let lengths = (one * other).sqrt();
    (lengths > 0.0).then(|| product / lengths)
}

/// Builds a symmetric matrix over `widths`, with `own` on the diagonal and `None` beyond the first `trained`.
fn pairs(widths: usize, trained: usize, own: f64, of: impl Fn([usize; 2]) -> Option<f64>) -> Pairs {
    let entry = |row: usize, column: usize| match (row.min(column), row.max(column)) {
        (_, last) if last >= trained => None,
        (first, last) if first == last => Some(own),
        (first, last) => of([first, last]),
    };
    (0..widths).map(|row| (0..widths).map(|column| entry(row, column)).collect()).collect()
}
