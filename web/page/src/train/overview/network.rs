//! The network, drawn as the weights of its stages: the slices of its widths, lit by their gradients, and how the
//! gradients turn away from each other.

use js_sys::Math;
use leptos::prelude::*;
use slimclr_run::{event::Event, interference::agreement::StageAgreement};

use super::super::run_events::RunEvents;

/// Side of a stage's weights at full width, in SVG units.
const SIDE: f64 = 64.0;
/// Distance from one stage to the next.
const PITCH: f64 = 88.0;
/// Tops of the weights, and height of the arrows' origin.
const TOP: f64 = 20.0;
const ORIGIN: f64 = 138.0;
/// Length of the longest arrow.
const LONGEST: f64 = 36.0;
/// Total height.
const HEIGHT: f64 = 172.0;

/// The widths and the names of the stages of a run, which do not change.
#[derive(Debug, Clone, PartialEq)]
struct Layout {
    widths: Vec<f64>,
    stages: Vec<String>,
}

/// The latest measurement of a width's gradient in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Gradient {
    /// Its norm.
    norm: f64,
    /// Its angle with the full network's on the weights that both use, in degrees.
    angle: Option<f64>,
}

/// The latest measurement in each stage: one for each width, widest first.
type Gradients = Vec<Vec<Gradient>>;

/// The stages of the run's network.
#[component]
pub fn Network(run: RunEvents) -> impl IntoView {
    let layout = Memo::new(move |_| run.with_shown(layout));
    let gradients = Memo::new(move |_| run.with_shown(gradients));
    move || layout.get().map(|layout| drawing(layout, gradients))
}

fn layout(events: &[Event]) -> Option<Layout> {
    let started = Event::latest_start(events)?;
    let stages = &started.profile.first()?.stages;
    let stages = stages.iter().map(|stage| stage.name.clone()).collect();
    Some(Layout { widths: started.config.widths.clone(), stages })
}

fn gradients(events: &[Event]) -> Gradients {
    let latest = events.iter().rev().find_map(|event| match event {
        Event::Interference(interference) => Some(&interference.stages),
        _ => None,
    });
    latest.into_iter().flatten().map(of_stage).collect()
}

fn of_stage(StageAgreement { agreement, norms, .. }: &StageAgreement) -> Vec<Gradient> {
    let with_full = agreement.cosines.first();
    let gradient = |(width, norm): (usize, &Option<f64>)| {
        let cosine = with_full.and_then(|cosines| *cosines.get(width)?);
        Gradient {
            norm: norm.unwrap_or_default(),
            angle: cosine.map(|cosine| Math::acos(cosine.clamp(-1.0, 1.0)).to_degrees()),
        }
    };
    norms.iter().enumerate().map(gradient).collect()
}

impl RunEvents {
    /// Returns the norm of each width's latest gradient, widest first; 0 for widths that were not trained.
    pub fn gradient_norms(self) -> Vec<f64> {
        let stages = self.with_shown(gradients);
        let widths = stages.first().map_or(0, Vec::len);
        let squares = |width: usize| stages.iter().filter_map(move |stage| stage.get(width)).map(|at| at.norm.powi(2));
        (0..widths).map(|width| squares(width).sum::<f64>().sqrt()).collect()
    }
}

fn drawing(Layout { widths, stages }: Layout, gradients: Memo<Gradients>) -> AnyView {
    let at = move |stage: usize, width: usize| {
        gradients.with(|stages| stages.get(stage).and_then(|widths| widths.get(width)).copied().unwrap_or_default())
    };
    // The largest norm, of all stages or of one.
    let largest = move |stage: Option<usize>| {
        gradients.with(|stages| {
            let chosen = stages.iter().enumerate().filter(|(index, _)| stage.is_none_or(|stage| stage == *index));
            chosen.flat_map(|(_, widths)| widths).map(|at| at.norm).fold(f64::MIN_POSITIVE, f64::max)
        })
    };
    let last = widths.len() - 1;
    let width = stages.len() as f64 * PITCH;
    let middle = SIDE / 2.0;
    let columns = stages.into_iter().enumerate().map(|(stage, name)| {
        let slices = widths.iter().enumerate().map(|(index, width)| {
            // Square roots, so that weak gradients are seen beside strong ones.
            let light = move || format!("{:.2}", 0.08 + 0.8 * (at(stage, index).norm / largest(None)).sqrt());
            let side = SIDE * width;
            view! { <rect class=format!("slice w{index}") width=side height=side style:fill-opacity=light/> }.into_any()
        });
        let arrows = (0..widths.len()).map(|index| {
            let turned = move || {
                let Gradient { norm, angle } = at(stage, index);
                let length = if angle.is_some() { (norm / largest(Some(stage))).sqrt() } else { 0.0 };
                format!("rotate({:.1}deg) scale({length:.3})", -angle.unwrap_or_default())
            };
            let head = LONGEST - 7.0;
            let path = format!("M0 0H{LONGEST}M{head} -4L{LONGEST} 0L{head} 4");
            view! { <path class=format!("arrow w{index}") d=path style:transform=turned/> }.into_any()
        });
        let angle = move || at(stage, last).angle.filter(|_| last > 0);
        let text = move || angle().map(|angle| format!("{angle:.0}°"));
        let conflicts = move || angle().is_some_and(|angle| angle > 90.0);
        view! {
            <g transform=format!("translate({} {TOP})", stage as f64 * PITCH + (PITCH - SIDE) / 2.0)>
                <text class="stage" x=middle y="-7">{name}</text>
                {slices.collect::<Vec<_>>()}
                <g transform=format!("translate({middle} {})", ORIGIN - TOP)>
                    {arrows.collect::<Vec<_>>()}
                    <text class="angle" class:conflicts=conflicts y="24">{text}</text>
                </g>
            </g>
        }
        .into_any()
    });
    let columns: Vec<AnyView> = columns.collect();
    view! {
        <figure class="network">
            <svg role="img" aria-label="The network’s stages, with each width’s weights and gradients"
                viewBox=format!("0 0 {width} {HEIGHT}")>{columns}</svg>
            <figcaption>
                "Squares are weights: a narrow width uses a part of a wider one’s. A brighter square has a larger \
                 gradient. Arrows show the angle between each width’s gradient and the full network’s; the number is the \
                 narrowest width’s. Beyond 90°, the gradients conflict."
            </figcaption>
        </figure>
    }
    .into_any()
}
