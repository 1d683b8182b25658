//! Batch norm and what follows it on the CPU, for f32.
//!
//! Each pass goes through memory in order, image by image, with vectors as wide as the processor's. An image's channels
//! have their sums one by one; these are added up in the order of the images whatever the number of threads, so a run
//! repeats.

use std::{mem::MaybeUninit, ops::Range};

use burn::backend::{Flex, flex::FlexTensor, tensor::FloatTensor};

use super::{
    NormBackend, plain,
    types::{Forward, Gradient},
};
use crate::{
    cpu::{at_least, is_f32, par_collect_uninit, sums, tensor, values, vectorised, zip_map_inplace},
    threads::map,
};

/// Batch, channels, pixels of a plane.
#[derive(Clone, Copy)]
struct Extent {
    batch: usize,
    channels: usize,
    plane: usize,
}

impl Extent {
    fn of(x: &FlexTensor) -> Self {
        let [batch, channels, height, width] = x.layout().shape().dims();
        Self { batch, channels, plane: height * width }
    }

    /// Channels of a block, a part of an image that a core takes in one go: where images are few, a quarter.
    fn block(self) -> usize {
        const FEW: usize = 32;
        if self.batch < FEW && self.channels.is_multiple_of(4) { self.channels / 4 } else { self.channels }
    }

    fn blocks(self) -> usize {
        self.batch * self.channels / self.block()
    }

    /// Values of a block.
    fn size(self) -> usize {
        self.block() * self.plane
    }

    /// The planes of a block: the channel of each, and where it lies in the batch.
    fn planes(self, block: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
        let channels = (block * self.block() % self.channels..).take(self.block());
        let starts = (block * self.size()..).step_by(self.plane);
        channels.zip(starts).map(move |(channel, start)| (channel, start..start + self.plane))
    }

    /// Those of a block that is to be written.
    fn targets<T>(self, block: usize, target: &mut [T]) -> impl Iterator<Item = ((usize, Range<usize>), &mut [T])> {
        self.planes(block).zip(target.chunks_exact_mut(self.plane))
    }

