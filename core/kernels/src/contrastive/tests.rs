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
        assert!(close(found.2, expected.2), "{rows} x {columns}, ranks");
        let found = <Flex as ContrastiveBackend>::soft_cross_entropy(student.clone(), teacher.clone(), [0.5, 2.0]);
        let expected = plain::soft_cross_entropy::<Flex>(student, teacher, [0.5, 2.0]);
        assert!(close(found.0, expected.0), "{rows} x {columns}, loss");
        // With one column both are 0.
        assert!(columns == 1 || close(found.2, expected.2), "{rows} x {columns}, divergences");
        // With one column the gradient is the difference of two equal probabilities.
        assert!(columns == 1 || close(found.1, expected.1), "{rows} x {columns}, gradient");
    }
}

#[test]
fn a_target_that_only_ties_is_not_first() {
    let ranks = |rows: &[[f32; 5]], targets: &[i64]| -> Vec<f32> {
        let logits = FlexTensor::from_data(TensorData::new(rows.concat(), [rows.len(), 5]));
        let targets = FlexTensor::from_data(TensorData::new(targets.to_vec(), [rows.len()]));
        let (.., ranks) = <Flex as ContrastiveBackend>::cross_entropy(logits, targets, 0.2);
        ranks.into_data().iter().collect()
    };
    let rows = [[0.5, 0.1, 0.4, 0.2, 0.3], [0.5, 0.1, 0.4, 0.2, 0.3], [0.5, 0.1, 0.5, 0.2, 0.3], [1.0; 5]];
    assert_eq!(ranks(&rows, &[0, 3, 2, 0]), [1.0, 4.0, 2.0, 5.0]);
}

#[test]
fn a_student_like_its_teacher_has_no_divergence() {
    let logits = FlexTensor::from_data(TensorData::new(vec![3.0_f32, -1.0, 0.5, 8.0, 8.0, -20.0], [2, 3]));
    let (loss, _, divergences) = <Flex as ContrastiveBackend>::soft_cross_entropy(logits.clone(), logits, [5.0, 5.0]);
    let values = |tensor: FlexTensor| tensor.into_data().iter::<f32>().collect::<Vec<f32>>();
    assert_eq!(values(divergences), [0.0, 0.0]);
    // What is left of the loss is the teacher's entropy.
    assert!(values(loss)[0] > 0.5);
}
