//! Batch norm and what follows it on the CPU, for f32.
//!
//! Each pass goes through memory in order, image by image, with vectors as wide as the processor's. An image's channels
//! have their sums one by one; these are added up in the order of the images whatever the number of threads, so a run
//! repeats.

use std::{mem::MaybeUninit, ops::Range};

use burn::backend::{Flex, flex::FlexTensor};

use super::{at_least, each, map, sums, tensor, values, vectorised, written};
use crate::kernel::norm::{Forward, Gradient};

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

    fn image(self) -> usize {
        self.channels * self.plane
    }

    /// The planes of an image.
    fn planes(self, values: &[f32], image: usize) -> impl Iterator<Item = &[f32]> {
        values[image * self.image()..][..self.image()].chunks_exact(self.plane)
    }

    /// The planes of an image that is to be written: where each lies in the batch, its channel and its pixels.
    fn targets<T>(self, image: usize, target: &mut [T]) -> impl Iterator<Item = (Range<usize>, usize, &mut [T])> {
        let first = image * self.image();
        let places = (0..self.channels).map(move |channel| first + channel * self.plane);
        let planes = target.chunks_exact_mut(self.plane).enumerate();
        places.zip(planes).map(move |(place, (channel, plane))| (place..place + self.plane, channel, plane))
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
pub fn forward(
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
    let images = map(extent.batch, |image| {
        vectorised(
            #[inline(always)]
            || {
                let mut planes = Vec::with_capacity(extent.channels);
                for plane in extent.planes(x, image) {
                    planes.push(moments(plane));
                }
                planes
            },
        )
    });
    // Of planes of one size, the means have a mean, too, and the squares add up with theirs (Chan et al. 1983).
    let statistics: Vec<(f32, f32)> = (0..extent.channels)
        .map(|channel| {
            let planes = || images.iter().map(|image| image[channel]);
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
pub fn affine(
    x: &FlexTensor,
    [scale, shift]: [&FlexTensor; 2],
    shortcut: Option<&FlexTensor>,
    relu: bool,
) -> FlexTensor {
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
    let write = |image: usize, output: &mut [MaybeUninit<f32>]| {
        vectorised(
            #[inline(always)]
            || {
                for (place, channel, output) in extent.targets(image, output) {
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
    unsafe { written(x.len(), extent.image(), || (), |(), image, output| write(image, output)) }
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
pub fn relu_backward(output: &FlexTensor, gradient: &FlexTensor) -> FlexTensor {
    let [passed] = each(
        [output, gradient],
        #[inline(always)]
        |[output, gradient]| [let_through(output, gradient, 0.0)],
    );
    passed
}

/// Gradients of the input, of gamma and of beta. What the ReLU held back follows from the input: that is a tensor less to
/// read than by the output.
pub fn backward(
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
    let images = map(extent.batch, |image| {
        vectorised(
            #[inline(always)]
            || {
                // Its own, here and below: one from outside, read anew at each value, would keep vectors from being used.
                let ceiling = ceiling(relu);
                let planes = extent.planes(x, image).zip(extent.planes(gradient, image)).enumerate();
                let mut products = Vec::with_capacity(extent.channels);
                for (channel, (x, gradient)) in planes {
                    let ((scale, shift), mean) = (line_of(channel), mean[channel]);
                    products.push(sums(
                        [x, gradient],
                        #[inline(always)]
                        |[x, gradient]| {
                            let gradient = let_through(x * scale + shift, gradient, ceiling);
                            [gradient, gradient * (x - mean)]
                        },
                    ));
                }
                products
            },
        )
    });
    // Sums of the gradient, and of the gradient times the normalised input; and what the input's gradient is made of.
    let channels: Vec<_> = (0..extent.channels)
        .map(|channel| {
            let planes = || images.iter().map(|image| image[channel]);
            let deviation = (f64::from(variance[channel]) + epsilon).sqrt();
            let sum = planes().map(|[sum, _]| sum).sum::<f64>();
            let product = planes().map(|[_, product]| product).sum::<f64>() / deviation;
            // dx = scale * (dy - mean(dy) - xhat * mean(dy xhat)), gathered by powers of x.
            let slope = -(product / extent.samples() / deviation) as f32;
            let offset = -(sum / extent.samples()) as f32;
            ((product as f32, sum as f32), ((f64::from(gamma[channel]) / deviation) as f32, slope, offset))
        })
        .collect();
    let write = |image: usize, x_gradient: &mut [MaybeUninit<f32>]| {
        vectorised(
            #[inline(always)]
            || {
                let ceiling = ceiling(relu);
                for (place, channel, x_gradient) in extent.targets(image, x_gradient) {
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
    let x_gradient = unsafe { written(x.len(), extent.image(), || (), |(), image, target| write(image, target)) };
    let (gamma_gradient, beta_gradient) = channels.into_iter().map(|(sums, _)| sums).unzip();
    let channels = [extent.channels];
    (tensor(x_gradient, shape), tensor(gamma_gradient, channels), tensor(beta_gradient, channels))
}
