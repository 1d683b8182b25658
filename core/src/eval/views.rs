//! Measures of two augmented views of each of some images. They need no labels.
//!
//! Of embeddings `x` and `y` of the first and second views, of unit length, the cosines `c = x yᵀ`, `[n, n]`, say all:
//! the diagonal compares two views of one image, the rest views of different images. With distances `d² = 2 - 2 c`,
//! alignment and uniformity (Wang & Isola 2020, "Understanding contrastive representation learning through alignment and
//! uniformity on the hypersphere", with alpha = 2 and t = 2) are:
//!
//! ```text
//! alignment  = mean d²             over the diagonal
//! uniformity = ln mean exp(-2 d²)  over the rest
//! ```
//!
//! The spread is that of all rows of `x` and `y` (Chen & He 2021, "Exploring simple Siamese representation learning",
//! figure 2).

use burn::tensor::{ExecutionError, Tensor};

use crate::{event::ViewMeasures, loss::normalize};

/// Computes the effective number of prototypes that embeddings, `[n, d]`, are nearest to among `prototypes`, `[p, d]`, both
/// of any length: the exponential of the entropy of the prototypes' shares, from 1 to the smaller of `n` and `p`.
///
/// # Errors
/// If the device fails.
pub async fn prototypes_in_use(embeddings: Tensor<2>, prototypes: Tensor<2>) -> Result<f64, ExecutionError> {
    let ([images, _], [count, _]) = (embeddings.dims(), prototypes.dims());
    let nearest = normalize(embeddings).matmul(normalize(prototypes).transpose()).argmax(1).into_data_async().await?;
    let mut shares = vec![0.0_f64; count];
    nearest.iter::<i64>().for_each(|prototype| shares[prototype as usize] += 1.0 / images as f64);
    Ok(shares.into_iter().filter(|share| *share > 0.0).map(|share| -share * share.ln()).sum::<f64>().exp())
}

/// Compares the embeddings of the first and the second views of the same images, `[n, d]` each, of any length. Measures
/// are NaN if an embedding is. Returns `None` if there are fewer than two images.
///
/// # Errors
/// If the device fails.
pub async fn compare(first: Tensor<2>, second: Tensor<2>) -> Result<Option<ViewMeasures>, ExecutionError> {
    let [images, _] = first.dims();
    if images < 2 {
        return Ok(None);
    }
    let spread = spread(Tensor::cat([&first, &second].map(|views| normalize(views.clone())).into(), 0));
    let spread = spread.into_data_async().await?.iter().next();
    let cosines = cosines(first, second).await?;
    // Rounding may exceed 1. Sums have 64 bits.
    let cosine = |at: usize| f64::from(cosines[at]).clamp(-1.0, 1.0);
    let (mut same, mut different, mut exponentials) = (0.0, 0.0, 0.0);
    for row in 0..images {
        for column in 0..images {
            let cosine = cosine(row * images + column);
            if row == column {
                same += cosine;
            } else {
                different += cosine;
                exponentials += (4.0 * cosine - 4.0).exp();
            }
        }
    }
    let pairs = (images * (images - 1)) as f64;
    let cosine_same_image = same / images as f64;
    Ok(Some(ViewMeasures {
        alignment: 2.0 - 2.0 * cosine_same_image,
        uniformity: (exponentials / pairs).ln(),
        cosine_same_image,
        cosine_different_images: different / pairs,
        spread,
        prototypes: None,
    }))
}

/// Computes the mean standard deviation of the columns, `[1]`.
fn spread(embeddings: Tensor<2>) -> Tensor<1> {
    let centred = embeddings.clone() - embeddings.mean_dim(0);
    centred.powi_scalar(2).mean_dim(0).sqrt().mean()
}

/// Returns for each image whether its two views find each other: the second view's embedding is more similar to the first
/// view's than those of all other images are. Takes their [`cosines`].
pub fn find_each_other(cosines: &[f32], images: usize) -> Vec<bool> {
    // Views that are equally similar are not found: a collapsed network embeds all alike.
    let finds =
        |(row, cosines): (usize, &[f32])| (0..images).all(|column| column == row || cosines[column] < cosines[row]);
    cosines.chunks_exact(images.max(1)).enumerate().map(finds).collect()
}

