//! Nearest neighbours as pictures, for a run's report.

use anyhow::Result;
use slimclr_core::{
    eval::{features::Features, knn::nearest},
    train::Split,
};
use slimclr_report::{LabelledPicture, Neighbours};

use crate::data::Dataset;

/// Test images whose nearest neighbours are shown.
const QUERIES: usize = 6;
/// Nearest neighbours shown for each of them.
const NEIGHBOURS: usize = 6;

/// Finds the training images whose features are most similar at each width, for the first test image of each of a few
/// classes or, without labels, for a few test images spread over all.
///
/// # Errors
/// If an image cannot be read, or the device fails.
pub async fn neighbours(
    dataset: &Dataset,
    widths: &[f64],
    bank: &[Features],
    test: &[Features],
) -> Result<Vec<Neighbours>> {
    let Some(full) = test.first() else { return Ok(Vec::new()) };
    let queries = queries(&full.labels, dataset.summary().classes.len());
    let picture = |split, index| -> Result<LabelledPicture> {
        let class = dataset.summary().classes.get(dataset.label(split, index) as usize).cloned();
        Ok(LabelledPicture { image: dataset.image(split, index)?.into_owned(), class })
    };
    let mut shown: Vec<Neighbours> = Vec::with_capacity(queries.len());
    for query in &queries {
        let query = picture(Split::Test, full.indices[*query as usize])?;
        shown.push(Neighbours { query, per_width: Vec::with_capacity(widths.len()) });
    }
    for ((bank, test), width) in bank.iter().zip(test).zip(widths) {
        let found = nearest(&*bank.values, &test.values.select(&queries), NEIGHBOURS).await?;
        for (shown, found) in shown.iter_mut().zip(found) {
            let pictures = found.iter().map(|neighbour| picture(Split::Train, bank.indices[neighbour.image]));
            shown.per_width.push((*width, pictures.collect::<Result<_>>()?));
        }
    }
    Ok(shown)
}

/// Returns the queries among test images with these labels, of `classes` classes: 0 if they have no labels.
fn queries(labels: &[u32], classes: usize) -> Vec<u32> {
    if classes == 0 {
        let count = QUERIES.min(labels.len());
        return (0..count).map(|query| (query * labels.len() / count) as u32).collect();
    }
    let first = |class| labels.iter().position(|label| *label == class).map(|query| query as u32);
    (0..classes as u32).filter_map(first).take(QUERIES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_of_different_classes_or_spread_over_all_images() {
        assert_eq!(queries(&[0, 0, 2, 1, 2], 4), [0, 3, 2]);
        assert_eq!(queries(&[0; 60], 0), [0, 10, 20, 30, 40, 50]);
        assert_eq!(queries(&[0; 4], 0), [0, 1, 2, 3]);
        assert_eq!(queries(&[], 0), [0; 0]);
    }
}
