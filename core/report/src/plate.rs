//! The figures that are also files, and sections of a page, of their own.

use crate::{
    figure::{Figure, Missing, accuracy_over_training, losses},
    interference::{agreement_over_training, gradient_paths, landscapes, magnitudes, matrices, singular_values},
    runs::Runs,
    stage_norms::stage_norms,
};

/// A figure that stands alone.
#[derive(Debug)]
pub struct Plate {
    /// The name of its file.
    pub name: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// Its parts, or why they are not there.
    pub parts: Vec<Result<Figure, Missing>>,
}

impl Plate {
    /// The same without ids, for a page that may hold others.
    pub fn into_anonymous(mut self) -> Self {
        let panels = self.parts.iter_mut().flatten().flat_map(|figure| &mut figure.panels);
        panels.filter_map(|panel| panel.content.as_mut().ok()).for_each(|drawing| drawing.id.clear());
        self
    }

    /// What is not drawn, and why.
    pub fn missing(&self) -> Vec<String> {
        let mut missing: Vec<String> = self
            .parts
            .iter()
            .filter_map(|part| match part {
                Ok(figure) => figure.lacking.clone(),
                Err(missing) => Some(missing.clone()),
            })
            .collect();
        // Parts that lack the same say so once.
        missing.dedup();
        missing
    }
}

/// All of them: how the run goes, then how its widths interfere.
pub fn all(runs: &Runs) -> Vec<Plate> {
    let course = [
        Plate { name: "losses", title: "Loss of each width", parts: vec![losses(runs)] },
        Plate { name: "accuracy", title: "Accuracy over training", parts: vec![accuracy_over_training(runs)] },
    ];
    let [figure3, figure4, figure5, cosines, stages] = interference(runs);
    course.into_iter().chain([figure3, stages, cosines, figure4, figure5]).collect()
}

/// Those of interference, in the order of the report.
pub fn interference(runs: &Runs) -> [Plate; 5] {
    [
        Plate { name: "figure3", title: "Gradient magnitudes", parts: vec![magnitudes(runs)] },
        Plate {
            name: "figure4",
            title: "Gradient directions of the last layers",
            parts: vec![singular_values(runs), gradient_paths(runs)],
        },
        Plate { name: "figure5", title: "Loss landscapes", parts: vec![landscapes(runs)] },
        Plate {
            name: "cosines",
            title: "Agreement between the widths’ gradients",
            parts: vec![matrices(runs), agreement_over_training(runs)],
        },
        Plate { name: "stages", title: "Gradient norms by stage", parts: vec![stage_norms(runs)] },
    ]
}