/// Computes the cosines of the embeddings of the first views, a row each, with those of the second ones. Shapes as for
/// [`compare`].
///
/// # Errors
/// If the device fails.
pub async fn cosines(first: Tensor<2>, second: Tensor<2>) -> Result<Vec<f32>, ExecutionError> {
    Ok(normalize(first).matmul(normalize(second).transpose()).into_data_async().await?.iter().collect())
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use futures::executor::block_on;
    use rand::{RngExt, SeedableRng};
    use rand_distr::StandardNormal;
    use rand_pcg::Pcg64Mcg;

    use super::*;

    fn matrix(values: Vec<f32>, images: usize) -> Tensor<2> {
        let shape = [images, values.len() / images];
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    fn of(first: Vec<f32>, second: Vec<f32>, images: usize) -> Option<ViewMeasures> {
        block_on(compare(matrix(first, images), matrix(second, images))).unwrap()
    }

    #[test]
    fn views_find_each_other_if_no_other_image_is_as_similar() {
        let found = |first: &[f32], second: &[f32]| {
            find_each_other(&block_on(cosines(matrix(first.to_vec(), 3), matrix(second.to_vec(), 3))).unwrap(), 3)
        };
        let axes = [1.0, 0.0, 0.0, 1.0, -1.0, 0.0];
        // Lengths do not matter. The second image's view is turned towards the first image.
        assert_eq!(found(&axes, &[9.0, 0.1, 0.9, -0.1, -0.2, 0.0]), [true, false, true]);
        assert_eq!(found(&axes, &axes), [true; 3]);
        assert_eq!(found(&[1.0; 6], &[1.0; 6]), [false; 3]);
        assert_eq!(found(&[f32::NAN; 6], &axes), [false; 3]);
    }

    #[track_caller]
    fn assert_near(found: ViewMeasures, expected: [f64; 5], tolerance: f64) {
        let ViewMeasures { alignment, uniformity, cosine_same_image, cosine_different_images, spread, .. } = found;
        let found = [alignment, uniformity, cosine_same_image, cosine_different_images, spread.unwrap()];
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
        }
    }

    #[test]
    fn measures_equal_those_of_numpy() {
        let first = vec![1.0, 2.0, 3.0, -1.0, 0.5, 2.0, 0.0, -3.0, 1.0, 2.0, 2.0, -1.0];
        let second = vec![1.5, 2.0, 2.0, -1.0, 1.0, 1.0, 0.5, -2.0, 2.0, 1.0, 3.0, -1.0];
        // x, y: the rows above, divided by their norms. alignment: np.mean(np.linalg.norm(x - y, axis=1) ** 2)
        // uniformity: np.log(np.mean(np.exp(-2 * ((x[:, None] - y[None]) ** 2).sum(-1)[~np.eye(4, dtype=bool)])))
        // spread: np.concatenate([x, y]).std(0).mean()
        let numpy =
            [0.18638819933914463, -2.8268475580711234, 0.9068059003304276, -0.011172257901085184, 0.4952208194670972];
        assert_near(of(first, second, 4).unwrap(), numpy, 1e-6);
    }

    #[test]
    fn prototypes_in_use_are_one_if_all_embeddings_belong_to_it() {
        let device = Device::flex();
        let prototypes = Tensor::<2>::from_data([[3.0, 0.0], [0.0, 0.1], [-1.0, 0.0]], &device);
        let of = |embeddings: Tensor<2>| block_on(prototypes_in_use(embeddings, prototypes.clone())).unwrap();
        let one = Tensor::from_data([[1.0, 0.2], [5.0, 1.0], [0.1, 0.0], [9.0, -8.0]], &device);
        assert!((of(one) - 1.0).abs() < 1e-12);
        // Lengths do not matter.
        let two = Tensor::from_data([[1.0, 0.2], [1.0, 2.0], [0.1, 0.0], [0.0, 0.1]], &device);
        assert!((of(two) - 2.0).abs() < 1e-12);
        let uneven = Tensor::from_data([[1.0, 0.2], [1.0, 2.0], [0.1, 0.0], [0.3, 0.1]], &device);
        assert!((of(uneven) - (0.25 * 4.0_f64.ln() + 0.75 * (4.0_f64 / 3.0).ln()).exp()).abs() < 1e-12);
    }

    #[test]
    fn a_collapsed_network_has_a_cosine_of_one_everywhere() {
        let collapsed: Vec<f32> =
            (1..=100).flat_map(|image| [0.3, -0.1, 0.7].map(|value| value * image as f32)).collect();
        assert_near(of(collapsed.clone(), collapsed, 100).unwrap(), [0.0, 0.0, 1.0, 1.0, 0.0], 1e-6);
    }

    #[test]
    fn orthogonal_embeddings_are_perfectly_aligned_and_uniform() {
        let identity: Vec<f32> = (0..64 * 64).map(|at| if at / 64 == at % 64 { 2.0 } else { 0.0 }).collect();
        assert_near(
            of(identity.clone(), identity, 64).unwrap(),
            [0.0, -4.0, 1.0, 0.0, (1.0_f64 / 64.0 - 1.0 / 4096.0).sqrt()],
            1e-6,
        );
    }

    #[test]
    fn random_embeddings_have_cosines_near_zero() {
        let mut random = Pcg64Mcg::seed_from_u64(0);
        let mut noise = || -> Vec<f32> { (0..256 * 128).map(|_| random.sample(StandardNormal)).collect() };
        // Views are as unlike as different images. The mean of exp(4 c) is about 1 + 8 / 128.
        let expected = [2.0, 0.0625_f64.ln_1p() - 4.0, 0.0, 0.0, 1.0 / 128.0_f64.sqrt()];
        assert_near(of(noise(), noise(), 256).unwrap(), expected, 0.03);
    }

    #[test]
    fn measures_of_a_diverged_network_are_nan_and_of_one_image_none() {
        let nan = of(vec![f32::NAN; 6], vec![1.0; 6], 2).unwrap();
        assert!(nan.uniformity.is_nan() && nan.cosine_same_image.is_nan() && nan.alignment.is_nan());
        assert!(nan.spread.unwrap().is_nan());
        assert_eq!(of(vec![1.0; 6], vec![1.0; 6], 1), None);
    }
}
