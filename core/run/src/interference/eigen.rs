//! The two leading eigenpairs of a symmetric matrix, for singular values and principal components.

use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64Mcg;

/// Vectors in the block. Two would do, but more converge faster when eigenvalues are close.
const BLOCK: usize = 8;
/// Highest number of iterations: eigenvalues that still change then are nearly equal.
const ITERATIONS: usize = 200;
/// Relative change of both eigenvalues below which they have converged.
const TOLERANCE: f64 = 1e-10;

/// An eigenvalue with its eigenvector, of length 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The eigenvalue.
    pub value: f64,
    /// The eigenvector.
    pub vector: Vec<f64>,
}

/// Computes the two largest eigenvalues of a symmetric positive semi-definite matrix of this order, with their vectors,
/// larger first, by subspace iteration (Halko, Martinsson & Tropp 2011). `apply` multiplies the matrix by a vector. If
/// the order is below two, missing pairs are zero.
pub fn leading_pairs(order: usize, apply: impl Fn(&[f64]) -> Vec<f64>) -> [Pair; 2] {
    let mut random = Pcg64Mcg::seed_from_u64(0);
    let mut block: Vec<Vec<f64>> =
        (0..BLOCK.min(order)).map(|_| (0..order).map(|_| random.sample(StandardNormal)).collect()).collect();
    let mut values = [0.0; 2];
    for _ in 0..ITERATIONS {
        orthonormalize(&mut block);
        let images: Vec<Vec<f64>> = block.iter().map(|vector| apply(vector)).collect();
        // Rayleigh-Ritz: rotates the block by the eigenvectors of the matrix restricted to the block's span.
        let small: Vec<Vec<f64>> = block.iter().map(|a| images.iter().map(|b| dot(a, b)).collect()).collect();
        let (found, rotations) = jacobi(small);
        let rotated =
            |vectors: &[Vec<f64>]| -> Vec<Vec<f64>> { rotations.iter().map(|row| mix(vectors, row)).collect() };
        block = rotated(&block);
        let before = values;
        values = [0, 1].map(|index| found.get(index).copied().unwrap_or(0.0).max(0.0));
        if values.iter().zip(before).all(|(value, before)| (value - before).abs() <= TOLERANCE * values[0]) {
            break;
        }
        block = rotated(&images);
    }
    let mut vectors = block.into_iter().map(|mut vector| {
        let length = dot(&vector, &vector).sqrt();
        vector.iter_mut().for_each(|value| *value /= if length > 0.0 { length } else { 1.0 });
        vector
    });
    values.map(|value| Pair { value, vector: vectors.next().unwrap_or_else(|| vec![0.0; order]) })
}

/// Computes the two principal components of vectors with these inner products, each as coefficients of the (uncentred)
/// vectors, and the share of the variance along each.
pub fn principal_components(products: &[Vec<f64>]) -> ([Vec<f64>; 2], [f64; 2]) {
    let count = products.len() as f64;
    let means: Vec<f64> = products.iter().map(|row| row.iter().sum::<f64>() / count).collect();
    let mean = means.iter().sum::<f64>() / count;
    let centred: Vec<Vec<f64>> = products
        .iter()
        .zip(&means)
        .map(|(row, of_row)| {
            row.iter().zip(&means).map(|(product, of_column)| product - of_row - of_column + mean).collect()
        })
        .collect();
    let variance: f64 = centred.iter().enumerate().map(|(index, row)| row[index]).sum();
    let pairs = leading_pairs(products.len(), |vector| centred.iter().map(|row| dot(row, vector)).collect());
    let explained = pairs.each_ref().map(|pair| if variance > 0.0 { pair.value / variance } else { 0.0 });
    let components = pairs.map(|pair| {
        let length = pair.value.sqrt();
        let mean = pair.vector.iter().sum::<f64>() / count;
        let share = |value: f64| if length > 0.0 { (value - mean) / length } else { 0.0 };
        pair.vector.into_iter().map(share).collect()
    });
    (components, explained)
}

/// Returns the inner product.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Several partial sums, because each addition to a single one would wait for the previous one.
    const SUMS: usize = 8;
    let (a, a_rest) = a.as_chunks::<SUMS>();
    let (b, b_rest) = b.as_chunks::<SUMS>();
    let sums = a.iter().zip(b).fold([0.0; SUMS], |sums, (a, b)| std::array::from_fn(|n| sums[n] + a[n] * b[n]));
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b);
    sums.into_iter().chain(rest).sum()
}

