//! Batch norm of the classes' scores, as in SimDis' evaluation.

use burn::tensor::{Device, Tensor};

use super::parameter::Parameter;

/// Added to a variance.
const EPSILON: f64 = 1e-5;
/// Weight of a batch in the running statistics.
const WEIGHT: f64 = 0.1;

/// A batch norm of scores, `[n, classes]`, with PyTorch's constants.
pub struct ScoreNorm {
    /// `[1, classes]`.
    scale: Parameter,
    /// `[1, classes]`.
    shift: Parameter,
    /// Running mean and variance, `[1, classes]`.
    running: [Tensor<2>; 2],
}

/// Scores that were normalised by their batch, for the backward pass.
pub struct Normalised {
    /// Of mean 0 and variance 1, `[n, classes]`.
    unit: Tensor<2>,
    /// `[1, classes]`.
    inverse_deviation: Tensor<2>,
}

impl ScoreNorm {
    /// Creates a norm that changes nothing but mean and variance.
    pub fn new(classes: usize, device: &Device) -> Self {
        let [zeros, ones] = [Tensor::zeros([1, classes], device), Tensor::ones([1, classes], device)];
        Self { scale: Parameter::new(ones.clone()), shift: Parameter::new(zeros.clone()), running: [zeros, ones] }
    }

    /// Returns what SGD trains.
    pub fn parameters(&mut self) -> [&mut Parameter; 2] {
        [&mut self.scale, &mut self.shift]
    }

    /// Normalises by the running statistics.
    pub fn evaluate(&self, scores: Tensor<2>) -> Tensor<2> {
        let [mean, variance] = self.running.clone();
        self.scaled((scores - mean) * inverse_deviation(variance))
    }

    /// Normalises by the statistics of the batch, and updates the running ones.
    pub fn train(&mut self, scores: Tensor<2>) -> (Tensor<2>, Normalised) {
        let images = scores.dims()[0] as f64;
        let mean = scores.clone().mean_dim(0);
        let centred = scores - mean.clone();
        let variance = (centred.clone() * centred.clone()).mean_dim(0);
        // As in PyTorch, running variances are unbiased.
        let unbiased = variance.clone().mul_scalar(images / (images - 1.0).max(1.0));
        for (running, of_batch) in self.running.iter_mut().zip([mean, unbiased]) {
            running.inplace(|running| running.mul_scalar(1.0 - WEIGHT) + of_batch.mul_scalar(WEIGHT));
        }
        let inverse_deviation = inverse_deviation(variance);
        let unit = centred * inverse_deviation.clone();
        (self.scaled(unit.clone()), Normalised { unit, inverse_deviation })
    }

    /// Adds the gradients of scale and shift, and returns that of the scores, given that of the output, `[n, classes]`.
    pub fn backward(&mut self, gradient: Tensor<2>, Normalised { unit, inverse_deviation }: Normalised) -> Tensor<2> {
        let of_unit = gradient.clone() * self.scale.value.clone();
        let of_scale = (gradient.clone() * unit.clone()).sum_dim(0);
        self.scale.accelerate(|velocity| velocity + of_scale);
        self.shift.accelerate(|velocity| velocity + gradient.sum_dim(0));
        let along = (of_unit.clone() * unit.clone()).mean_dim(0);
        (of_unit.clone() - of_unit.mean_dim(0) - unit * along) * inverse_deviation
    }

    fn scaled(&self, unit: Tensor<2>) -> Tensor<2> {
        unit * self.scale.value.clone() + self.shift.value.clone()
    }
}

fn inverse_deviation(variance: Tensor<2>) -> Tensor<2> {
    variance.add_scalar(EPSILON).sqrt().recip()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    fn values(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().iter().collect()
    }

    #[track_caller]
    fn assert_close(found: Tensor<2>, expected: Tensor<2>) {
        let (found, expected) = (values(found), values(expected));
        let near = |(found, expected): (&f32, &f32)| (found - expected).abs() < 1e-4 * expected.abs().max(1.0);
        let close = found.iter().zip(&expected).all(near);
        assert!(found.len() == expected.len() && close, "{found:?} is not {expected:?}");
    }

    #[test]
    fn gradients_are_those_of_the_plain_operations() {
        let device = Device::flex();
        let random = |rows| Tensor::<2>::random([rows, 3], Distribution::Normal(0.5, 2.0), &device);
        let (scores, gradient) = (random(7), random(7));
        let mut norm = ScoreNorm::new(3, &device);
        (norm.scale, norm.shift) = (Parameter::new(random(1)), Parameter::new(random(1)));
        let [x, scale, shift] = [scores.clone(), norm.scale.value.clone(), norm.shift.value.clone()]
            .map(|value| value.autodiff().require_grad());
        let centred = x.clone() - x.clone().mean_dim(0);
        let variance = (centred.clone() * centred.clone()).mean_dim(0);
        let expected = centred * inverse_deviation(variance) * scale.clone() + shift.clone();
        let gradients = (expected.clone() * gradient.clone().autodiff()).sum().backward();

        let (output, normalised) = norm.train(scores);
        assert_close(output, expected.without_autodiff());
        assert_close(norm.backward(gradient, normalised), x.grad(&gradients).unwrap());
        // At a rate of 1, a step from rest subtracts the gradient.
        for (parameter, before) in norm.parameters().into_iter().zip([scale, shift]) {
            parameter.descend(1.0);
            let gradient = before.grad(&gradients).unwrap();
            assert_close(parameter.value.clone(), before.without_autodiff() - gradient);
        }
    }

    #[test]
    fn running_statistics_approach_those_of_the_batches() {
        let device = Device::flex();
        let mut norm = ScoreNorm::new(2, &device);
        let scores = Tensor::<2>::from_data([[1.0, 10.0], [3.0, 30.0], [5.0, 50.0]], &device);
        for _ in 0..200 {
            norm.train(scores.clone());
        }
        let [mean, variance] = norm.running.clone();
        assert_close(mean, Tensor::from_data([[3.0, 30.0]], &device));
        assert_close(variance, Tensor::from_data([[4.0, 400.0]], &device));
        let normalised = norm.evaluate(Tensor::from_data([[5.0, 30.0]], &device));
        assert_close(normalised, Tensor::from_data([[1.0, 0.0]], &device));
    }
}
