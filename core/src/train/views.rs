//! Measures of augmented views, on the images of a host.

use burn::tensor::{Device, Tensor};

use super::{Host, TrainError};
use crate::{
    encoder::Encoder,
    eval::{
        features::Extractor,
        views::{compare, prototypes_in_use},
    },
    event::ViewMeasures,
    parameter::Parameters,
};

/// Measures every width's embeddings of the views that `host` supplies, widest first. A width has `None` if there are
/// fewer than two images.
///
/// # Errors
/// If images or the device fail.
pub async fn view_measures<H: Host>(
    host: &mut H,
    encoder: &Encoder,
    parameters: &mut Parameters,
    device: &Device,
) -> Result<Vec<Option<ViewMeasures>>, TrainError<H::Error>> {
    let mut extractor = Extractor::new(encoder, parameters, device);
    let mut embedded = vec![[Vec::new(), Vec::new()]; encoder.layout().widths().len()];
    let mut chunk = 0;
    while let Some(pairs) = host.view_pairs(chunk).await.map_err(TrainError::Host)? {
        chunk += 1;
        if pairs.images() == 0 {
            continue;
        }
        for (view, pixels) in pairs.pixels.into_iter().enumerate() {
            let of_widths = extractor.embed(pixels, pairs.size).await;
            embedded.iter_mut().zip(of_widths).for_each(|(embedded, of_width)| embedded[view].push(of_width));
        }
    }
    let mut measures = Vec::with_capacity(embedded.len());
    let prototypes =
        encoder.prototypes().map(|layer| parameters.get(layer.weight()).clone().flatten::<3>(2, 3).flatten(1, 2));
    for [first, second] in embedded {
        if first.is_empty() {
            measures.push(None);
            continue;
        }
        let [first, second] = [first, second].map(|views| Tensor::cat(views, 0));
        let mut measured = compare(first.clone(), second.clone()).await?;
        if let (Some(measured), Some(prototypes)) = (&mut measured, &prototypes) {
            let both = Tensor::cat(vec![first, second], 0);
            measured.prototypes = Some(prototypes_in_use(both, prototypes.clone()).await?);
        }
        measures.push(measured);
    }
    Ok(measures)
}