/// Returns the sum of `vectors`, each times its share.
fn mix(vectors: &[Vec<f64>], shares: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; vectors[0].len()];
    for (vector, share) in vectors.iter().zip(shares) {
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += share * value);
    }
    sum
}

/// Orthonormalises by Gram-Schmidt, twice to reduce rounding errors. Vectors that depend on earlier ones become zero.
fn orthonormalize(vectors: &mut [Vec<f64>]) {
    for index in 0..vectors.len() {
        let (before, rest) = vectors.split_at_mut(index);
        let vector = &mut rest[0];
        let length = dot(vector, vector).sqrt();
        for _ in 0..2 {
            for earlier in before.iter() {
                let share = dot(vector, earlier);
                vector.iter_mut().zip(earlier).for_each(|(value, earlier)| *value -= share * earlier);
            }
        }
        let left = dot(vector, vector).sqrt();
        let scale = if left > 1e-12 * length { 1.0 / left } else { 0.0 };
        vector.iter_mut().for_each(|value| *value *= scale);
    }
}

/// Computes all eigenvalues of a small symmetric matrix, largest first, with the eigenvectors as rows, by Jacobi
/// rotations.
fn jacobi(mut matrix: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let order = matrix.len();
    let mut vectors: Vec<Vec<f64>> =
        (0..order).map(|row| (0..order).map(|column| if row == column { 1.0 } else { 0.0 }).collect()).collect();
    // Convergence is quadratic: a few sweeps reach rounding error.
    for _ in 0..16 {
        for p in 0..order {
            for q in p + 1..order {
                if matrix[p][q] == 0.0 {
                    continue;
                }
                let slope = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
                let tangent = slope.signum() / (slope.abs() + slope.hypot(1.0));
                let cosine = 1.0 / tangent.hypot(1.0);
                let sine = tangent * cosine;
                let rotate = |a: f64, b: f64| (cosine * a - sine * b, sine * a + cosine * b);
                for row in &mut matrix {
                    (row[p], row[q]) = rotate(row[p], row[q]);
                }
                for k in 0..order {
                    (matrix[p][k], matrix[q][k]) = rotate(matrix[p][k], matrix[q][k]);
                    (vectors[p][k], vectors[q][k]) = rotate(vectors[p][k], vectors[q][k]);
                }
            }
        }
    }
    let mut pairs: Vec<(f64, Vec<f64>)> = (0..order).map(|index| matrix[index][index]).zip(vectors).collect();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    pairs.into_iter().unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_matrix(matrix: &[Vec<f64>]) -> [Pair; 2] {
        leading_pairs(matrix.len(), |vector| matrix.iter().map(|row| dot(row, vector)).collect())
    }

    #[test]
    fn inner_products_have_all_terms() {
        for length in 0..20 {
            let numbers: Vec<f64> = (1..=length).map(f64::from).collect();
            assert_eq!(dot(&numbers, &numbers), f64::from(length * (length + 1) * (2 * length + 1) / 6));
        }
    }

    #[test]
    fn known_spectra_are_found() {
        // The second differences of 12 points: eigenvalues 2 - 2 cos(k pi / 13).
        let matrix: Vec<Vec<f64>> = (0..12_i32)
            .map(|row| {
                let entry = |column: i32| match (row - column).abs() {
                    0 => 2.0,
                    1 => -1.0,
                    _ => 0.0,
                };
                (0..12).map(entry).collect()
            })
            .collect();
        let pairs = of_matrix(&matrix);
        for (pair, k) in pairs.iter().zip([12.0, 11.0]) {
            let expected = 2.0 - 2.0 * (k * std::f64::consts::PI / 13.0).cos();
            assert!((pair.value - expected).abs() < 1e-9, "{} {expected}", pair.value);
            for (row, value) in matrix.iter().zip(&pair.vector) {
                assert!((dot(row, &pair.vector) - pair.value * value).abs() < 1e-5);
            }
        }
        assert!(dot(&pairs[0].vector, &pairs[1].vector).abs() < 1e-9);
    }

    #[test]
    fn degenerate_matrices_have_eigenvalues() {
        let [first, second] = of_matrix(&[vec![0.0; 3], vec![0.0, 5.0, 0.0], vec![0.0; 3]]);
        assert!((first.value - 5.0).abs() < 1e-12 && second.value.abs() < 1e-12);
        assert!((first.vector[1].abs() - 1.0).abs() < 1e-12);
        let [first, second] = of_matrix(&[vec![4.0]]);
        assert_eq!((first.value, second.value), (4.0, 0.0));
        assert!(of_matrix(&[]).iter().all(|pair| pair.value == 0.0));
    }
}
