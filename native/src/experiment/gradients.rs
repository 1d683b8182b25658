//! What figures 3 to 5 show of an arm, as numbers (docs/method.md, "Interference measures").

use serde::Serialize;
use slimclr_core::{
    event::{Event, Interference},
    interference::{
        landscape::{Landscape, Surface},
        path::{end_of_transient, gradient_path},
    },
};

use super::mean::Mean;

/// The gradients of a slimmable network's widths. All but the last field are means over the second half of training, in
/// which every arm trains all widths.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gradients {
    /// The gradient norm on the narrowest network's weights, over that on the rest (figure 3).
    pub narrowest_over_rest: f64,
    /// The cosine between the gradients of the full and the narrowest network.
    pub cosine: f64,
    /// The fraction of weight tensors on which it is negative.
    pub conflict: f64,
    /// The share of the variance of the last linear layer's gradient along its first principal component, from the end of
    /// the first 5 % of training on (figure 4); `None` with fewer than two measurements.
    pub first_direction: Option<f64>,
}

impl Gradients {
    /// Computes them from the events of a run; `None` if it has one width, or interference was not measured.
    pub fn of(events: &[Event]) -> Option<Self> {
        let steps = Event::latest_start(events)?.steps;
        let measured = events.iter().filter_map(|event| match event {
            Event::Interference(interference) => Some(interference),
            _ => None,
        });
        let measured: Vec<&Interference> = measured.collect();
        let mean = |of: &dyn Fn(&Interference) -> Option<f64>| {
            let late = measured.iter().filter(|it| it.step > steps / 2);
            Mean::of(&late.filter_map(|it| of(it)).collect::<Vec<_>>()).map(|mean| mean.mean)
        };
        let layer = measured.last()?.last_layers.products.keys().next_back();
        let path = layer.and_then(|layer| gradient_path(&measured, layer, end_of_transient(steps)));
        Some(Self {
            narrowest_over_rest: mean(&|it| match &it.gradient.norms[..] {
                [_, .., narrowest] => Some(narrowest / it.gradient.rest),
                _ => None,
            })?,
            cosine: mean(&|it| *it.agreement.cosines.first()?.last()?)?,
            conflict: mean(&|it| *it.agreement.conflicts.first()?.last()?)?,
            first_direction: path.map(|path| path.explained[0]),
        })
    }
}

/// The path of a width's weights on its loss landscape (figure 5).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WeightPath {
    /// The width.
    pub width: f64,
    /// The length of the path over the distance between its ends: 1 if it is straight.
    pub winding: f64,
}

impl WeightPath {
    /// Computes it for the widths of a landscape.
    pub fn of_widths(landscape: &Landscape) -> Vec<Self> {
        let path = |surface: &Surface| Some(Self { width: surface.width, winding: winding(surface)? });
        landscape.surfaces.iter().filter_map(path).collect()
    }
}

fn winding(surface: &Surface) -> Option<f64> {
    let points: Vec<[f64; 2]> = surface.path.iter().filter_map(|waypoint| waypoint.at).collect();
    let distance = |[from, to]: [[f64; 2]; 2]| (to[0] - from[0]).hypot(to[1] - from[1]);
    let length: f64 = points.windows(2).map(|pair| distance([pair[0], pair[1]])).sum();
    let winding = length / distance([*points.first()?, *points.last()?]);
    winding.is_finite().then_some(winding)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use slimclr_core::interference::agreement::Agreement;
    use slimclr_core::interference::landscape::{Directions, Waypoint};

    use super::*;
    use crate::experiment::fixture::started;

    /// A measurement of two widths, whose last layer's gradient is `(1, 0)` at odd steps and `(-1, 0)` at even ones.
    fn measured(step: u64, narrowest: f64, cosine: f64) -> Event {
        let pairs = |value| vec![vec![Some(1.0), Some(value)], vec![Some(value), Some(1.0)]];
        let sign = |a: u64, b: u64| if (a + b).is_multiple_of(2) { 1.0 } else { -1.0 };
        let mut interference = Interference { step, ..Interference::default() };
        interference.gradient.norms = vec![2.0, narrowest];
        interference.gradient.rest = 0.5;
        interference.agreement = Agreement { cosines: pairs(cosine), conflicts: pairs(0.25) };
        let products = (1..=step).map(|earlier| sign(earlier, step)).collect();
        interference.last_layers.products = BTreeMap::from([("fc.weight".into(), products)]);
        Event::Interference(interference)
    }

    #[test]
    fn the_second_half_counts() {
        // The run has two steps.
        let events = [started(&[1.0, 0.5]), measured(1, 9.0, 0.9), measured(2, 1.0, -0.5)];
        let gradients = Gradients::of(&events).unwrap();
        assert_eq!((gradients.narrowest_over_rest, gradients.cosine, gradients.conflict), (2.0, -0.5, 0.25));
        assert!((gradients.first_direction.unwrap() - 1.0).abs() < 1e-9);
        assert_eq!(Gradients::of(&events[..1]), None);
    }

    #[test]
    fn a_detour_winds() {
        let surface = |points: &[[f64; 2]]| Surface {
            width: 0.5,
            x: Vec::new(),
            y: Vec::new(),
            loss: Vec::new(),
            path: points.iter().map(|at| Waypoint { epoch: 0.0, at: Some(*at), loss: None }).collect(),
            explained: [1.0, 0.0],
        };
        let of = |points| {
            let surfaces = vec![surface(points)];
            WeightPath::of_widths(&Landscape { directions: Directions::Pca, images: 1, surfaces })
        };
        assert_eq!(of(&[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]), [WeightPath { width: 0.5, winding: 1.0 }]);
        assert_eq!(of(&[[0.0, 0.0], [0.0, 1.5], [2.0, 1.5], [2.0, 0.0]])[0].winding, 2.5);
        assert_eq!(of(&[[0.0, 0.0]]), []);
    }
}
