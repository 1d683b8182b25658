//! Batch norm and its epilogue on the CPU, for activations in f32 and in bfloat16.
//!
//! Each pass reads memory in order, image by image, with the widest vectors that the processor has. Every plane is
//! summed by itself, and the sums are added in the order of the images, for any number of threads, so runs are
//! reproducible.

use std::{mem::MaybeUninit, ops::Range};

use burn::backend::{Flex, flex::FlexTensor, tensor::FloatTensor};

use super::{
    NormBackend, NormBackward, plain,
    types::{Moments, NormGradients, NormInput, NormOutput, NormSaved},
};
use crate::{
    cpu::{Stored, at_least, by_type, par_collect_uninit, sums, tensor, values, vectorised, zip_map_inplace},
    threads::map,
};

/// Sizes of an activation.
#[derive(Clone, Copy)]
struct Extent {
    batch: usize,
    channels: usize,
    /// Pixels of a plane.
    plane: usize,
}

impl Extent {
    fn of(x: &FlexTensor) -> Self {
        let [batch, channels, height, width] = x.layout().shape().dims();
        Self { batch, channels, plane: height * width }
    }

    /// Returns the channels per block, the part of an image that is one task: a quarter of the image if there are few
    /// images.
    fn block(self) -> usize {
        const FEW: usize = 32;
        if self.batch < FEW && self.channels.is_multiple_of(4) { self.channels / 4 } else { self.channels }
    }

    fn blocks(self) -> usize {
        self.batch * self.channels / self.block()
    }

    /// Returns the values per block.
    fn size(self) -> usize {
        self.block() * self.plane
    }

    /// Returns the planes of a block: the channel of each and its range in the batch.
    fn planes(self, block: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
        let channels = (block * self.block() % self.channels..).take(self.block());
        let starts = (block * self.size()..).step_by(self.plane);
        channels.zip(starts).map(move |(channel, start)| (channel, start..start + self.plane))
    }

    /// Returns the planes of a block together with those of the target.
    fn targets<T>(self, block: usize, target: &mut [T]) -> impl Iterator<Item = ((usize, Range<usize>), &mut [T])> {
        self.planes(block).zip(target.chunks_exact_mut(self.plane))
    }

    /// Computes a result for each plane from its channel and range, in the order of the batch.
    fn map_planes<T: Copy + Send>(self, compute: impl Fn(usize, Range<usize>) -> T + Sync + Send) -> Vec<T> {
        let blocks = map(self.blocks(), |block| {
            vectorised(
                #[inline(always)]
                || {
                    let mut planes = Vec::with_capacity(self.block());
                    for (channel, place) in self.planes(block) {
                        planes.push(compute(channel, place));
                    }
                    planes
                },
            )
        });
        blocks.concat()
    }

    fn samples(self) -> f64 {
        (self.batch * self.plane) as f64
    }
}

/// Computes a plane's mean and the sum of squared differences from it, from differences to one of its values, to avoid
/// cancellation (Chan et al. 1983).
#[inline(always)]
fn moments<T: Stored>(plane: &[T]) -> [f64; 2] {
    let (pivot, count) = (plane[0].widen(), plane.len() as f64);
    let [sum, squares] = sums(
        [plane],
        #[inline(always)]
        |[x]| [x - pivot, (x - pivot) * (x - pivot)],
    );
    [f64::from(pivot) + sum / count, (squares - sum * sum / count).max(0.0)]
}

/// Returns the scale and shift of a channel, given its gamma, beta, mean and variance.
fn scale_and_shift([gamma, beta, mean, variance]: [f32; 4], epsilon: f64) -> (f32, f32) {
    let scale = gamma / (f64::from(variance) + epsilon).sqrt() as f32;
    (scale, beta - mean * scale)
}

