//! The frame around all routes: header, navigation, footer.

use leptos::{ev, prelude::*};
use wasm_bindgen::JsCast;

use crate::{
    address::{Address, Route},
    lesson::LessonPage,
    train::TrainPage,
    widths::WidthsPage,
    worker_code::WorkerCode,
};

/// Widths that the report's style sheet has colours for.
const WIDTHS: usize = 4;

/// Replaces the placeholder in `index.html` with the page.
pub fn mount() {
    std::panic::set_hook(Box::new(|panic| web_sys::console::error_1(&panic.to_string().into())));
    let Some(root) = document().get_element_by_id("app") else { return };
    root.set_inner_html("");
    mount_to(root.unchecked_into(), App).forget();
}

#[component]
fn App() -> impl IntoView {
    let address = Address::read();
    provide_context(address);
    provide_context(WorkerCode::new());
    // Otherwise the browser leaves the page to open a file that is dropped outside a drop target.
    let over = window_event_listener(ev::dragover, |event| event.prevent_default());
    let drop = window_event_listener(ev::drop, |event| event.prevent_default());
    on_cleanup(move || [over, drop].into_iter().for_each(|listener| listener.remove()));
    Effect::new(move || document().set_title(&format!("{} – SlimCLR", address.route().get().title())));
    view! {
        <style>{slimclr_report::style(WIDTHS)}</style>
        <header class="top">
            <a class="name" href="#train">"SlimCLR"</a>
            <nav aria-label="Main">
                {Route::ALL.map(|route| {
                    let current = move || (address.route().get() == route).then_some("page");
                    view! { <a href=move || address.link(route) aria-current=current>{route.title()}</a> }
                })}
            </nav>
        </header>
        <main id="main" tabindex="-1">{Route::ALL.map(|route| view! { <RouteView route/> })}</main>
        <footer>
            "Everything is computed in this tab: your images and networks never leave your machine. "
            "Once loaded, the page works offline."
        </footer>
    }
}

/// The view of a route. It is built on the first visit and then kept, so that its runs continue in the background.
#[component]
fn RouteView(route: Route) -> impl IntoView {
    let address: Address = expect_context();
    let shown = Memo::new(move |_| address.route().get() == route);
    let visited = Memo::new(move |before| shown.get() || before.copied().unwrap_or(false));
    view! {
        <div hidden=move || !shown.get()>
            {move || visited.get().then(|| match route {
                Route::Train => view! { <TrainPage/> }.into_any(),
                Route::Widths => view! { <WidthsPage/> }.into_any(),
                Route::Lesson => view! { <LessonPage/> }.into_any(),
            })}
        </div>
    }
}
