//! What the tables of every experiment say of how it was made.

use serde::Serialize;
use slimclr_core::config::Config;
use slimclr_report::count;

/// How an experiment was made.
#[derive(Serialize)]
pub struct Setting {
    /// Name and version of this program.
    pub program: &'static str,
    /// The command line that resumes the experiment.
    pub command: String,
    /// Name of the full network's architecture.
    pub network: String,
    /// Number of training images.
    pub training_images: usize,
    /// Number of test images.
    pub test_images: usize,
    /// Options that the arms share.
    pub options: Config,
}

impl Setting {
    /// Returns the largest standard error of an accuracy, in percent: the binomial one at an accuracy of one half.
    pub fn standard_error(&self) -> f64 {
        100.0 * (0.25 / self.test_images as f64).sqrt()
    }

    /// Says how large standard errors are, in a sentence.
    pub fn about_error(&self) -> String {
        let error = self.standard_error();
        format!(
            "With {} test images, the standard error of a cell is at most {error:.1} (binomial), and that of a \
             difference of two cells {:.1}.",
            count(self.test_images as u64),
            2f64.sqrt() * error
        )
    }

    /// Formats a table of how the experiment was made.
    pub fn markdown(&self) -> String {
        let options = &self.options;
        format!(
            "| | |\n|---|---|\n\
             | command | `{}` |\n\
             | program | {} |\n\
             | network | {}, widths {} |\n\
             | images | {} training, {} test |\n\
             | schedule | {} epochs, batch {} |\n",
            self.command.replace('|', "\\|"),
            self.program,
            self.network,
            options.widths.iter().map(f64::to_string).collect::<Vec<_>>().join(", "),
            count(self.training_images as u64),
            count(self.test_images as u64),
            options.epochs,
            options.batch,
        )
    }
}
