//! What a step reports of its losses.

use burn::tensor::{ExecutionError, Tensor};

use crate::{
    event::LossMonitor,
    kernel::{contrastive::CrossEntropy, pack::concat, ranks::Ranks},
};

/// A loss, and what is reported of it.
#[derive(Debug, Clone)]
pub struct Loss {
    /// The loss that is minimised, `[1]`.
    pub value: Tensor<1>,
    /// What explains it to a reader.
    pub readings: Vec<Reading>,
}

impl Loss {
    /// Returns the loss of choosing a column in each row, the positive or the class, and reports how well it is chosen.
    pub fn choosing(cross_entropy: CrossEntropy) -> Self {
        let CrossEntropy { loss, ranks } = cross_entropy;
        Self::from(loss.clone()).reporting(Quantity::CrossEntropy, loss, 1.0).reporting(Quantity::Rank, ranks, 1.0)
    }

    /// Reports `values`, `[n]`, too: their mean times `factor` is the quantity.
    pub fn reporting(mut self, quantity: Quantity, values: Tensor<1>, factor: f64) -> Self {
        self.readings.push(Reading { quantity, values: values.without_autodiff(), factor });
        self
    }

    /// Changes the loss, but not what is reported.
    pub fn map(self, change: impl FnOnce(Tensor<1>) -> Tensor<1>) -> Self {
        Self { value: change(self.value), readings: self.readings }
    }
}

impl From<Tensor<1>> for Loss {
    /// Returns a loss of which nothing is reported besides its value.
    fn from(value: Tensor<1>) -> Self {
        Self { value, readings: Vec::new() }
    }
}

/// What a [`Reading`] says; the fields of [`LossMonitor`] of the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// The cross-entropy of choosing the positive or the class, in nats.
    CrossEntropy,
    /// The [rank](CrossEntropy::ranks) of the positive, or of the class, in each row. Top-1
    /// and top-5 follow from it.
    Rank,
    /// How far the distillation from the full network is above its minimum.
    Divergence,
    /// The same of a separate teacher.
    TeacherDivergence,
    /// The cosine of prediction and target.
    Cosine,
}

/// Values on the device whose mean, times a factor, says something about a loss. Reading them later costs a step nothing.
#[derive(Debug, Clone)]
pub struct Reading {
    /// What they say.
    pub quantity: Quantity,
    /// The values, `[n]`, without a graph.
    pub values: Tensor<1>,
    /// What their mean is multiplied by; ranks are left as they are.
    pub factor: f64,
}

/// The losses of a step on the device, widest width first.
#[derive(Debug, Clone, Default)]
pub struct StepLosses {
    /// The weighted loss of each width that was trained, `[1]` each.
    pub weighted: Vec<Tensor<1>>,
    /// What is reported of each of them. Readings of one quantity are averaged.
    pub readings: Vec<Vec<Reading>>,
}

impl StepLosses {
    /// Sums the weighted losses of each width over the tasks and the parts of a batch.
    ///
    /// # Panics
    /// If a width has none.
    pub fn sum(of_widths: Vec<Vec<Loss>>) -> Self {
        let mut losses = Self::default();
        for parts in of_widths {
            let (values, readings): (Vec<_>, Vec<_>) =
                parts.into_iter().map(|part| (part.value, part.readings)).unzip();
            losses.weighted.push(values.into_iter().reduce(|sum, part| sum + part).expect("a batch has parts"));
            losses.readings.push(readings.concat());
        }
        losses
    }

    /// Returns the losses of the whole batch, of which each rank has computed those of its part: the mean of the weighted
    /// ones, and all values of the readings.
    pub fn of_all(self, ranks: &Ranks) -> Self {
        if ranks.is_single() {
            return self;
        }
        let gathered = ranks.gather(concat(self.tensors().cloned().collect()).unsqueeze_dim(0));
        let mut start = 0;
        let mut next = |values: &Tensor<1>| -> Tensor<2> {
            let [count] = values.dims();
            start += count;
            gathered.clone().narrow(1, start - count, count)
        };
        let weighted = self.weighted.iter().map(|loss| next(loss).mean()).collect();
        let mut of_all = |reading: Reading| Reading { values: next(&reading.values).flatten(0, 1), ..reading };
        let readings = self.readings.into_iter().map(|of_width| of_width.into_iter().map(&mut of_all).collect());
        Self { weighted, readings: readings.collect() }
    }

