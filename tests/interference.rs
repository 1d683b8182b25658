//! Compares interference measures and gradient surgery with direct computations on whole gradient vectors, zero-padded.

use burn::tensor::{Device, Tensor, TensorData};
use futures::executor::block_on;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64Mcg;
use slimclr_core::{
    config::Config,
    encoder::Encoder,
    gradient::{GradientSum, WidthGradient},
    interference::{
        Observer,
        conflict::agreement,
        surgery::{Surgery, combine},
    },
    layout::{Layout, ParameterId},
    method::{Batch, StepPlan, Trainer},
    optim::loss_scale::LossScale,
    precision::Precision,
    profile::weights_by_stage,
};

const PLAN: StepPlan = StepPlan { rate: 0.05, key_momentum: 0.9, keeps_width_gradients: true, ..StepPlan::trial(0.0) };

fn config() -> Config {
    Config { batch: 4, queue: 16, dim: 8, multiplier: 1.0, image_size: 16, bn_splits: 1, ..Config::mini() }
}

fn encoder(config: &Config) -> Encoder {
    config.encoder().unwrap().build().unwrap()
}

/// Generates a gradient of normal noise at a width, plus a multiple of another gradient's slice if given.
fn noise(layout: &Layout, width: usize, common: Option<(&GradientSum, f64)>) -> WidthGradient {
    let mut random = Pcg64Mcg::seed_from_u64(width as u64);
    let mut gradient = WidthGradient::new(layout, width);
    for (id, spec) in layout.iter().filter(|(_, spec)| spec.is_trained()) {
        let Some(slice) = spec.slice(layout.widths(), width) else { continue };
        let shape = slice.each_ref().map(std::ops::Range::len);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.sample(StandardNormal)).collect();
        gradient.add(id, Tensor::from_data(TensorData::new(values, shape), &Device::flex()));
        if let Some((common, share)) = common.and_then(|(common, share)| Some((common.get(id)?, share))) {
            gradient.add(id, common.clone().slice(slice).mul_scalar(share));
        }
    }
    gradient
}

/// Returns a gradient that is one for every weight of the width.
fn ones(layout: &Layout, width: usize) -> WidthGradient {
    let mut ones = WidthGradient::new(layout, width);
    for (id, spec) in layout.iter().filter(|(_, spec)| spec.is_trained()) {
        if let Some(slice) = spec.slice(layout.widths(), width) {
            ones.add(id, Tensor::ones(slice.each_ref().map(std::ops::Range::len), &Device::flex()));
        }
    }
    ones
}

/// Concatenates the gradients of the parameters selected by `is_chosen`, with zeros for absent ones.
fn padded(layout: &Layout, gradient: &GradientSum, is_chosen: impl Fn(ParameterId) -> bool) -> Vec<f64> {
    let chosen = layout.iter().filter(|(id, spec)| spec.is_trained() && is_chosen(*id));
    chosen
        .flat_map(|(id, spec)| match gradient.get(id) {
            Some(value) => value.clone().into_data().iter().collect(),
            None => vec![0.0; spec.shape().iter().product()],
        })
        .collect()
}

/// Concatenates one width's gradients of the parameters that widths share.
fn shared(layout: &Layout, gradient: &WidthGradient) -> Vec<f64> {
    let sum = GradientSum::of(layout, std::slice::from_ref(gradient));
    padded(layout, &sum, |id| layout.spec(id).only_width.is_none())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let difference: Vec<f64> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
    let error = (dot(&difference, &difference) / dot(expected, expected)).sqrt();
    assert!(error < 1e-5, "relative error {error}");
}

