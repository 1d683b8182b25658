//! The gallery on the two principal components of its features, with the picture's place among it.

use std::sync::Arc;

use leptos::{ev, prelude::*};
use slimclr_protocol::Map;
use wasm_bindgen::JsCast;
use web_sys::Element;

use super::{
    cost::percents,
    look::{Look, Network},
    mark::{self, Mark},
};

/// From the drawing's middle to its edges.
const REACH: [f64; 2] = [200.0, 130.0];
/// What is left free at the edges.
const MARGIN: f64 = 10.0;
/// Neighbours that are ringed.
const RINGED: usize = 12;
/// How near the pointer must come to an image.
const NEAR: f64 = 12.0;

/// A width's map, fitted into the drawing.
struct Fit<'a> {
    map: &'a Map,
    scale: f64,
}

impl<'a> Fit<'a> {
    fn of(map: &'a Map) -> Self {
        let fits = |axis: usize| {
            let furthest =
                map.points.iter().map(|point| f64::from(point[axis].abs())).fold(f64::MIN_POSITIVE, f64::max);
            (REACH[axis] - MARGIN) / furthest
        };
        Self { map, scale: fits(0).min(fits(1)) }
    }

    /// The place of an image of the gallery.
    fn image(&self, image: usize) -> [f64; 2] {
        self.map.points.get(image).map_or([0.0; 2], |point| self.place(*point))
    }

    /// In the drawing, at its edge if it lies outside.
    fn place(&self, point: [f32; 2]) -> [f64; 2] {
        let [x, y] = [0, 1].map(|axis| {
            let reach = REACH[axis] - MARGIN / 2.0;
            (f64::from(point[axis]) * self.scale).clamp(-reach, reach)
        });
        [x, -y]
    }
}

fn moved([x, y]: [f64; 2]) -> String {
    format!("translate({x:.1}px,{y:.1}px)")
}

/// The map at the width that is shown, with its legend.
#[component]
pub fn MapPanel(look: Look) -> impl IntoView {
    let chosen = RwSignal::new(None::<u32>);
    let pointed = RwSignal::new(None::<usize>);
    let caption = move || {
        let network = look.network.get()?;
        let map = network.maps.get(look.width.get())?;
        let under = pointed.get().map(|image| {
            view! { <img src=network.images.url(image) alt=""/>{network.label(image).1.to_owned()} }.into_any()
        });
        let explained = format!("The components explain {} of the variance.", percents(map.explained));
        Some(under.unwrap_or_else(|| explained.into_any()))
    };
    view! {
        <section class="panel map" aria-labelledby="map-title">
            <h2 id="map-title">"Embedding map at width " {move || look.width_name()}</h2>
            {move || look.network.get().map(|network| view! { <Drawing look network=network.clone() chosen pointed/><Legend network chosen/> })}
            <p class="caption">{caption}</p>
        </section>
    }
}

/// The drawing itself. Its points stay the same elements from width to width, so that they can move.
#[component]
fn Drawing(
    look: Look,
    network: Arc<Network>,
    chosen: RwSignal<Option<u32>>,
    pointed: RwSignal<Option<usize>>,
) -> impl IntoView {
    let network = StoredValue::new(network);
    let width = move || look.width.get();
    // One fit for all the points of a width.
    let places = Memo::new(move |_| {
        let width = width();
        network.with_value(|network| {
            let Some(map) = network.maps.get(width) else { return Vec::new() };
            let fit = Fit::of(map);
            (0..map.points.len()).map(|image| fit.image(image)).collect()
        })
    });
    let classes = network.with_value(|network| network.classes.len() as u32);
    let of_class = move |class: u32| -> Vec<usize> {
        network
            .with_value(|network| (0..network.labels.len()).filter(|image| network.labels[*image] == class).collect())
    };
    let picture = move || {
        let (seen, width) = (look.seen.get()?, width());
        let at = seen.widths.get(width)?.at;
        network.with_value(|network| Some(moved(Fit::of(network.maps.get(width)?).place(at))))
    };
    let neighbour = move |rank: usize| {
        let image = look.seen.get()?.widths.get(width())?.neighbours.get(rank)?.0;
        places.with(|places| places.get(image).map(|at| moved(*at)))
    };
    let find = move |event: ev::PointerEvent| {
        let at = event.current_target().and_then(|drawing| inside(&event, drawing.unchecked_ref()));
        let nearest = at.and_then(|at| places.with_untracked(|places| nearest(places, at)));
        if pointed.get_untracked() != nearest {
            pointed.set(nearest);
        }
    };
    let label = move || {
        let shown = network.with_value(|network| network.labels.len());
        format!(
            "{shown} images of the gallery on two components, at width {}. The legend and the list of neighbours say in words what it shows.",
            look.width_name()
        )
    };
    view! {
        <svg role="img" aria-label=label viewBox=format!("{} {} {} {}", -REACH[0], -REACH[1], 2.0 * REACH[0], 2.0 * REACH[1])
            on:pointermove=find on:pointerleave=move |_| pointed.set(None)>
            {(0..classes).map(|class| {
                let faded = move || chosen.get().is_some_and(|chosen| chosen != class);
                view! {
                    <g class:faded=faded fill=format!("var(--k{})", mark::colour(class))>
                        {of_class(class).into_iter().map(|image| view! {
                            <path class="image" d=mark::shape(class) style:transform=move || places.with(|places| places.get(image).map(|at| moved(*at)))/>
                        }).collect_view()}
                    </g>
                }
            }).collect_view()}
            {(0..RINGED).map(|rank| view! {
                <circle class="near" r="7" style:transform=move || neighbour(rank) visibility=move || if neighbour(rank).is_some() { "visible" } else { "hidden" }/>
            }).collect_view()}
            <g class="picture" style:transform=picture visibility=move || if picture().is_some() { "visible" } else { "hidden" }>
                <path class="halo" d="M-11 0H11M0 -11V11"/><path d="M-11 0H11M0 -11V11"/><circle r="6"/>
            </g>
        </svg>
    }
}

