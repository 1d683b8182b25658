//! The embedding map: the gallery and the picture on two principal components of the features.

use std::sync::Arc;

use leptos::{ev, prelude::*};
use slimclr_protocol::Map;
use slimclr_report::escape;
use wasm_bindgen::JsCast;
use web_sys::Element;

use super::{
    cost::percents,
    marker,
    viewer::{Network, Viewer},
};

/// Half the drawing's width and height.
const REACH: [f64; 2] = [200.0, 130.0];
/// Free margin at the edges.
const MARGIN: f64 = 10.0;
/// Number of neighbours marked with a circle.
const CIRCLED: usize = 12;
/// Largest distance from the pointer to the image that it selects.
const NEAR: f64 = 12.0;

/// A map scaled to fit the drawing.
struct Fit<'a> {
    map: &'a Map,
    scale: f64,
}

impl<'a> Fit<'a> {
    fn new(map: &'a Map) -> Self {
        let fits = |axis: usize| {
            let furthest =
                map.points.iter().map(|point| f64::from(point[axis].abs())).fold(f64::MIN_POSITIVE, f64::max);
            (REACH[axis] - MARGIN) / furthest
        };
        Self { map, scale: fits(0).min(fits(1)) }
    }

    /// Returns the position of a gallery image.
    fn image(&self, image: usize) -> [f64; 2] {
        self.map.points.get(image).map_or([0.0; 2], |point| self.position(*point))
    }

    /// Converts map coordinates to a position in the drawing, clamped to its edges.
    fn position(&self, point: [f32; 2]) -> [f64; 2] {
        let [x, y] = [0, 1].map(|axis| {
            let reach = REACH[axis] - MARGIN / 2.0;
            (f64::from(point[axis]) * self.scale).clamp(-reach, reach)
        });
        [x, -y]
    }
}

fn translate([x, y]: [f64; 2]) -> String {
    format!("translate({x:.1}px,{y:.1}px)")
}

/// The map of the width that is shown, with its legend.
#[component]
pub fn MapPanel(viewer: Viewer) -> impl IntoView {
    let highlighted = RwSignal::new(None::<u32>);
    let hovered = RwSignal::new(None::<usize>);
    let caption = move || {
        let network = viewer.network.get()?;
        let map = network.maps.get(viewer.width.get())?;
        let image = hovered.get().map(|image| {
            let class = network.label(image).map(|(_, name)| name.to_owned());
            view! { <img src=network.images.url(image) alt=""/>{class} }.into_any()
        });
        let explained = format!("The two components explain {} of the variance.", percents(map.explained));
        Some(image.unwrap_or_else(|| explained.into_any()))
    };
    view! {
        <section class="panel map" aria-labelledby="map-title">
            <h2 id="map-title">"Embedding map at width " {move || viewer.width_name()}</h2>
            {move || viewer.network.get().map(|network| view! {
                <Drawing viewer network=network.clone() highlighted hovered/>
                <Legend network highlighted/>
            })}
            <p class="caption">{caption}</p>
        </section>
    }
}

/// The drawing. Its elements stay the same from width to width, so that their movement can be animated.
#[component]
fn Drawing(
    viewer: Viewer,
    network: Arc<Network>,
    highlighted: RwSignal<Option<u32>>,
    hovered: RwSignal<Option<usize>>,
) -> impl IntoView {
    let network = StoredValue::new(network);
    let width = move || viewer.width.get();
    // Computed once per width, not once per image.
    let positions = Memo::new(move |_| {
        let width = width();
        network.with_value(|network| {
            let Some(map) = network.maps.get(width) else { return Vec::new() };
            let fit = Fit::new(map);
            (0..map.points.len()).map(|image| fit.image(image)).collect()
        })
    });
    // Without labels, all images are drawn as one class.
    let classes = network.with_value(|network| network.classes.len().max(1) as u32);
    let of_class = move |class: u32| -> Vec<usize> {
        network
            .with_value(|network| (0..network.labels.len()).filter(|image| network.labels[*image] == class).collect())
    };
    let picture = move || {
        let (embedded, width) = (viewer.embedded.get()?, width());
        let at = embedded.widths.get(width)?.at;
        network.with_value(|network| Some(translate(Fit::new(network.maps.get(width)?).position(at))))
    };
    let neighbour = move |rank: usize| {
        let image = viewer.embedded.get()?.widths.get(width())?.neighbours.get(rank)?.0;
        positions.with(|positions| positions.get(image).map(|at| translate(*at)))
    };
    let find = move |event: ev::PointerEvent| {
        let at = event.current_target().and_then(|drawing| pointer(&event, drawing.unchecked_ref()));
        let nearest = at.and_then(|at| positions.with_untracked(|positions| nearest(positions, at)));
        if hovered.get_untracked() != nearest {
            hovered.set(nearest);
        }
    };
    let label = move || {
        let shown = network.with_value(|network| network.labels.len());
        format!(
            "{shown} gallery images on two principal components, at width {}. The list of nearest neighbours shows the \
             same as text.",
            viewer.width_name()
        )
    };
    let visibility = move || if picture().is_some() { "visible" } else { "hidden" };
    view! {
        <svg
            role="img" aria-label=label on:pointermove=find on:pointerleave=move |_| hovered.set(None)
            viewBox=format!("{} {} {} {}", -REACH[0], -REACH[1], 2.0 * REACH[0], 2.0 * REACH[1])
        >
            {(0..classes).map(|class| {
                let faded = move || highlighted.get().is_some_and(|highlighted| highlighted != class);
                view! {
                    <g class:faded=faded fill=format!("var(--k{})", marker::colour(class))>
                        {of_class(class).into_iter().map(|image| {
                            let at = move || positions.with(|positions| positions.get(image).map(|at| translate(*at)));
                            view! { <path class="image" d=marker::shape(class) style:transform=at/> }
                        }).collect_view()}
                    </g>
                }
            }).collect_view()}
            {(0..CIRCLED).map(|rank| {
                let visibility = move || if neighbour(rank).is_some() { "visible" } else { "hidden" };
                view! { <circle class="near" r="7" style:transform=move || neighbour(rank) visibility=visibility/> }
            }).collect_view()}
            <g class="picture" style:transform=picture visibility=visibility>
                <path class="halo" d="M-11 0H11M0 -11V11"/><path d="M-11 0H11M0 -11V11"/><circle r="6"/>
            </g>
        </svg>
    }
}

