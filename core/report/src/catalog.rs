//! The named figures: those that are written as files and shown as sections of a page.

use crate::{
    figures::{
        accuracy::accuracy_over_training,
        agreement::{agreement_matrices, agreement_over_training},
        gradient_directions::{gradient_paths, singular_values},
        gradient_magnitudes::gradient_magnitudes,
        loss_landscapes::loss_landscapes,
        losses::losses,
        measures::measures_over_training,
        stage_norms::stage_norms,
    },
    plot::figure::{Figure, Missing},
    runs::Runs,
};

/// A figure with a name and a title.
#[derive(Debug)]
pub struct NamedFigure {
    /// The name of its file, without an extension.
    pub name: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// Its parts, or why they cannot be drawn.
    pub parts: Vec<Result<Figure, Missing>>,
}

impl NamedFigure {
    /// Removes all ids, for pages on which they may not be unique.
    pub fn without_ids(mut self) -> Self {
        let panels = self.parts.iter_mut().flatten().flat_map(|figure| &mut figure.panels);
        panels.filter_map(|panel| panel.content.as_mut().ok()).for_each(|drawing| drawing.id.clear());
        self
    }

    /// Returns what is not drawn, and why.
    pub fn missing(&self) -> Vec<String> {
        let mut missing: Vec<String> = self
            .parts
            .iter()
            .filter_map(|part| match part {
                Ok(figure) => figure.omitted.clone(),
                Err(missing) => Some(missing.clone()),
            })
            .collect();
        // Several parts may be missing for the same reason.
        missing.dedup();
        missing
    }
}

/// Returns all named figures of `runs`.
pub fn all(runs: &Runs) -> Vec<NamedFigure> {
    let training = [
        NamedFigure { name: "losses", title: "Loss of each width", parts: losses(runs) },
        NamedFigure { name: "accuracy", title: "Accuracy over training", parts: vec![accuracy_over_training(runs)] },
        NamedFigure {
            name: "measures",
            title: "Measures without labels, over training",
            parts: vec![measures_over_training(runs)],
        },
    ];
    let [figure3, figure4, figure5, cosines, stages] = interference(runs);
    training.into_iter().chain([figure3, stages, cosines, figure4, figure5]).collect()
}

/// Returns the figures of interference between widths, in the order of the report.
pub fn interference(runs: &Runs) -> [NamedFigure; 5] {
    [
        NamedFigure { name: "figure3", title: "Gradient magnitudes", parts: vec![gradient_magnitudes(runs)] },
        NamedFigure {
            name: "figure4",
            title: "Gradient directions of the last layers",
            parts: vec![singular_values(runs), gradient_paths(runs)],
        },
        NamedFigure { name: "figure5", title: "Loss landscapes", parts: vec![loss_landscapes(runs)] },
        NamedFigure {
            name: "cosines",
            title: "Agreement between the widths’ gradients",
            parts: vec![agreement_matrices(runs), agreement_over_training(runs)],
        },
        NamedFigure { name: "stages", title: "Gradient norms by stage", parts: vec![stage_norms(runs)] },
    ]
}