#[test]
fn cosines_and_conflicts_are_those_of_the_common_weights() {
    for (widths, disjoint) in [(vec![1.0, 0.75, 0.5, 0.25], false), (vec![1.0, 0.5, 0.25], true)] {
        let config = Config { widths, disjoint, ..config() };
        let mut trainer = Trainer::new(&config, encoder(&config), &Device::flex());
        let outcome = trainer.step(Batch::noise(&config, 0, &Device::flex()), PLAN);
        let encoder = encoder(&config);
        let (layout, stages) = (encoder.layout(), weights_by_stage(&encoder));
        let (all, by_stage) = block_on(agreement(layout, &stages, &outcome.widths)).unwrap();
        assert_eq!(by_stage.len(), stages.len());
        let all_ids: Vec<ParameterId> = stages.iter().flat_map(|(_, ids)| ids.clone()).collect();
        assert_eq!(all_ids.len(), layout.iter().filter(|(_, spec)| spec.is_weight()).count());
        let names: Vec<&str> = by_stage.iter().map(|it| it.stage.as_str()).collect();
        assert_eq!(names, ["stem", "stage 1", "stage 2", "stage 3", "head"]);

        let count = config.widths.len();
        let measured = by_stage.iter().map(|it| &it.agreement).chain([&all]);
        for (ids, agreement) in stages.iter().map(|(_, ids)| ids).chain([&all_ids]).zip(measured) {
            for (row, column) in (0..count * count).map(|n| (n / count, n % count)) {
                let [one, other] = [row, column].map(|width| {
                    let sum = |width: &WidthGradient| GradientSum::of(layout, std::slice::from_ref(width));
                    let (gradient, ones) = (sum(&outcome.widths[width]), sum(&ones(layout, width)));
                    move |id: ParameterId| {
                        let vector = |gradient| padded(layout, gradient, |other| other == id);
                        vector(&gradient).into_iter().zip(vector(&ones))
                    }
                });
                let products = |id: &ParameterId| {
                    let both = one(*id).zip(other(*id)).filter(|((_, in_one), (_, in_other))| in_one * in_other == 1.0);
                    let (a, b): (Vec<f64>, Vec<f64>) = both.map(|((a, _), (b, _))| (a, b)).unzip();
                    [dot(&a, &b), dot(&a, &a), dot(&b, &b)]
                };
                let products: Vec<[f64; 3]> = ids.iter().map(products).filter(|[_, a, b]| a * b > 0.0).collect();
                let sum = products.iter().fold([0.0; 3], |sum, next| std::array::from_fn(|n| sum[n] + next[n]));
                let cosine = (!products.is_empty()).then(|| sum[0] / (sum[1] * sum[2]).sqrt());
                let conflicting = products.iter().filter(|[product, ..]| *product < 0.0).count() as f64;
                let conflict = (!products.is_empty()).then(|| conflicting / products.len() as f64);
                let found = (agreement.cosines[row][column], agreement.conflicts[row][column]);
                let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
                    (Some(a), Some(b)) => (a - b).abs() < 1e-5,
                    (a, b) => a == b,
                };
                assert!(close(found.0, cosine) && close(found.1, conflict), "{found:?} {cosine:?} {conflict:?}");
            }
        }
        for ((_, ids), stage) in stages.iter().zip(&by_stage) {
            let gradients = outcome.widths.iter().map(|width| GradientSum::of(layout, std::slice::from_ref(width)));
            let norms: Vec<f64> = gradients
                .map(|gradient| padded(layout, &gradient, |id| ids.contains(&id)))
                .map(|vector| dot(&vector, &vector).sqrt())
                .collect();
            let found: Vec<f64> = stage.norms.iter().map(|norm| norm.unwrap()).collect();
            assert_close(&found, &norms);
            assert!(norms.iter().all(|norm| *norm > 0.0));
        }
        if disjoint {
            assert_eq!(all.cosines[1][2], None, "disjoint sub-networks have no common weights");
            assert!(all.cosines[0][2].is_some());
        }
    }
}

