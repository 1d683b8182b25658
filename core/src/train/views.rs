//! Measures of augmented views, on the images of a host.

use burn::tensor::{Device, Tensor, TensorData};

use super::{Host, TrainError};
use crate::{
    cancellable::yield_now,
    encoder::Encoder,
    eval::{
        features::{chunks, images_at_once},
        views::compare,
    },
    event::ViewMeasures,
    forward::{Forward, Mode},
    parameter::Parameters,
};

/// Measures every width's embeddings of the views that `host` supplies, widest first: the head's outputs before any
/// predictor, in evaluation mode. A width has `None` if there are fewer than two images.
///
/// # Errors
/// If images or the device fail.
pub async fn view_measures<H: Host>(
    host: &mut H,
    encoder: &Encoder,
    parameters: &mut Parameters,
    device: &Device,
) -> Result<Vec<Option<ViewMeasures>>, TrainError<H::Error>> {
    let widths = encoder.layout().widths().len();
    let mut embedded = vec![[Vec::new(), Vec::new()]; widths];
    let mut chunk = 0;
    while let Some(pairs) = host.view_pairs(chunk).await.map_err(TrainError::Host)? {
        chunk += 1;
        if pairs.images() == 0 {
            continue;
        }
        let shape = [pairs.images(), 3, pairs.size, pairs.size];
        for (view, pixels) in pairs.pixels.into_iter().enumerate() {
            let images = Tensor::<4>::from_data(TensorData::new(pixels, shape), device);
            for part in chunks(shape[0], images_at_once(device, pairs.size)) {
                let part = images.clone().slice([part]);
                for (width, embedded) in embedded.iter_mut().enumerate() {
                    let mut forward = Forward::new(parameters, width, Mode::Eval);
                    embedded[view].push(forward.project(encoder, part.clone()));
                    yield_now().await;
                }
            }
        }
    }
    let mut measures = Vec::with_capacity(widths);
    for [first, second] in embedded {
        let measured =
            if first.is_empty() { None } else { compare(Tensor::cat(first, 0), Tensor::cat(second, 0)).await? };
        measures.push(measured);
    }
    Ok(measures)
}
