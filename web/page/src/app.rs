//! The page around its rooms.

use leptos::{ev, prelude::*};
use wasm_bindgen::JsCast;

use crate::{
    address::{Address, Room},
    lesson,
    link::WorkerCode,
    train, widths,
};

/// Widths that the colours are for where nothing says how many there are.
const WIDTHS: usize = 4;

/// Puts the page in place of what `index.html` shows at first.
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
    // A file that is dropped beside its place would otherwise take the page's own.
    let over = window_event_listener(ev::dragover, |event| event.prevent_default());
    let drop = window_event_listener(ev::drop, |event| event.prevent_default());
    on_cleanup(move || [over, drop].into_iter().for_each(|listening| listening.remove()));
    Effect::new(move || document().set_title(&format!("{} – SlimCLR", address.room().get().title())));
    view! {
        <style>{slimclr_report::style(WIDTHS)}</style>
        <header class="top">
            <a class="name" href="#train">"SlimCLR"</a>
            <nav aria-label="Rooms">
                {Room::ALL.map(|room| {
                    let current = move || (address.room().get() == room).then_some("page");
                    view! { <a href=move || address.link(room) aria-current=current>{room.title()}</a> }
                })}
            </nav>
        </header>
        <main id="main" tabindex="-1">{Room::ALL.map(|room| view! { <House room/> })}</main>
        <footer>"Everything happens in this tab: no image and no weight leaves your machine. Once loaded, the page works without a network."</footer>
    }
}

/// A room: built when it is first shown, and from then on kept, so that what it does goes on.
#[component]
fn House(room: Room) -> impl IntoView {
    let address: Address = expect_context();
    let shown = Memo::new(move |_| address.room().get() == room);
    let visited = Memo::new(move |before| shown.get() || before.copied().unwrap_or(false));
    view! {
        <div hidden=move || !shown.get()>
            {move || visited.get().then(|| match room {
                Room::Train => view! { <train::Room/> }.into_any(),
                Room::Widths => view! { <widths::Room/> }.into_any(),
                Room::Lesson => view! { <lesson::Room/> }.into_any(),
            })}
        </div>
    }
}
