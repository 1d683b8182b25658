//! Scales: how values map to positions along an axis, and where the ticks are.

use crate::text::{scientific, superscript, thousands};

/// A linear or logarithmic mapping of values to positions, with its ticks.
#[derive(Debug, Clone)]
pub struct Scale {
    logarithmic: bool,
    from: f64,
    to: f64,
    ticks: Vec<Tick>,
}

/// A labelled value of a scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// The value.
    pub value: f64,
    /// Its label.
    pub label: String,
}

impl Scale {
    /// Returns a linear scale that contains `values` and ends on ticks, or `None` if no value can be drawn.
    pub fn linear(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (low, high) = min_max(values.into_iter().filter(|v| drawable(*v)))?;
        // If values differ by rounding errors only, all ticks would have the same label.
        let (low, high) = if high - low <= 1e-9 * low.abs().max(high.abs()) {
            let margin = if low == 0.0 { 1.0 } else { 0.1 * low.abs() };
            (low - margin, high + margin)
        } else {
            (low, high)
        };
        let step = Step125::at_least((high - low) / 5.0);
        let (first, last) = ((low / step.value()).floor(), (high / step.value()).ceil());
        let ticks = step.multiples(first, last);
        Some(Self { logarithmic: false, from: first * step.value(), to: last * step.value(), ticks })
    }

    /// Returns a linear scale with exactly these ends; `to` must be greater than `from`.
    pub fn exact(from: f64, to: f64) -> Self {
        let step = Step125::at_least((to - from) / 5.0);
        let ticks = step.multiples((from / step.value()).ceil(), (to / step.value()).floor());
        Self { logarithmic: false, from, to, ticks }
    }

    /// Returns linear scales of equal range for x and y that contain `points`, or `None` if no point can be drawn.
    pub fn equal_aspect(points: &[[f64; 2]]) -> Option<[Self; 2]> {
        let along = |index: usize| {
            min_max(points.iter().filter(|point| point.iter().all(|v| drawable(*v))).map(|point| point[index]))
        };
        let ranges = [along(0)?, along(1)?];
        let widest = ranges.iter().map(|(low, high)| high - low).fold(0.0, f64::max);
        let reach = if widest > 0.0 {
            0.54 * widest
        } else {
            ranges.iter().map(|(low, _)| low.abs()).fold(0.0, f64::max).max(1e-9)
        };
        Some(ranges.map(|(low, high)| Self::exact((low + high) / 2.0 - reach, (low + high) / 2.0 + reach)))
    }

    /// Returns a logarithmic scale that contains the positive `values` and ends on ticks, or `None` if there are none.
    pub fn logarithmic(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (low, high) = min_max(values.into_iter().filter(|v| drawable(*v) && *v > 1e-100))?;
        let (mut first, mut last) = (Step125::at_most(low), Step125::at_least(high));
        if first == last {
            (first, last) = (Step125(first.0 - 1), Step125(last.0 + 1));
        }
        // Ticks at 1, 2 and 5 for up to two decades, at powers of ten beyond.
        let stride = match last.0 - first.0 {
            ..=7 => 1,
            thirds => 3 * (1 + thirds / 18),
        };
        let first = first.0.div_euclid(stride) * stride;
        let last = -(-last.0).div_euclid(stride) * stride;
        let ticks: Vec<Tick> = (first..=last)
            .step_by(stride as usize)
            .map(|n| Tick { value: Step125(n).value(), label: Step125(n).label() })
            .collect();
        Some(Self { logarithmic: true, from: Step125(first).value(), to: Step125(last).value(), ticks })
    }

    /// Returns whether the scale is logarithmic.
    pub fn is_logarithmic(&self) -> bool {
        self.logarithmic
    }

    /// Returns the position of `value`: 0 at the start of the scale, 1 at its end. Returns `None` if the value cannot
    /// be drawn or, on a logarithmic scale, is not positive.
    pub fn position(&self, value: f64) -> Option<f64> {
        let on_axis = |v: f64| if self.logarithmic { v.log10() } else { v };
        let (from, to) = (on_axis(self.from), on_axis(self.to));
        drawable(value).then(|| (on_axis(value) - from) / (to - from)).filter(|p| p.is_finite())
    }

    /// Returns the values half-way between the ticks.
    pub fn half_ticks(&self) -> impl Iterator<Item = f64> {
        self.ticks.windows(2).map(|pair| match self.logarithmic {
            true => (pair[0].value * pair[1].value).sqrt(),
            false => (pair[0].value + pair[1].value) / 2.0,
        })
    }

    /// Returns the ticks, in ascending order.
    pub fn ticks(&self) -> &[Tick] {
        &self.ticks
    }
}

/// Returns whether `value` is finite, and small enough that differences and ratios of such values are finite too.
pub fn drawable(value: f64) -> bool {
    value.abs() <= 1e100
}

/// Returns the smallest and the largest of `values`.
pub fn min_max(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, v| Some(range.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v)))))
}

/// The `n`-th number of the series ..., 0.5, 1, 2, 5, 10, ...; number 0 is 1.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step125(i32);

impl Step125 {
    fn value(self) -> f64 {
        let (mantissa, power) = (f64::from(self.mantissa()), 10_f64.powi(self.exponent().abs()));
        // Up to 1e22 the power is exact, and so the result is the float nearest to the decimal; 1e-2 is not exact.
        if self.exponent() < 0 { mantissa / power } else { mantissa * power }
    }

    fn mantissa(self) -> i32 {
        [1, 2, 5][self.0.rem_euclid(3) as usize]
    }