#[test]
fn during_slow_start_only_the_full_network_has_a_gradient() {
    let config = Config { widths: vec![1.0, 0.5], ..config() };
    let mut trainer = Trainer::new(&config, encoder(&config), &Device::flex());
    let outcome =
        trainer.step(Batch::noise(&config, 0, &Device::flex()), StepPlan { trains_subnetworks: false, ..PLAN });
    let encoder = encoder(&config);
    let observer = Observer::new(&encoder);
    let (event, _) = block_on(observer.observe(&encoder, &outcome, (1, 0.0))).unwrap().unwrap();
    assert_eq!(event.agreement.cosines, [[Some(1.0), None], [None, None]]);
    assert_eq!(event.agreement.conflicts, [[Some(0.0), None], [None, None]]);
    for stage in &event.stages {
        assert!(matches!(stage.norms[..], [Some(norm), None] if norm > 0.0), "{stage:?}");
    }
    assert_eq!(event.last_layers.singular_values.keys().collect::<Vec<_>>(), ["fc.0.weight", "fc.2.weight"]);
    let product = event.last_layers.products["fc.2.weight"][0];
    let [first, second] = event.last_layers.singular_values["fc.2.weight"];
    // The squared singular values sum to the squared norm.
    assert!(first >= second && first.powi(2) + second.powi(2) <= product * (1.0 + 1e-6) && product > 0.0);
}

#[test]
fn width_gradients_are_unscaled_in_f16() {
    let config = Config { precision: Precision::F16, ..config() };
    let mut trainer = Trainer::new(&config, encoder(&config), &Device::flex());
    // At the initial scale, the gradients of noise overflow.
    trainer.loss_scale = Some(LossScale::from_state(Tensor::from_data([16.0, 0.0], &Device::flex())));
    let outcome = trainer.step(Batch::noise(&config, 0, &Device::flex()), PLAN);
    let layout = trainer.encoder.layout();
    let sum = padded(layout, &GradientSum::of(layout, &outcome.widths), |_| true);
    assert_close(&sum, &padded(layout, &outcome.gradients, |_| true));
}

#[test]
fn pcgrad_leaves_gradients_without_conflict_unchanged() {
    let encoder = encoder(&config());
    let layout = encoder.layout();
    let common = GradientSum::of(layout, &[noise(layout, 0, None)]);
    let widths: Vec<_> = (0..4).map(|width| noise(layout, width, Some((&common, 3.0)))).collect();
    let everything = |sum: GradientSum| padded(layout, &sum, |_| true);
    let unchanged = everything(combine(Surgery::None, layout, &widths, 0));
    assert_close(&everything(combine(Surgery::Pcgrad, layout, &widths, 0)), &unchanged);
    for surgery in [Surgery::Pcgrad, Surgery::Cagrad] {
        let alone = &widths[..1];
        assert_eq!(
            everything(combine(surgery, layout, alone, 0)),
            everything(combine(Surgery::None, layout, alone, 0))
        );
    }
}

#[test]
fn pcgrad_projects_each_gradient_onto_the_normal_plane_of_the_other() {
    let config = Config { widths: vec![1.0, 0.5], ..config() };
    let encoder = encoder(&config);
    let layout = encoder.layout();
    let common = GradientSum::of(layout, &[noise(layout, 0, None)]);
    let widths = [noise(layout, 0, None), noise(layout, 1, Some((&common, -2.0)))];
    let [full, narrow] = widths.each_ref().map(|width| shared(layout, width));
    let full_in_narrow: Vec<f64> = full.iter().zip(&narrow).map(|(a, b)| if *b == 0.0 { 0.0 } else { *a }).collect();
    let product = dot(&full, &narrow);
    assert!(product < 0.0);
    let projected = |gradient: &[f64], other: &[f64]| -> Vec<f64> {
        gradient.iter().zip(other).map(|(a, b)| a - product / dot(other, other) * b).collect()
    };
    let expected: Vec<f64> =
        projected(&full, &narrow).iter().zip(projected(&narrow, &full_in_narrow)).map(|(a, b)| a + b).collect();
    let found = combine(Surgery::Pcgrad, layout, &widths, 0);
    assert_close(&padded(layout, &found, |id| layout.spec(id).only_width.is_none()), &expected);
    // The parameters of one width's norms are not shared, so surgery leaves their gradients unchanged.
    let unshared = |sum: &GradientSum| padded(layout, sum, |id| layout.spec(id).only_width.is_some());
    assert_eq!(unshared(&found), unshared(&combine(Surgery::None, layout, &widths, 0)));
}