fn forward<T: Stored>(input: NormInput<Flex>, epsilon: f64) -> NormOutput<Flex> {
    let NormInput { x, gamma, beta, relu, shortcut } = input;
    let [x, gamma, beta] = [x, gamma, beta].map(|tensor| tensor.to_contiguous());
    let shortcut = shortcut.into_option().map(|shortcut| shortcut.to_contiguous());
    let extent = Extent::of(&x);
    let shape = x.layout().shape().clone();
    let (x, gamma, beta) = (values::<T>(&x), values(&gamma), values(&beta));
    let planes = extent.map_planes(
        #[inline(always)]
        |_, place| moments(&x[place]),
    );
    // Planes have one size, so the mean is the mean of their means. Their squared differences are combined as in Chan
    // et al. 1983.
    let statistics: Vec<(f32, f32)> = (0..extent.channels)
        .map(|channel| {
            let planes = || planes.iter().skip(channel).step_by(extent.channels).copied();
            let mean = planes().map(|[mean, _]| mean).sum::<f64>() / extent.batch as f64;
            let squares = |[own, squares]: [f64; 2]| squares + extent.plane as f64 * (own - mean) * (own - mean);
            (mean as f32, (planes().map(squares).sum::<f64>() / extent.samples()) as f32)
        })
        .collect();
    let scale_and_shift_of = |channel: usize| {
        let (mean, variance) = statistics[channel];
        scale_and_shift([gamma[channel], beta[channel], mean, variance], epsilon)
    };
    let output = apply(x, extent, scale_and_shift_of, shortcut.as_ref().map(values), relu);
    let (mean, variance): (Vec<f32>, Vec<f32>) = statistics.into_iter().unzip();
    let channels = [extent.channels];
    let moments = Moments { mean: tensor(mean, channels), variance: tensor(variance, channels) };
    NormOutput { output: tensor(output, shape), moments }
}

fn affine<T: Stored>(input: NormInput<Flex>) -> FlexTensor {
    let NormInput { x, gamma: scale, beta: shift, relu, shortcut } = input;
    let [x, scale, shift] = [x, scale, shift].map(|tensor| tensor.to_contiguous());
    let shortcut = shortcut.into_option().map(|shortcut| shortcut.to_contiguous());
    let (scale, shift) = (values(&scale), values(&shift));
    let scale_and_shift_of = |channel: usize| (scale[channel], shift[channel]);
    let output = apply(values::<T>(&x), Extent::of(&x), scale_and_shift_of, shortcut.as_ref().map(values), relu);
    tensor(output, x.layout().shape().clone())
}

/// Applies each channel's scale and shift, and the epilogue.
fn apply<T: Stored>(
    x: &[T],
    extent: Extent,
    scale_and_shift_of: impl Fn(usize) -> (f32, f32) + Sync + Send,
    shortcut: Option<&[T]>,
    relu: bool,
) -> Vec<T> {
    let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
    let write = |block: usize, output: &mut [MaybeUninit<T>]| {
        vectorised(
            #[inline(always)]
            || {
                for ((channel, place), output) in extent.targets(block, output) {
                    let (scale, shift) = scale_and_shift_of(channel);
                    let pixels = output.iter_mut().zip(&x[place.clone()]);
                    match shortcut {
                        None => {
                            for (output, x) in pixels {
                                output.write(T::narrow(at_least(x.widen() * scale + shift, floor)));
                            }
                        }
                        Some(shortcut) => {
                            for ((output, x), shortcut) in pixels.zip(&shortcut[place]) {
                                let normalised = at_least(x.widen() * scale + shift, floor);
                                output.write(T::narrow(at_least(normalised + shortcut.widen(), 0.0)));
                            }
                        }
                    }
                }
            },
        );
    };
    // SAFETY: every pixel of every plane is written.
    unsafe { par_collect_uninit(x.len(), extent.size(), || (), |(), block, output| write(block, output)) }
}

/// Returns the output up to which the gradient is zero: 0 after ReLU, minus infinity without.
fn ceiling(relu: bool) -> f32 {
    if relu { 0.0 } else { f32::NEG_INFINITY }
}

/// Returns a ReLU's gradient, given its output. A NaN output passes it on, as in the forward pass.
#[inline(always)]
fn relu_gradient(output: f32, gradient: f32, ceiling: f32) -> f32 {
    if output <= ceiling { 0.0 } else { gradient }
}

/// Computes a ReLU's gradient for whole tensors, given its output; in place if `gradient` is not shared.
fn relu_backward<T: Stored>(output: &FlexTensor, gradient: FlexTensor) -> FlexTensor {
    let [passed] = zip_map_inplace::<T, _, _, _>(
        [gradient],
        [output],
        #[inline(always)]
        |_| {
            #[inline(always)]
            |[gradient], [output]| [relu_gradient(output, gradient, 0.0)]
        },
    );
    passed
}

