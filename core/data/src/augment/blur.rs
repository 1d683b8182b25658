//! The Gaussian blur.

/// Separable Gaussian blur of a plane; beyond the edges the nearest pixel repeats, as in Pillow.
#[derive(Debug, Default)]
pub struct GaussianFilter {
    /// Weights at distance 0 to `radius`; the first and twice the others sum to one.
    kernel: Vec<f32>,
    /// The plane after the vertical pass.
    blurred: Vec<f32>,
    /// A row with its ends repeated `radius` times.
    padded: Vec<f32>,
}

impl GaussianFilter {
    /// Sets the kernel of standard deviation `sigma` (in pixels), for planes `size` pixels wide.
    pub fn set(&mut self, sigma: f32, size: usize) {
        // Three standard deviations hold 99.7% of the weight. A radius beyond the plane would read only repeated edges.
        let radius = ((3.0 * sigma).ceil() as usize).min(size);
        let weight = |distance: usize| {
            let deviations = distance as f64 / f64::from(sigma);
            libm::exp(-0.5 * deviations * deviations)
        };
        let sum = 1.0 + 2.0 * (1..=radius).map(weight).sum::<f64>();
        self.kernel.clear();
        self.kernel.extend((0..=radius).map(|distance| (weight(distance) / sum) as f32));
    }

    /// Blurs a plane of `size` x `size` values in place.
    #[inline(always)]
    pub fn run(&mut self, plane: &mut [f32], size: usize) {
        self.blurred.resize(plane.len(), 0.0);
        for (y, out) in self.blurred.chunks_exact_mut(size).enumerate() {
            let row = |y: usize| &plane[y * size..][..size];
            convolve(out, &self.kernel, row(y), |distance| {
                (row(y.saturating_sub(distance)), row((y + distance).min(size - 1)))
            });
        }

        let radius = self.kernel.len() - 1;
        for (row, out) in self.blurred.chunks_exact(size).zip(plane.chunks_exact_mut(size)) {
            self.padded.clear();
            self.padded.resize(radius, row[0]);
            self.padded.extend_from_slice(row);
            self.padded.resize(size + 2 * radius, row[size - 1]);
            let shifted = |start: usize| &self.padded[start..][..size];
            convolve(out, &self.kernel, row, |distance| (shifted(radius - distance), shifted(radius + distance)));
        }
    }
}

/// Convolves a whole row at once with a symmetric kernel, given the row and its two neighbours at every distance.
#[inline(always)]
fn convolve<'a>(out: &mut [f32], kernel: &[f32], row: &[f32], neighbours: impl Fn(usize) -> (&'a [f32], &'a [f32])) {
    for (sum, value) in out.iter_mut().zip(row) {
        *sum = kernel[0] * value;
    }
    for (distance, weight) in kernel.iter().enumerate().skip(1) {
        let (before, after) = neighbours(distance);
        for (sum, (before, after)) in out.iter_mut().zip(before.iter().zip(after)) {
            *sum += weight * (before + after);
        }
    }
}