    /// What `compute` makes of each plane, given its channel and place: for each image a slice of those of its channels.
    fn of_planes<T: Copy + Send>(self, compute: impl Fn(usize, Range<usize>) -> T + Sync + Send) -> Vec<T> {
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

/// Mean of a plane, and the sum of squared differences from it: by way of differences from one of its own values, which
/// are as small (Chan et al. 1983).
#[inline(always)]
fn moments(plane: &[f32]) -> [f64; 2] {
    let (pivot, count) = (plane[0], plane.len() as f64);
    let [sum, squares] = sums(
        [plane],
        #[inline(always)]
        |[x]| [x - pivot, (x - pivot) * (x - pivot)],
    );
    [f64::from(pivot) + sum / count, (squares - sum * sum / count).max(0.0)]
}

/// Scale and shift by which a norm changes a channel, given its gamma, beta, mean and variance.
fn line([gamma, beta, mean, variance]: [f32; 4], epsilon: f64) -> (f32, f32) {
    let scale = gamma / (f64::from(variance) + epsilon).sqrt() as f32;
    (scale, beta - mean * scale)
}

/// Output, mean and biased variance. After the norm a ReLU, if there is one; then perhaps the shortcut and another.
fn forward(
    x: &FlexTensor,
    [gamma, beta]: [&FlexTensor; 2],
    shortcut: Option<&FlexTensor>,
    epsilon: f64,
    relu: bool,
) -> Forward<Flex> {
    let [x, gamma, beta] = [x, gamma, beta].map(FlexTensor::to_contiguous);
    let shortcut = shortcut.map(FlexTensor::to_contiguous);
    let extent = Extent::of(&x);
    let shape = x.layout().shape().clone();
    let (x, gamma, beta) = (values(&x), values(&gamma), values(&beta));
    let planes = extent.of_planes(
        #[inline(always)]
        |_, place| moments(&x[place]),
    );
    // Of planes of one size, the means have a mean, too, and the squares add up with theirs (Chan et al. 1983).
    let statistics: Vec<(f32, f32)> = (0..extent.channels)
        .map(|channel| {
            let planes = || planes.iter().skip(channel).step_by(extent.channels).copied();
            let mean = planes().map(|[mean, _]| mean).sum::<f64>() / extent.batch as f64;
            let squares = |[own, squares]: [f64; 2]| squares + extent.plane as f64 * (own - mean) * (own - mean);
            (mean as f32, (planes().map(squares).sum::<f64>() / extent.samples()) as f32)
        })
        .collect();
    let line_of = |channel: usize| {
        let (mean, variance) = statistics[channel];
        line([gamma[channel], beta[channel], mean, variance], epsilon)
    };
    let output = lines(x, extent, line_of, shortcut.as_ref().map(values), relu);
    let (mean, variance) = statistics.into_iter().unzip();
    let channels = [extent.channels];
    (tensor(output, shape), tensor(mean, channels), tensor(variance, channels))
}

/// `x * scale + shift`, channel by channel, and then what follows as for [`forward`].
fn affine(x: &FlexTensor, [scale, shift]: [&FlexTensor; 2], shortcut: Option<&FlexTensor>, relu: bool) -> FlexTensor {
    let [x, scale, shift] = [x, scale, shift].map(FlexTensor::to_contiguous);
    let shortcut = shortcut.map(FlexTensor::to_contiguous);
    let (scale, shift) = (values(&scale), values(&shift));
    let line = |channel: usize| (scale[channel], shift[channel]);
    let output = lines(values(&x), Extent::of(&x), line, shortcut.as_ref().map(values), relu);
    tensor(output, x.layout().shape().clone())
}

/// Every channel of `x` along its `line`, a scale and a shift, and what follows.
fn lines(
    x: &[f32],
    extent: Extent,
    line: impl Fn(usize) -> (f32, f32) + Sync + Send,
    shortcut: Option<&[f32]>,
    relu: bool,
) -> Vec<f32> {
    let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
    let write = |block: usize, output: &mut [MaybeUninit<f32>]| {
        vectorised(
            #[inline(always)]
            || {
                for ((channel, place), output) in extent.targets(block, output) {
                    let (scale, shift) = line(channel);
                    let pixels = output.iter_mut().zip(&x[place.clone()]);
                    match shortcut {
                        None => {
                            for (output, x) in pixels {
                                output.write(at_least(x * scale + shift, floor));
                            }
                        }
                        Some(shortcut) => {
                            for ((output, x), shortcut) in pixels.zip(&shortcut[place]) {
                                output.write(at_least(at_least(x * scale + shift, floor) + shortcut, 0.0));
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

/// Outputs up to which nothing passes back: those that a ReLU, if there is one, has made zero.
fn ceiling(relu: bool) -> f32 {
    if relu { 0.0 } else { f32::NEG_INFINITY }
}

/// What passes of a gradient, given a ReLU's output: nothing where it made a zero; NaN passes, as in the forward.
#[inline(always)]
fn let_through(output: f32, gradient: f32, ceiling: f32) -> f32 {
    if output <= ceiling { 0.0 } else { gradient }
}

/// What a ReLU lets through of the gradient of its output.
fn relu_backward(output: &FlexTensor, gradient: FlexTensor) -> FlexTensor {
    let [passed] = zip_map_inplace(
        [gradient],
        [output],
        #[inline(always)]
        |_| {
            #[inline(always)]
            |[gradient], [output]| [let_through(output, gradient, 0.0)]
        },
    );
    passed
}

/// Gradients of the input, of gamma and of beta. What the ReLU held back follows from the input: that is a tensor less to
/// read than by the output.
fn backward(
    x: &FlexTensor,
    [gamma, beta, mean, variance]: [&FlexTensor; 4],
    gradient: &FlexTensor,
    epsilon: f64,
    relu: bool,
) -> Gradient<Flex> {
    let [x, gradient] = [x, gradient].map(FlexTensor::to_contiguous);
    let vectors = [gamma, beta, mean, variance].map(FlexTensor::to_contiguous);
    let extent = Extent::of(&x);
    let shape = x.layout().shape().clone();
    let (x, gradient) = (values(&x), values(&gradient));
    let [gamma, beta, mean, variance] = vectors.each_ref().map(values);
    let line_of = |channel: usize| line([gamma, beta, mean, variance].map(|of| of[channel]), epsilon);
    let planes = extent.of_planes(
        #[inline(always)]
        |channel, place| {
            // Its own, here and below: one from outside, read anew at each value, would keep vectors from being used.
            let ceiling = ceiling(relu);
            let ((scale, shift), mean) = (line_of(channel), mean[channel]);
            sums(
                [x, gradient].map(|of| &of[place.clone()]),
                #[inline(always)]
                |[x, gradient]| {
                    let gradient = let_through(x * scale + shift, gradient, ceiling);
                    [gradient, gradient * (x - mean)]
                },
            )
        },
    );
    // Sums of the gradient, and of the gradient times the normalised input; and what the input's gradient is made of.
    let channels: Vec<_> = (0..extent.channels)
        .map(|channel| {
            let planes = || planes.iter().skip(channel).step_by(extent.channels).copied();
            let deviation = (f64::from(variance[channel]) + epsilon).sqrt();
            let sum = planes().map(|[sum, _]| sum).sum::<f64>();
            let product = planes().map(|[_, product]| product).sum::<f64>() / deviation;
            // dx = scale * (dy - mean(dy) - xhat * mean(dy xhat)), gathered by powers of x.
            let slope = -(product / extent.samples() / deviation) as f32;
            let offset = -(sum / extent.samples()) as f32;
            ((product as f32, sum as f32), ((f64::from(gamma[channel]) / deviation) as f32, slope, offset))
        })
        .collect();
    let write = |block: usize, x_gradient: &mut [MaybeUninit<f32>]| {
        vectorised(
            #[inline(always)]
            || {
                let ceiling = ceiling(relu);
                for ((channel, place), x_gradient) in extent.targets(block, x_gradient) {
                    let (_, (scale, slope, offset)) = channels[channel];
                    let ((of_x, shift), mean) = (line_of(channel), mean[channel]);
                    let [x, gradient] = [x, gradient].map(|of| &of[place.clone()]);
                    for ((target, x), gradient) in x_gradient.iter_mut().zip(x).zip(gradient) {
                        let gradient = let_through(x * of_x + shift, *gradient, ceiling);
                        target.write(scale * (gradient + offset + slope * (x - mean)));
                    }
                }
            },
        );
    };
    // SAFETY: every pixel of every plane is written.
    let x_gradient =
        unsafe { par_collect_uninit(x.len(), extent.size(), || (), |(), block, target| write(block, target)) };
    let (gamma_gradient, beta_gradient) = channels.into_iter().map(|(sums, _)| sums).unzip();
    let channels = [extent.channels];
    (tensor(x_gradient, shape), tensor(gamma_gradient, channels), tensor(beta_gradient, channels))
}

impl NormBackend for Flex {
    fn norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> Forward<Self> {
        if is_f32(&x) {
            forward(&x, [&gamma, &beta], None, epsilon, relu)
        } else {
            plain::norm::<Self>(x, gamma, beta, epsilon, relu)
        }
    }

    fn norm_add_relu(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> Forward<Self> {
        if is_f32(&x) {
            forward(&x, [&gamma, &beta], Some(&shortcut), epsilon, relu)
        } else {
            plain::norm_add_relu::<Self>(x, gamma, beta, shortcut, epsilon, relu)
        }
    }

    fn affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        if is_f32(&x) { affine(&x, [&scale, &shift], None, relu) } else { plain::affine::<Self>(x, scale, shift, relu) }
    }

    fn affine_add_relu(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        if is_f32(&x) {
            affine(&x, [&scale, &shift], Some(&shortcut), relu)
        } else {
            plain::affine_add_relu::<Self>(x, scale, shift, shortcut, relu)
        }
    }

    fn norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> Gradient<Self> {
        if is_f32(&x) {
            backward(&x, [&gamma, &beta, &mean, &variance], &gradient, epsilon, relu)
        } else {
            plain::norm_backward::<Self>(x, gamma, beta, mean, variance, gradient, epsilon, relu)
        }
    }

    fn norm_add_relu_backward(
        x: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if !is_f32(&x) {
            return plain::norm_add_relu_backward::<Self>(
                x, output, gamma, beta, mean, variance, gradient, epsilon, relu,
            );
        }
        let shortcut = relu_backward(&output, gradient);
        let (x, gamma, beta) = backward(&x, [&gamma, &beta, &mean, &variance], &shortcut, epsilon, relu);
        (x, gamma, beta, shortcut)
    }
}
