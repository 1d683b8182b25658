#[cfg(target_family = "wasm")]
fn main() { use leptos::prelude::*; mount_to_body(|| view! { <p>{serde_json::to_string(&slimclr_core::config::Config::mini()).unwrap()}</p> }) }
#[cfg(not(target_family = "wasm"))]
fn main() {}