#[test]
fn cagrad_maximises_the_worst_widths_gain_within_its_ball() {
    let config = Config { widths: vec![1.0, 0.5, 0.25], ..config() };
    let encoder = encoder(&config);
    let layout = encoder.layout();
    let common = GradientSum::of(layout, &[noise(layout, 0, None)]);
    for share in [-2.0, -0.5, 1.0] {
        let widths: Vec<_> =
            (0..3).map(|width| noise(layout, width, Some((&common, share * (width as f64 - 0.5))))).collect();
        let each: Vec<Vec<f64>> = widths.iter().map(|width| shared(layout, width)).collect();
        let mix = |shares: [f64; 3]| -> Vec<f64> {
            (0..each[0].len()).map(|n| (0..3).map(|width| shares[width] * each[width][n]).sum()).collect()
        };
        let norm = |vector: &[f64]| dot(vector, vector).sqrt();
        let mean = mix([1.0 / 3.0; 3]);
        let sum = combine(Surgery::Cagrad, layout, &widths, 0);
        let sum = padded(layout, &sum, |id| layout.spec(id).only_width.is_none());
        let direction: Vec<f64> = sum.iter().map(|value| value / 3.0).collect();

        let offset: Vec<f64> = direction.iter().zip(&mean).map(|(a, b)| a - b).collect();
        assert!((norm(&offset) / norm(&mean) - 0.5).abs() < 1e-3, "it is not on the ball of radius c |g_0|");
        // By duality, the worst width's gain is at most the minimum of g_w . g_0 + c |g_0| |g_w| over all shares w.
        let gram: Vec<Vec<f64>> = each.iter().map(|a| each.iter().map(|b| dot(a, b)).collect()).collect();
        let product = |a: [f64; 3], b: [f64; 3]| (0..9).map(|n| a[n / 3] * gram[n / 3][n % 3] * b[n % 3]).sum::<f64>();
        let dual = |shares: [f64; 3]| {
            product(shares, [1.0 / 3.0; 3]) + 0.5 * norm(&mean) * product(shares, shares).max(0.0).sqrt()
        };
        let grid = (0..=100).flat_map(|a| (0..=100 - a).map(move |b| [a, b, 100 - a - b].map(|n| n as f64 / 100.0)));
        let bound = grid.map(dual).fold(f64::INFINITY, f64::min);
        let worst = each.iter().map(|gradient| dot(gradient, &direction)).fold(f64::INFINITY, f64::min);
        assert!(worst > bound - 0.01 * bound.abs(), "{worst} of {bound}");
    }
}

#[test]
fn every_surgery_trains() {
    // Disjoint sub-networks share no weights, but they do share the last layer's bias.
    let disjoint = Config { disjoint: true, widths: vec![1.0, 0.5, 0.25], ..config() };
    let parts = Config { accumulate: 2, ..config() };
    for config in [config(), disjoint, parts] {
        let train = |surgery| -> Vec<f64> {
            let config = Config { surgery, ..config.clone() };
            let mut trainer = Trainer::new(&config, encoder(&config), &Device::flex());
            let batch = Batch::noise(&config, 0, &Device::flex());
            let queue = trainer.queue.clone();
            let mut total = || {
                // Otherwise the queue would fill with keys of the same images.
                trainer.queue = queue.clone();
                let losses = trainer.step(batch.clone(), PLAN).losses.weighted;
                Tensor::<1>::cat(losses, 0).sum().into_data().iter::<f64>().sum()
            };
            (0..6).map(|_| total()).collect()
        };
        let none = train(Surgery::None);
        for surgery in [Surgery::Pcgrad, Surgery::Cagrad] {
            let found = train(surgery);
            // No two gradients conflict on this noise, so PCGrad changes nothing.
            let changes = surgery == Surgery::Cagrad;
            assert!(found[0] == none[0] && (found[5] != none[5]) == changes, "{surgery:?}: {found:?} {none:?}");
            assert!(found[5] < found[0], "{surgery:?}: {found:?}");
        }
    }
}
