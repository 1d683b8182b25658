//! The report's figures, redrawn as runs progress.

use std::time::Duration;

use leptos::{html, prelude::*};
use slimclr_report::{Report, Section};
use wasm_bindgen_futures::spawn_local;

use super::run_events::RunEvents;
use crate::{download, fetch};

/// Fewest milliseconds between two redraws.
const REDRAW_EVERY: f64 = 333.0;
/// Largest share of the time that drawing may take.
const MAX_SHARE: f64 = 0.25;
/// Time between checks whether hidden figures have become visible.
const HIDDEN_CHECK: Duration = Duration::from_millis(500);

/// A figure as last drawn.
#[derive(Clone, Copy, PartialEq)]
struct Figure {
    name: &'static str,
    title: &'static str,
    html: RwSignal<String>,
}

/// Limits how often the figures are redrawn.
#[derive(Clone, Copy)]
struct Throttle {
    /// Whether a redraw is scheduled.
    is_scheduled: StoredValue<bool>,
    /// Start and duration of the last redraw, in milliseconds.
    last: StoredValue<(f64, f64)>,
}

/// The figures of one or more runs on shared axes.
#[component]
pub fn Figures(
    /// The runs.
    #[prop(into)]
    runs: Signal<Vec<RunEvents>>,
    /// Names of figures; `None` for all.
    only: Option<&'static [&'static str]>,
) -> impl IntoView {
    let figures = RwSignal::new(Vec::<Figure>::new());
    let error = RwSignal::new(None::<String>);
    let element = NodeRef::<html::Div>::new();
    let reports = move || runs.get_untracked().into_iter().map(|run| untrack(|| run.report())).collect::<Vec<_>>();
    let draw = move || {
        let sections = slimclr_report::sections(&reports());
        // Without data, a section only says what to do in the native program.
        let shown =
            |section: &Section| only.is_none_or(|only| only.contains(&section.name)) && section.html.contains("<svg");
        show(figures, sections.into_iter().filter(shown).collect());
    };
    let throttle = Throttle { is_scheduled: StoredValue::new(false), last: StoredValue::new((0.0, 0.0)) };
    Effect::new(move || {
        runs.get().iter().for_each(|run| {
            run.list.track();
            run.landscape.track();
            run.name.track();
            run.until.track();
        });
        throttle.schedule(element, draw);
    });
    view! {
        <div class="figures" node_ref=element>
            <For each=move || figures.get() key=|figure| figure.name let:figure>
                <section class="figure" aria-labelledby=format!("{}-title", figure.name)>
                    <header>
                        <h2 id=format!("{}-title", figure.name)>{figure.title}</h2>
                        {downloads(figure, reports, error)}
                    </header>
                    <div class="drawn" inner_html=move || figure.html.get()></div>
                </section>
            </For>
            <p class="problem" role="alert">{error}</p>
        </div>
    }
}

/// Updates the figures that differ. The others keep their elements, and so the reader's scroll position.
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

impl Throttle {
    /// Schedules a redraw, unless one is scheduled.
    fn schedule(self, element: NodeRef<html::Div>, draw: impl Fn() + Copy + 'static) {
        if self.is_scheduled.get_value() {
            return;
        }
        self.is_scheduled.set_value(true);
        let (last, took) = self.last.get_value();
        let wait = (last + REDRAW_EVERY.max(took / MAX_SHARE) - js_sys::Date::now()).max(0.0);
        set_timeout(move || self.draw_when_visible(element, draw), Duration::from_millis(wait as u64));
    }

    /// Draws at the next animation frame, or waits until the figures are visible. Background tabs get no frames;
    /// elements of a hidden route have no offset parent.
    fn draw_when_visible(self, element: NodeRef<html::Div>, draw: impl Fn() + Copy + 'static) {
        request_animation_frame(move || {
            let Some(Some(figures)) = element.try_get_untracked() else { return };
            if figures.offset_parent().is_none() {
                set_timeout(move || self.draw_when_visible(element, draw), HIDDEN_CHECK);
                return;
            }
            self.is_scheduled.set_value(false);
            let start = js_sys::Date::now();
            draw();
            self.last.set_value((start, js_sys::Date::now() - start));
        });
    }
}

fn downloads(
    figure: Figure,
    reports: impl Fn() -> Vec<Report> + Copy + Send + 'static,
    error: RwSignal<Option<String>>,
) -> impl IntoView {
    let svg = move || {
        let drawn = slimclr_report::figures(&reports()).into_iter().find(|file| file.name == figure.name)?;
        drawn.svg
    };
    let failed = move |why| error.set(Some(format!("The figure could not be saved ({}).", fetch::message(why))));
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
    let label = move |format: &str| format!("{} as {format}", figure.title);
    view! {
        <span class="downloads">
            <button type="button" class="quiet" aria-label=label("SVG") on:click=save_svg>"SVG"</button>
            <button type="button" class="quiet" aria-label=label("PNG") on:click=save_png>"PNG"</button>
        </span>
    }
}
