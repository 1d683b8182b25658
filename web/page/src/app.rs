//! The page around its rooms.

use leptos::prelude::*;

use crate::{
    address::{Address, Room},
    lesson,
    link::WorkerCode,
    train, widths,
};

/// Puts the page in place of what `index.html` shows at first.
pub fn mount() {
    std::panic::set_hook(Box::new(|panic| web_sys::console::error_1(&panic.to_string().into())));
    let Some(root) = document().get_element_by_id("app") else { return };
    root.set_inner_html("");
    mount_to(wasm_bindgen::JsCast::unchecked_into(root), App).forget();
}

#[component]
fn App() -> impl IntoView {
    let address = Address::read();
    provide_context(address);
    provide_context(WorkerCode::new());
    Room::ALL.map(|room| view! { <House room/> }).into_view()
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
