//! The room where networks are trained.

use leptos::prelude::*;

/// The room.
#[component]
pub fn Room() -> impl IntoView {
    view! { <h1>"Train"</h1> }
}