    fn exponent(self) -> i32 {
        self.0.div_euclid(3)
    }

    /// Returns the largest number of the series that is at most `value`, which must be positive.
    fn at_most(value: f64) -> Self {
        let mut step = Self(3 * value.log10().floor() as i32 - 1);
        while Self(step.0 + 1).value() <= value * (1.0 + 1e-9) {
            step.0 += 1;
        }
        step
    }

    /// Returns the smallest number of the series that is at least `value`, which must be positive.
    fn at_least(value: f64) -> Self {
        let below = Self::at_most(value);
        if below.value() >= value * (1.0 - 1e-9) { below } else { Self(below.0 + 1) }
    }

    fn label(self) -> String {
        match self.exponent() {
            exponent @ -3..=5 => thousands(self.value(), usize::try_from(-exponent).unwrap_or(0)),
            exponent if self.mantissa() == 1 => format!("10{}", superscript(exponent)),
            exponent => scientific(&self.mantissa().to_string(), exponent),
        }
    }

    /// Returns ticks at the multiples of this step, from `first` to `last` times.
    fn multiples(self, first: f64, last: f64) -> Vec<Tick> {
        let largest = self.value() * first.abs().max(last.abs());
        let label = |times: f64| {
            let decimals = usize::try_from(-self.exponent()).unwrap_or(0);
            if times == 0.0 {
                "0".into()
            } else if (1e-3..1e6).contains(&largest) {
                thousands(times * self.value(), decimals)
            } else {
                let exponent = largest.log10().floor() as i32;
                let digits = usize::try_from(exponent - self.exponent()).unwrap_or(0);
                scientific(&format!("{:.digits$}", times * self.value() / 10f64.powi(exponent)), exponent)
            }
        };
        (0..=(last - first) as usize)
            .map(|n| first + n as f64)
            .map(|times| Tick { value: times * self.value(), label: label(times) })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn linear_ticks_are_multiples_of_1_2_5_and_contain_the_values() {
        let scale = Scale::linear([31.4, 73.2]).unwrap();
        assert_eq!(labels(&scale), ["30", "40", "50", "60", "70", "80"]);
        assert_eq!(scale.position(30.0), Some(0.0));
        assert_eq!(scale.position(80.0), Some(1.0));
        assert_eq!(labels(&Scale::linear([-0.013, 0.021]).unwrap()), ["-0.02", "-0.01", "0", "0.01", "0.02", "0.03"]);
        assert_eq!(labels(&Scale::linear([0.0, 3e8]).unwrap()), ["0", "1×10⁸", "2×10⁸", "3×10⁸"]);
        assert_eq!(labels(&Scale::exact(0.0, 1170.0)), ["0", "500", "1,000"]);
    }

    #[test]
    fn logarithmic_ticks_are_1_2_5_or_powers_of_ten() {
        assert_eq!(labels(&Scale::logarithmic([2.7, 40.8]).unwrap()), ["2", "5", "10", "20", "50"]);
        assert_eq!(labels(&Scale::logarithmic([0.06]).unwrap()), ["0.05", "0.1"]);
        assert_eq!(labels(&Scale::logarithmic([0.003, 40.0]).unwrap()), ["0.001", "0.01", "0.1", "1", "10", "100"]);
        assert_eq!(labels(&Scale::logarithmic([1e6, 9e9]).unwrap())[0], "10⁶");
        let long = Scale::logarithmic([1e-30, 1e30]).unwrap();
        assert!(long.ticks.len() <= 8, "{:?}", labels(&long));
        assert_eq!(long.position(0.0), None);
    }

    #[test]
    fn steps_are_the_floats_nearest_to_their_decimals() {
        for n in -66..=66 {
            let step = Step125(n);
            let decimal: f64 = format!("{}e{}", step.mantissa(), step.exponent()).parse().unwrap();
            assert_eq!(step.value(), decimal, "{decimal}");
        }
    }

    #[test]
    fn equal_values_get_a_scale_of_nonzero_range() {
        for value in [0.0, 5.0, -3.0, 1e-20, 1e20] {
            let scale = Scale::linear([value, value]).unwrap();
            assert!(scale.ticks.len() >= 3, "{value}: {scale:?}");
            assert!(scale.position(value).is_some_and(|p| (0.0..=1.0).contains(&p)));
        }
        assert!(Scale::logarithmic([1.0]).unwrap().ticks.len() >= 2);
    }

    #[test]
    fn values_that_cannot_be_drawn_have_no_scale_and_no_position() {
        assert!(Scale::linear([f64::NAN, f64::INFINITY, f64::MAX]).is_none());
        assert!(Scale::logarithmic([0.0, -1.0, f64::NAN]).is_none());
        assert_eq!(Scale::exact(0.0, 1.0).position(f64::NAN), None);
    }

    #[test]
    fn scales_of_equal_aspect_have_the_same_range() {
        let [x, y] = Scale::equal_aspect(&[[0.0, 1.0], [4.0, 2.0], [f64::NAN, 90.0]]).unwrap();
        let length = |scale: &Scale| scale.position(1.0).unwrap() - scale.position(0.0).unwrap();
        assert!((length(&x) - length(&y)).abs() < 1e-12);
        assert!([&x, &y].iter().all(|scale| scale.position(1.0).is_some_and(|p| (0.0..=1.0).contains(&p))));
        assert!(Scale::equal_aspect(&[[3.0, 3.0]]).is_some() && Scale::equal_aspect(&[]).is_none());
    }
}
