use burn::{
    backend::{Flex, TensorMetadata, flex::FlexTensor},
    tensor::TensorData,
};
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64Mcg;

use super::{ContrastiveBackend, plain};

fn close(found: FlexTensor, expected: FlexTensor) -> bool {
    let same_shape = found.shape() == expected.shape();
    let [found, expected] = [found, expected].map(|tensor| tensor.into_data().iter::<f32>().collect::<Vec<_>>());
    let largest = expected.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    same_shape && found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-5 * largest)
}

#[test]
fn fused_cross_entropies_match_plain() {
    let mut random = Pcg64Mcg::seed_from_u64(0);
    for (rows, columns) in [(1, 1), (3, 17), (5, 129), (2, 4097)] {
        let mut logits = || {
            let values: Vec<f32> = (0..rows * columns).map(|_| 3.0 * random.sample::<f32, _>(StandardNormal)).collect();
            FlexTensor::from_data(TensorData::new(values, [rows, columns]))
        };
        let (student, teacher) = (logits(), logits());
        let targets: Vec<i64> = (0..rows as i64).map(|row| row * 7 % columns as i64).collect();
        let targets = FlexTensor::from_data(TensorData::new(targets, [rows]));
        let found = <Flex as ContrastiveBackend>::cross_entropy(student.clone(), targets.clone(), 0.2);
        let expected = plain::cross_entropy::<Flex>(student.clone(), targets, 0.2);
        assert!(close(found.0, expected.0) && close(found.1, expected.1), "{rows} x {columns}");
        let found = <Flex as ContrastiveBackend>::soft_cross_entropy(student.clone(), teacher.clone(), [0.5, 2.0]);
        let expected = plain::soft_cross_entropy::<Flex>(student, teacher, [0.5, 2.0]);
        assert!(close(found.0, expected.0), "{rows} x {columns}, loss");
        // With one column the gradient is the difference of two equal probabilities.
        assert!(columns == 1 || close(found.1, expected.1), "{rows} x {columns}, gradient");
    }
}