/// Returns the gradients, except the shortcut's, given the gradient before the last ReLU. The first ReLU's mask is
/// recomputed from the input, so that its output need not be read.
fn input_gradients<T: Stored>(saved: &NormSaved<Flex>, gradient: &FlexTensor) -> NormGradients<Flex> {
    let NormSaved { x, gamma, beta, relu, moments: Moments { mean, variance }, epsilon, .. } = saved;
    let (relu, epsilon) = (*relu, *epsilon);
    let [x, gradient] = [x, gradient].map(FlexTensor::to_contiguous);
    let vectors = [gamma, beta, mean, variance].map(FlexTensor::to_contiguous);
    let extent = Extent::of(&x);
    let shape = x.layout().shape().clone();
    let (x, gradient) = (values::<T>(&x), values::<T>(&gradient));
    let [gamma, beta, mean, variance] = vectors.each_ref().map(values::<f32>);
    let scale_and_shift_of =
        |channel: usize| scale_and_shift([gamma, beta, mean, variance].map(|of| of[channel]), epsilon);
    let planes = extent.map_planes(
        #[inline(always)]
        |channel, place| {
            // Local, here and below: captured from outside it would be read again for each value, which prevents
            // vectorisation.
            let ceiling = ceiling(relu);
            let ((scale, shift), mean) = (scale_and_shift_of(channel), mean[channel]);
            sums(
                [x, gradient].map(|of| &of[place.clone()]),
                #[inline(always)]
                |[x, gradient]| {
                    let gradient = relu_gradient(x * scale + shift, gradient, ceiling);
                    [gradient, gradient * (x - mean)]
                },
            )
        },
    );
    // Sums of the gradient and of the gradient times the normalised input, and the coefficients of the input's
    // gradient.
    let channels: Vec<_> = (0..extent.channels)
        .map(|channel| {
            let planes = || planes.iter().skip(channel).step_by(extent.channels).copied();
            let deviation = (f64::from(variance[channel]) + epsilon).sqrt();
            let sum = planes().map(|[sum, _]| sum).sum::<f64>();
            let product = planes().map(|[_, product]| product).sum::<f64>() / deviation;
            // dx = scale * (dy - mean(dy) - xhat * mean(dy xhat)), in powers of x.
            let correlation = (product / extent.samples() / deviation) as f32;
            let mean_gradient = (sum / extent.samples()) as f32;
            let scale = (f64::from(gamma[channel]) / deviation) as f32;
            ((product as f32, sum as f32), (scale, correlation, mean_gradient))
        })
        .collect();
    let write = |block: usize, x_gradient: &mut [MaybeUninit<T>]| {
        vectorised(
            #[inline(always)]
            || {
                let ceiling = ceiling(relu);
                for ((channel, place), x_gradient) in extent.targets(block, x_gradient) {
                    let (_, (scale, correlation, mean_gradient)) = channels[channel];
                    let ((of_x, shift), mean) = (scale_and_shift_of(channel), mean[channel]);
                    let [x, gradient] = [x, gradient].map(|of| &of[place.clone()]);
                    for ((target, x), gradient) in x_gradient.iter_mut().zip(x).zip(gradient) {
                        let x = x.widen();
                        let gradient = relu_gradient(x * of_x + shift, gradient.widen(), ceiling);
                        target.write(T::narrow(scale * (gradient - mean_gradient - correlation * (x - mean))));
                    }
                }
            },
        );
    };
    // SAFETY: every pixel of every plane is written.
    let x_gradient =
        unsafe { par_collect_uninit(x.len(), extent.size(), || (), |(), block, target| write(block, target)) };
    let (gamma_gradient, beta_gradient): (Vec<f32>, Vec<f32>) = channels.into_iter().map(|(sums, _)| sums).unzip();
    let channels = [extent.channels];
    NormGradients {
        x: tensor(x_gradient, shape),
        gamma: tensor(gamma_gradient, channels),
        beta: tensor(beta_gradient, channels),
        shortcut: None,
    }
}

/// Returns all gradients, given the output's.
fn backward<T: Stored>(saved: &NormSaved<Flex>, gradient: FlexTensor) -> NormGradients<Flex> {
    match &saved.output {
        None => input_gradients::<T>(saved, &gradient),
        Some(output) => {
            let gradient = relu_backward::<T>(output, gradient);
            let gradients = input_gradients::<T>(saved, &gradient);
            NormGradients { shortcut: Some(gradient), ..gradients }
        }
    }
}

impl NormBackend for Flex {
    fn norm(input: NormInput<Self>, epsilon: f64) -> NormOutput<Self> {
        by_type!(input.x.dtype(), T => forward::<T>(input, epsilon), else plain::norm(input, epsilon))
    }

    fn affine(input: NormInput<Self>) -> FloatTensor<Self> {
        by_type!(input.x.dtype(), T => affine::<T>(input), else plain::affine(input))
    }
}

impl NormBackward for Flex {
    fn norm_backward(saved: NormSaved<Self>, gradient: FloatTensor<Self>) -> NormGradients<Self> {
        by_type!(saved.x.dtype(), T => backward::<T>(&saved, gradient), else plain::norm_backward(saved, gradient))
    }
}
