//! Progress of tasks that read features: a bar counts the rows as they are read.

use std::{ops::Range, rc::Rc};

use burn::tensor::{Device, Tensor};
use indicatif::ProgressBar;
use slimclr_core::eval::features::{Features, Rows};

use crate::terminal::Progress;

/// Shows the progress of a task that reads all `features` this many times. Returns the features to read, and the progress,
/// which is shown until it is dropped.
pub fn counted(features: &[Features], times: usize, task: &str) -> (Vec<Features>, Progress) {
    let rows: usize = features.iter().map(|of_width| of_width.labels.len()).sum();
    let progress = Progress::new((rows * times) as u64, "feature vectors", task);
    let counted = |of_width: &Features| Features {
        values: Rc::new(CountedRows { rows: of_width.values.clone(), bar: progress.bar().clone() }),
        ..of_width.clone()
    };
    (features.iter().map(counted).collect(), progress)
}

/// Rows that a bar counts.
#[derive(Debug)]
struct CountedRows {
    rows: Rc<dyn Rows>,
    bar: ProgressBar,
}

impl Rows for CountedRows {
    fn dims(&self) -> [usize; 2] {
        self.rows.dims()
    }

    fn device(&self) -> Device {
        self.rows.device()
    }

    fn rows(&self, range: Range<usize>) -> Tensor<2> {
        self.bar.inc(range.len() as u64);
        self.rows.rows(range)
    }

    fn select(&self, indices: &[u32]) -> Tensor<2> {
        self.bar.inc(indices.len() as u64);
        self.rows.select(indices)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use futures::executor::block_on;
    use slimclr_core::{
        eval::{
            knn::{self, knn},
            probe::{self, ProbeConfig, ProbeNormalisation, probe},
            ridge::{self, ridge},
        },
        width::Widths,
    };

    use super::*;

    #[test]
    fn every_task_reads_all_rows_as_often_as_is_said() {
        let features = |images: usize| Features {
            values: Rc::new(Tensor::<2>::random([images, 4], Distribution::Default, &Device::flex())),
            labels: (0..images).map(|image| (image % 3) as u32).collect(),
            indices: (0..images).collect(),
        };
        let (bank, test) = ([features(90)], [features(12)]);
        let is_complete = |progress: Progress| assert_eq!(Some(progress.bar().position()), progress.bar().length());

        let (counted_bank, progress) = counted(&bank, knn::passes(12), "kNN");
        block_on(knn(&counted_bank[0], &test[0], 5)).unwrap();
        is_complete(progress);

        let (counted_bank, progress) = counted(&bank, ridge::PASSES, "ridge regression");
        block_on(ridge(&counted_bank[0], &test[0], ridge::LAMBDA)).unwrap();
        is_complete(progress);

        for normalisation in [ProbeNormalisation::None, ProbeNormalisation::Features] {
            let config = ProbeConfig { epochs: 3, batch: 30, normalisation, ..ProbeConfig::default() };
            let (counted_bank, progress) = counted(&bank, probe::passes(&config), "probes");
            block_on(probe(&counted_bank, &test, &Widths::full(), &config, 0)).unwrap();
            is_complete(progress);
        }
    }
}