/// The class markers, as buttons that highlight their class.
#[component]
fn Legend(network: Arc<Network>, highlighted: RwSignal<Option<u32>>) -> impl IntoView {
    let classes = (0..).zip(network.classes.clone()).map(|(class, name)| {
        let is_pressed = move || (highlighted.get() == Some(class)).to_string();
        let toggle = move |_| highlighted.update(|now| *now = if *now == Some(class) { None } else { Some(class) });
        let label = marker::html(class) + &escape(&name);
        view! { <li><button type="button" aria-pressed=is_pressed on:click=toggle inner_html=label></button></li> }
    });
    let classes = (!network.classes.is_empty()).then(|| {
        view! {
            <ul class="legend" aria-label="Classes; press one to highlight it on the map">{classes.collect_view()}</ul>
        }
    });
    view! {
        {classes}
        <p class="key">
            <svg class="marker" viewBox="-12 -12 24 24" aria-hidden="true">
                <g class="picture"><path d="M-11 0H11M0 -11V11"/><circle r="6"/></g>
            </svg>
            "the picture "
            <svg class="marker" viewBox="-9 -9 18 18" aria-hidden="true"><circle class="near" r="7"/></svg>
            "its nearest neighbours"
        </p>
    }
}

/// Returns the pointer's position in the drawing.
fn pointer(event: &ev::PointerEvent, drawing: &Element) -> Option<[f64; 2]> {
    let frame = drawing.get_bounding_client_rect();
    let along = |at: i32, start: f64, extent: f64| (f64::from(at) - start) / extent * 2.0 - 1.0;
    let (x, y) =
        (along(event.client_x(), frame.left(), frame.width()), along(event.client_y(), frame.top(), frame.height()));
    (x.is_finite() && y.is_finite()).then_some([x * REACH[0], y * REACH[1]])
}

/// Returns the image nearest to a point, if it is within [`NEAR`].
fn nearest(positions: &[[f64; 2]], [x, y]: [f64; 2]) -> Option<usize> {
    let distances = positions.iter().map(|at| (at[0] - x).hypot(at[1] - y)).enumerate();
    let (image, distance) = distances.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
    (distance < NEAR).then_some(image)
}

/// Returns the map of the width that is shown as an SVG file on white.
pub fn svg(viewer: Viewer) -> Option<String> {
    let (network, width) = (viewer.network.get_untracked()?, viewer.width.get_untracked());
    let map = network.maps.get(width)?;
    let fit = Fit::new(map);
    let marker = |class: u32, [x, y]: [f64; 2]| {
        let (shape, colour) = (marker::shape(class), marker::ON_WHITE[marker::colour(class)]);
        format!(r#"<path d="{shape}" transform="translate({x:.1} {y:.1})" fill="{colour}"/>"#)
    };
    let images = (0..).zip(&network.labels).map(|(image, class)| marker(*class, fit.image(image)));
    let picture = viewer.embedded.get_untracked().and_then(|embedded| {
        let [x, y] = fit.position(embedded.widths.get(width)?.at);
        let (shape, style) = (
            "M-11 0H11M0 -11V11M-6 0a6 6 0 1 0 12 0a6 6 0 1 0 -12 0z",
            r##"fill="none" stroke="#000" stroke-width="2""##,
        );
        Some(format!(r#"<path d="{shape}" transform="translate({x:.1} {y:.1})" {style}/>"#))
    });
    let legend = (0..).zip(&network.classes).map(|(class, name)| {
        let y = -REACH[1] + 14.0 + 15.0 * f64::from(class);
        let name = escape(name);
        format!(r#"{}<text x="{}" y="{}">{name}</text>"#, marker(class, [REACH[0] + 12.0, y]), REACH[0] + 22.0, y + 4.0)
    });
    let body: String = images.chain(picture).chain(legend).collect();
    let caption =
        format!("width {}; the two components explain {} of the variance", map.width, percents(map.explained));
    Some(format!(
        concat!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="1040" height="580" viewBox="-208 -138 520 290" "#,
            r#"font-family="sans-serif" font-size="10">"#,
            r##"<rect x="-208" y="-138" width="520" height="290" fill="#fff"/>"##,
            r#"{}<text x="-200" y="144">{}</text></svg>"#,
        ),
        body, caption
    ))
}
