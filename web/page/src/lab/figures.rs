//! The figures of the report, drawn again as runs go on.

use std::time::Duration;

use leptos::{html, prelude::*, reactive::traits::Track as _};
use slimclr_report::{Report, Section};
use wasm_bindgen_futures::spawn_local;

use super::track::Track;
use crate::{download, fetch};

/// Milliseconds between two drawings of live figures, at least.
const REDRAW_EVERY: f64 = 333.0;
/// The share of the time that drawing may take.
const SHARE: f64 = 0.25;
/// Between looks at figures that nobody sees.
const UNSEEN: Duration = Duration::from_millis(500);

/// A figure as it was drawn last.
#[derive(Clone, Copy, PartialEq)]
struct Figure {
    name: &'static str,
    title: &'static str,
    html: RwSignal<String>,
}

/// When to draw again.
#[derive(Clone, Copy)]
struct Pace {
    /// Whether it is going to be.
    is_due: StoredValue<bool>,
    /// The time of the last drawing, and what it took, in milliseconds.
    last: StoredValue<(f64, f64)>,
}

/// The figures of runs side by side.
#[component]
pub fn Figures(
    /// The runs.
    #[prop(into)]
    tracks: Signal<Vec<Track>>,
    /// Names of figures; none for all.
    only: Option<&'static [&'static str]>,
) -> impl IntoView {
    let figures = RwSignal::new(Vec::<Figure>::new());
    let trouble = RwSignal::new(None::<String>);
    let place = NodeRef::<html::Div>::new();
    let reports =
        move || tracks.get_untracked().into_iter().map(|track| untrack(|| track.report())).collect::<Vec<_>>();
    let draw = move || {
        let reports = reports();
        // Without one, the button that computes it says more than the report, which names the program's command.
        let has_surface = reports.iter().any(|report| report.landscape.is_some());
        let sections = slimclr_report::sections(&reports);
        let shown = |section: &Section| {
            only.is_none_or(|only| only.contains(&section.name)) && (has_surface || section.name != "figure5")
        };
        show(figures, sections.into_iter().filter(shown).collect());
    };
    let pace = Pace { is_due: StoredValue::new(false), last: StoredValue::new((0.0, 0.0)) };
    Effect::new(move || {
        tracks.get().iter().for_each(|track| {
            track.events.track();
            track.landscape.track();
            track.name.track();
            track.until.track();
        });
        pace.schedule(place, draw);
    });
    view! {
        <div class="figures" node_ref=place>
            <For each=move || figures.get() key=|figure| figure.name let:figure>
                <section class="figure" aria-labelledby=format!("{}-title", figure.name)>
                    <header>
                        <h2 id=format!("{}-title", figure.name)>{figure.title}</h2>
                        {downloads(figure, reports, trouble)}
                    </header>
                    <div class="drawn" inner_html=move || figure.html.get()></div>
                </section>
            </For>
            <p class="problem" role="alert">{trouble}</p>
        </div>
    }
}

/// Takes over what was drawn, where it differs: what is not touched keeps its place under the reader's eyes.
fn show(figures: RwSignal<Vec<Figure>>, sections: Vec<Section>) {
    let before = figures.get_untracked();
    let names = |figures: &[Figure]| figures.iter().map(|figure| figure.name).collect::<Vec<_>>();
    let now = sections.into_iter().map(|Section { name, title, html }| {
        match before.iter().find(|figure| figure.name == name) {
            Some(figure) => {
                if figure.html.with_untracked(|drawn| *drawn != html) {
                    figure.html.set(html);
                }
                *figure
            }
            None => Figure { name, title, html: RwSignal::new(html) },
        }
    });
    let now: Vec<Figure> = now.collect();
    if names(&now) != names(&before) {
        figures.set(now);
    }
}

impl Pace {
    /// Draws soon, though not too often, and only what can be seen.
    fn schedule(self, place: NodeRef<html::Div>, draw: impl Fn() + Copy + 'static) {
        if self.is_due.get_value() {
            return;
        }
        self.is_due.set_value(true);
        let (last, took) = self.last.get_value();
        let wait = (last + REDRAW_EVERY.max(took / SHARE) - js_sys::Date::now()).max(0.0);
        set_timeout(move || self.when_seen(place, draw), Duration::from_millis(wait as u64));
    }

    /// A page in the background has no frames, a hidden room no place.
    fn when_seen(self, place: NodeRef<html::Div>, draw: impl Fn() + Copy + 'static) {
        request_animation_frame(move || {
            let Some(Some(place_now)) = place.try_get_untracked() else { return };
            if place_now.offset_parent().is_none() {
                set_timeout(move || self.when_seen(place, draw), UNSEEN);
                return;
            }
            self.is_due.set_value(false);
            let began = js_sys::Date::now();
            draw();
            self.last.set_value((began, js_sys::Date::now() - began));
        });
    }
}

fn downloads(
    figure: Figure,
    reports: impl Fn() -> Vec<Report> + Copy + Send + 'static,
    trouble: RwSignal<Option<String>>,
) -> impl IntoView {
    let svg = move || {
        let drawn = slimclr_report::figures(&reports()).into_iter().find(|file| file.name == figure.name)?;
        drawn.svg
    };
    let failed = move |error| trouble.set(Some(format!("The figure cannot be saved ({}).", fetch::words(error))));
    let save_svg = move |_| {
        if let Some(svg) = svg() {
            download::save_svg(figure.name, &svg).unwrap_or_else(failed);
        }
    };
    let save_png = move |_| {
        if let Some(svg) = svg() {
            spawn_local(async move { download::save_png(figure.name, &svg).await.unwrap_or_else(failed) });
        }
    };
    // Without a drawing there is nothing to save.
    let has_drawing = move || figure.html.with(|html| html.contains("<svg"));
    move || {
        has_drawing().then(|| view! {
            <span class="downloads">
                <button type="button" class="quiet" aria-label=format!("{} as SVG", figure.title) on:click=save_svg>"SVG"</button>
                <button type="button" class="quiet" aria-label=format!("{} as PNG", figure.title) on:click=save_png>"PNG"</button>
            </span>
        })
    }
}
