//! The evaluation during training.

use burn::tensor::ExecutionError;

use super::{Emitter, Host, Split, TrainError, view_measures};
use crate::{
    config::Config,
    eval::{
        ProbeAccuracy,
        features::{Collector, Extractor, Features},
        knn::knn,
        rankme::rankme,
    },
    event::{Evaluated, Evaluating, Event, MeasuredOn, NoAccuracy},
    forward::{Forward, Mode},
    method::{MethodKind, Trainer},
};

/// Evaluates every width of the network in training, at the fractional `epoch`. Reports its progress, not its results.
/// The ranks share the computation of features; rank 0 alone has results.
pub(super) async fn evaluate<H: Host>(
    host: &mut H,
    state: &mut Trainer,
    config: &Config,
    epoch: f64,
    emitter: &Emitter<H::Error>,
) -> Result<Vec<Evaluated>, TrainError<H::Error>> {
    let has_labels = host.dataset().has_labels();
    // Without labels, the test images are only viewed.
    let splits: &[Split] = if has_labels { &[Split::Train, Split::Test] } else { &[Split::Train] };
    let of = splits.iter().map(|split| host.evaluated(*split)).sum();
    let mut progress = Evaluating { step: state.steps, images: 0, of };
    let bank = features(host, Split::Train, state, &mut progress, emitter).await?;
    let test = match has_labels {
        true => features(host, Split::Test, state, &mut progress, emitter).await?,
        false => Vec::new(),
    };
    if state.ranks.rank() > 0 {
        return Ok(Vec::new());
    }
    let device = state.query.device();
    let views = view_measures(host, &state.encoder, &mut state.query, &device).await?;
    let labels = |features: &[Features]| features.first().map(|full| full.labels.clone()).unwrap_or_default();
    let no_accuracy = NoAccuracy::of(has_labels, &labels(&bank), &labels(&test));
    let mut evaluated = Vec::with_capacity(config.widths.len());
    for (index, width) in config.widths.iter().enumerate() {
        let (accuracy, classifier) = match no_accuracy {
            None => {
                let (bank, test) = (&bank[index], &test[index]);
                (Some(knn(bank, test, config.knn).await?.vote), classifier(state, config.method, index, test).await?)
            }
            Some(_) => (None, None),
        };
        evaluated.push(Evaluated {
            step: state.steps,
            epoch,
            width: *width,
            knn: accuracy.map(|accuracy| accuracy.fraction),
            knn_standard_error: accuracy.map(|accuracy| accuracy.standard_error),
            no_accuracy,
            measured_on: accuracy.map(|_| MeasuredOn {
                test_images: test[index].labels.len(),
                training_images: bank[index].labels.len(),
                neighbours: config.knn,
            }),
            rankme: Some(rankme(&*bank[index].values).await?),
            views: views[index],
            classifier: classifier.map(|accuracy| accuracy.top1.fraction),
            classifier_top5: classifier.map(|accuracy| accuracy.top5.fraction),
            ..Evaluated::default()
        });
    }
    Ok(evaluated)
}

/// Computes the accuracy of the classifier at the width with this index, if the `method` trains one.
async fn classifier(
    state: &mut Trainer,
    method: MethodKind,
    index: usize,
    test: &Features,
) -> Result<Option<ProbeAccuracy>, ExecutionError> {
    if method != MethodKind::Supervised {
        return Ok(None);
    }
    let mut forward = Forward::new(&mut state.query, index, Mode::Eval);
    ProbeAccuracy::of(test, |features| forward.classify(&state.encoder, features)).await
}

/// Computes the features of the images of a split at every width, widest first. Each rank computes those of some chunks
/// of images, and has all of them then.
async fn features<H: Host>(
    host: &mut H,
    split: Split,
    state: &mut Trainer,
    progress: &mut Evaluating,
    emitter: &Emitter<H::Error>,
) -> Result<Vec<Features>, TrainError<H::Error>> {
    let device = state.query.device();
    let (precision, ranks) = (state.options.precision, state.ranks.clone());
    let mut extractor = Extractor::new(&state.encoder, &mut state.query, &device).in_precision(precision);
    let mut collector = Collector::default();
    let mut chunk = ranks.rank();
    // A value of the latest chunk's features, which the device may still be computing.
    let mut latest = None;
    while let Some(images) = host.labelled(split, chunk).await.map_err(TrainError::Host)? {
        progress.images += images.labels.len();
        if let Some(features) = extractor.extract(images).await {
            // Waits for the chunk before, so that a GPU is never far behind when the run is stopped.
            let value = features.values[0].clone().slice([0..1, 0..1]);
            if let Some(before) = latest.replace(value) {
                before.into_data_async().await?;
            }
            collector.add(features);
        }
        emitter.emit(Event::Evaluating(*progress)).await;
        chunk += ranks.count();
    }
    let widths = state.encoder.layout().widths();
    let features = state.encoder.backbone().features();
    let sizes = (0..widths.len()).map(|width| features.range(widths, width).len());
    collector.gathered(&ranks, sizes, &device).finish().ok_or(TrainError::NoImages(split))
}