    /// Returns the tensors of a step: the weighted losses, then the readings of each.
    fn tensors(&self) -> impl Iterator<Item = &Tensor<1>> {
        let read = self.readings.iter().flatten().map(|reading| &reading.values);
        self.weighted.iter().chain(read)
    }

    /// Reads the losses of some steps from the device at once. Returns for each step the weighted losses, and what is
    /// reported of each of them.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn read(steps: &[&Self]) -> Result<Vec<(Vec<f64>, Vec<LossMonitor>)>, ExecutionError> {
        let tensors: Vec<Tensor<1>> = steps.iter().flat_map(|step| step.tensors().cloned()).collect();
        if tensors.is_empty() {
            return Ok(Vec::new());
        }
        let values: Vec<f64> = concat(tensors).into_data_async().await?.iter().collect();
        let mut values = values.into_iter();
        let of_step = |step: &&Self| {
            let weighted = values.by_ref().take(step.weighted.len()).collect();
            let monitors = step.readings.iter().map(|readings| monitor(readings, &mut values)).collect();
            (weighted, monitors)
        };
        Ok(steps.iter().map(of_step).collect())
    }
}

/// Computes what `readings` say, whose values come first among `values`.
fn monitor(readings: &[Reading], values: &mut impl Iterator<Item = f64>) -> LossMonitor {
    let mut read = |reading: &Reading| {
        let [count] = reading.values.dims();
        (reading.quantity, reading.factor, values.by_ref().take(count).collect())
    };
    let read: Vec<(Quantity, f64, Vec<f64>)> = readings.iter().map(&mut read).collect();
    let mean = |quantity: Quantity, of: fn(f64, f64) -> f64| {
        let of_quantity = read.iter().filter(|(other, ..)| *other == quantity);
        let means = of_quantity.map(|(_, factor, values)| {
            values.iter().map(|value| of(*value, *factor)).sum::<f64>() / values.len() as f64
        });
        let means: Vec<f64> = means.collect();
        (!means.is_empty()).then(|| (means.iter().sum::<f64>() / means.len() as f64) as f32)
    };
    let scaled = |value: f64, factor: f64| value * factor;
    LossMonitor {
        cross_entropy: mean(Quantity::CrossEntropy, scaled),
        top1: mean(Quantity::Rank, |rank, _| f64::from(u8::from(rank <= 1.0))),
        top5: mean(Quantity::Rank, |rank, _| f64::from(u8::from(rank <= 5.0))),
        divergence: mean(Quantity::Divergence, scaled),
        teacher_divergence: mean(Quantity::TeacherDivergence, scaled),
        cosine: mean(Quantity::Cosine, scaled),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn readings_of_a_quantity_are_averaged() {
        let device = Device::flex();
        let tensor = |values: &[f32]| Tensor::<1>::from_data(values, &device);
        let of_full = Loss::from(tensor(&[7.0]))
            .reporting(Quantity::CrossEntropy, tensor(&[4.0]), 1.0)
            .reporting(Quantity::Rank, tensor(&[1.0, 5.0, 6.0, 1.0]), 1.0)
            .reporting(Quantity::CrossEntropy, tensor(&[2.0]), 1.0);
        let of_sub = Loss::from(tensor(&[9.0])).reporting(Quantity::Divergence, tensor(&[0.5, 1.5]), 25.0);
        let step = StepLosses {
            weighted: vec![of_full.value, of_sub.value],
            readings: vec![of_full.readings, of_sub.readings],
        };
        let slow_start = StepLosses { weighted: vec![tensor(&[3.0])], readings: vec![Vec::new()] };
        let read = block_on(StepLosses::read(&[&step, &slow_start])).unwrap();
        let full =
            LossMonitor { cross_entropy: Some(3.0), top1: Some(0.5), top5: Some(0.75), ..LossMonitor::default() };
        let sub = LossMonitor { divergence: Some(25.0), ..LossMonitor::default() };
        assert_eq!(read[0], (vec![7.0, 9.0], vec![full, sub]));
        assert_eq!(read[1], (vec![3.0], vec![LossMonitor::default()]));
        assert!(block_on(StepLosses::read(&[])).unwrap().is_empty());
    }
}
