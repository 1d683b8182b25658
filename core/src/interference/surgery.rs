//! Gradient surgery between widths, for gradients that conflict (an extension of the paper).
//!
//! The widths are the tasks. PCGrad compares and changes a pair's gradients on the slices that both use. CAGrad weighs
//! whole gradients, with zeros where a width has no weights. Norms and switchable layers, which a single width uses,
//! take no part. Nothing is read back from the device.

use burn::tensor::{Tensor, activation::softmax};
use rand::{SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;

pub use slimclr_run::surgery::Surgery;

use crate::{
    gradient::{GradientSum, WidthGradient},
    layout::{Layout, ParameterId},
};

/// How far CAGrad may move from the mean gradient, relative to its norm: `c` of Liu et al. (2021).
const CAGRAD_RADIUS: f64 = 0.5;
/// Descent steps to CAGrad's shares of the widths; the problem is convex, with one unknown per width.
const CAGRAD_STEPS: usize = 60;
/// Size of these steps, for inner products of mean size 1: the fastest to converge of those tried on random gradients.
const CAGRAD_RATE: f64 = 3.0;
/// Keeps quotients of norms finite where a gradient is zero.
const TINY: f64 = 1e-30;

/// Returns the sum of `widths`' gradients after surgery. `seed` sets the order in which PCGrad takes them.
pub fn combine(surgery: Surgery, layout: &Layout, widths: &[WidthGradient], seed: u64) -> GradientSum {
    match surgery {
        // A single width has nothing to conflict with.
        _ if widths.len() == 1 => GradientSum::of(layout, widths),
        Surgery::None => GradientSum::of(layout, widths),
        Surgery::Pcgrad => GradientSum::of(layout, &pcgrad(layout, widths, seed)),
        Surgery::Cagrad => GradientSum::of(layout, &cagrad(layout, widths)),
    }
}

/// Iterates over the parameters that several widths share.
fn shared(layout: &Layout) -> impl Iterator<Item = ParameterId> {
    layout.iter().filter(|(_, spec)| spec.only_width.is_none()).map(|(id, _)| id)
}

/// Computes, on the slices that they share, the inner product of two widths' gradients and of the second with itself,
/// `[1]` each; `None` if they share nothing.
fn products(layout: &Layout, one: &WidthGradient, other: &WidthGradient) -> Option<[Tensor<1>; 2]> {
    let overlaps = shared(layout).filter_map(|id| one.overlap(other, layout, id));
    let (with, of): (Vec<_>, Vec<_>) =
        overlaps.map(|it| ((it.own * it.other.clone()).sum(), it.other.powi_scalar(2).sum())).unzip();
    (!with.is_empty()).then(|| [with, of].map(|products| Tensor::cat(products, 0).sum()))
}

/// Projects each gradient onto the normal plane of every other one that it conflicts with, in random order (Yu et al.
/// 2020, algorithm 1).
fn pcgrad(layout: &Layout, widths: &[WidthGradient], seed: u64) -> Vec<WidthGradient> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut project = |index: usize| {
        let mut projected = widths[index].clone();
        let mut others: Vec<usize> = (0..widths.len()).filter(|other| *other != index).collect();
        others.shuffle(&mut random);
        for other in others.into_iter().map(|other| &widths[other]) {
            let Some([product, square]) = products(layout, &projected, other) else { continue };
            // Zero where they agree.
            let share: Tensor<4> = (product.clamp_max(0.0) / square.clamp_min(TINY)).unsqueeze();
            for id in shared(layout) {
                if let Some(it) = projected.overlap(other, layout, id) {
                    projected.update(id, |value| value.slice_assign(it.place, it.own - it.other * share.clone()));
                }
            }
        }
        projected
    };
    (0..widths.len()).map(&mut project).collect()
}

/// Scales the widths' gradients so that their sum is `n` times CAGrad's direction: within a ball around the mean, the
/// direction that maximises the least gain of any width (Liu et al. 2021, algorithm 1).
fn cagrad(layout: &Layout, widths: &[WidthGradient]) -> Vec<WidthGradient> {
    let scales = cagrad_shares(gram(layout, widths)).add_scalar(1.0);
    let scaled = widths.iter().enumerate().map(|(index, width)| {
        let scale: Tensor<4> = scales.clone().narrow(0, index, 1).unsqueeze();
        let mut scaled = width.clone();
        shared(layout).for_each(|id| scaled.update(id, |value| value * scale.clone()));
        scaled
    });
    scaled.collect()
}

/// Computes the inner products of all pairs of gradients, `[n, n]`.
fn gram(layout: &Layout, widths: &[WidthGradient]) -> Tensor<2> {
    let count = widths.len();
    let mut entries: Vec<Option<Tensor<1>>> = vec![None; count * count];
    for (row, one) in widths.iter().enumerate() {
        for (column, other) in widths.iter().enumerate().skip(row) {
            let product = products(layout, one, other).map(|[product, _]| product);
            entries[column * count + row] = product.clone();
            entries[row * count + column] = product;
        }
    }
    let some = entries.iter().flatten().next().expect("a gradient shares everything with itself").clone();
    let entries = entries.into_iter().map(|entry| entry.unwrap_or_else(|| some.zeros_like())).collect();
    Tensor::cat(entries, 0).reshape([count, count])
}

/// Computes what CAGrad adds to each gradient's weight of 1 in the sum, `[n]`, given their inner products, `[n, n]`.
///
/// Shares `w` of the widths minimise `g_w . g_0 + c |g_0| |g_w|`, with `g_0` the mean gradient and `g_w` that of these
/// shares; they are found by exponentiated gradient descent, which never leaves the simplex.
fn cagrad_shares(gram: Tensor<2>) -> Tensor<1> {
    let count = gram.dims()[0];
    // The shares do not depend on the gradients' scale, but a step's size would.
    let size = gram.clone().abs().mean().clamp_min(TINY);
    let gram = gram / size.unsqueeze();
    let uniform = gram.clone().narrow(0, 0, 1).zeros_like().add_scalar(1.0 / count as f64);
    let with_mean = uniform.clone().matmul(gram.clone());
    let norm = |shares: &Tensor<2>| {
        (shares.clone().matmul(gram.clone()) * shares.clone()).sum().clamp_min(TINY).sqrt().unsqueeze::<2>()
    };
    let radius = norm(&uniform).mul_scalar(CAGRAD_RADIUS);
    let mut logits = uniform.zeros_like();
    let mut shares = uniform.clone();
    for _ in 0..CAGRAD_STEPS {
        let slope = with_mean.clone() + shares.clone().matmul(gram.clone()) * radius.clone() / norm(&shares);
        logits = logits - slope.mul_scalar(CAGRAD_RATE);
        shares = softmax(logits.clone(), 1);
    }
    (shares.clone() * radius / norm(&shares)).mul_scalar(count as f64).flatten(0, 1)
}