/// The classes' signs; each picks its class out.
#[component]
fn Legend(network: Arc<Network>, chosen: RwSignal<Option<u32>>) -> impl IntoView {
    let classes = (0..).zip(network.classes.clone()).map(|(class, name)| {
        let is_chosen = move || chosen.get() == Some(class);
        let toggle = move |_| chosen.update(|chosen| *chosen = if *chosen == Some(class) { None } else { Some(class) });
        view! { <li><button type="button" aria-pressed=move || is_chosen().to_string() on:click=toggle><Mark class/>{name}</button></li> }
    });
    view! {
        <ul class="legend" aria-label="Classes; press one to pick it out on the map">{classes.collect_view()}</ul>
        <p class="key">
            <svg class="mark" viewBox="-12 -12 24 24" aria-hidden="true"><g class="picture"><path d="M-11 0H11M0 -11V11"/><circle r="6"/></g></svg>"the picture "
            <svg class="mark" viewBox="-9 -9 18 18" aria-hidden="true"><circle class="near" r="7"/></svg>"its nearest neighbours"
        </p>
    }
}

/// Where in the drawing the pointer is.
fn inside(event: &ev::PointerEvent, drawing: &Element) -> Option<[f64; 2]> {
    let frame = drawing.get_bounding_client_rect();
    let along = |at: i32, start: f64, extent: f64| (f64::from(at) - start) / extent * 2.0 - 1.0;
    let (x, y) =
        (along(event.client_x(), frame.left(), frame.width()), along(event.client_y(), frame.top(), frame.height()));
    (x.is_finite() && y.is_finite()).then_some([x * REACH[0], y * REACH[1]])
}

/// The place nearest to a point, if one is near.
fn nearest(places: &[[f64; 2]], [x, y]: [f64; 2]) -> Option<usize> {
    let distances = places.iter().map(|place| (place[0] - x).hypot(place[1] - y)).enumerate();
    let (image, distance) = distances.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
    (distance < NEAR).then_some(image)
}

/// The map at a width as a drawing of its own, on white.
pub fn sheet(look: Look) -> Option<String> {
    let (network, width) = (look.network.get_untracked()?, look.width.get_untracked());
    let map = network.maps.get(width)?;
    let fit = Fit::of(map);
    let sign = |class: u32, [x, y]: [f64; 2]| {
        let (shape, colour) = (mark::shape(class), mark::ON_WHITE[mark::colour(class)]);
        format!(r#"<path d="{shape}" transform="translate({x:.1} {y:.1})" fill="{colour}"/>"#)
    };
    let images = (0..).zip(&network.labels).map(|(image, class)| sign(*class, fit.image(image)));
    let picture = look.seen.get_untracked().and_then(|seen| {
        let [x, y] = fit.place(seen.widths.get(width)?.at);
        Some(format!(r##"<path d="M-11 0H11M0 -11V11M-6 0a6 6 0 1 0 12 0a6 6 0 1 0 -12 0z" transform="translate({x:.1} {y:.1})" fill="none" stroke="#000" stroke-width="2"/>"##))
    });
    let legend = (0..).zip(&network.classes).map(|(class, name)| {
        let y = -REACH[1] + 14.0 + 15.0 * f64::from(class);
        format!(r#"{}<text x="{}" y="{}">{name}</text>"#, sign(class, [REACH[0] + 12.0, y]), REACH[0] + 22.0, y + 4.0)
    });
    let body: String = images.chain(picture).chain(legend).collect();
    Some(format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="1040" height="580" viewBox="-208 -138 520 290" font-family="sans-serif" font-size="10"><rect x="-208" y="-138" width="520" height="290" fill="#fff"/>{body}<text x="-200" y="144">width {}; the components explain {} of the variance</text></svg>"##,
        map.width,
        percents(map.explained)
    ))
}
