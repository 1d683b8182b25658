//! What is answered to which request.

use std::path::Path;

use anyhow::Result;
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response, Sse, sse::KeepAlive},
    routing::get,
};
use serde_json::json;
use tower_http::{services::ServeDir, set_header::SetResponseHeaderLayer};

use super::{confined::Confined, feed::feed, hosts::Hosts};
use crate::run_folder::{CHECKPOINT, EVENTS, LANDSCAPE, RunFolder};

/// What every answer says.
const HEADERS: [(HeaderName, &str); 5] = [
    // Kept, but asked about: a page that was built anew is seen at once.
    (header::CACHE_CONTROL, "no-cache"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // WebAssembly and style attributes are the page's own; pictures come from a camera, a drawing or a file.
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data: blob:; media-src 'self' blob:; worker-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    // Other pages in the same browser cannot take a run's files as pictures or scripts of theirs.
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The page of a bundle; below `/run`, what there is of a run.
///
/// # Errors
/// If a folder cannot be opened.
pub fn site(bundle: &Path, run: Option<&RunFolder>, hosts: Hosts) -> Result<Router> {
    let bundle = Confined::to(bundle)?;
    let page =
        ServeDir::with_backend(bundle.root(), bundle.clone()).precompressed_br().redirect_to_trailing_slash(false);
    let run = run.map_or_else(|| Ok(Router::new()), watched)?.fallback(|| async { StatusCode::NOT_FOUND });
    let site = Router::new().nest("/run", run).fallback_service(page);
    let site = site.layer(middleware::from_fn_with_state(hosts, admit));
    Ok(HEADERS.into_iter().fold(site, |site, (name, value)| {
        site.layer(SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value)))
    }))
}

/// Refuses requests for other servers, and those that would change something.
async fn admit(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    if !hosts.admit(&request) {
        let reason = "This server answers only under the address that it was started with.\n";
        return (StatusCode::FORBIDDEN, reason).into_response();
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    next.run(request).await
}

/// A run, as the page finds it below `/run`.
fn watched(run: &RunFolder) -> Result<Router> {
    let folder = Confined::to(run.path())?;
    let files = ServeDir::with_backend(folder.root(), folder.clone());
    let (name, contents) = (run.name(), folder.clone());
    let events = move |headers: HeaderMap| async move {
        let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        Sse::new(feed(folder, EVENTS.into(), seen)).keep_alive(KeepAlive::default())
    };
    Ok(Router::new()
        .route("/run.json", get(|| async move { table_of_contents(&name, &contents) }))
        .route("/events", get(events))
        .route_service(&format!("/{LANDSCAPE}"), files.clone())
        .route_service(&format!("/{CHECKPOINT}"), files))
}

/// The run's name, and which of its files there are by now, by their names below `/run`.
fn table_of_contents(name: &str, folder: &Confined) -> impl IntoResponse + use<> {
    let names = [("events", EVENTS), (LANDSCAPE, LANDSCAPE), (CHECKPOINT, CHECKPOINT)];
    let is_there = |file: &str| folder.resolve(file).is_ok_and(|path| path.is_file());
    let files: Vec<&str> = names.into_iter().filter(|(_, file)| is_there(file)).map(|(name, _)| name).collect();
    ([(header::CONTENT_TYPE, "application/json")], json!({ "name": name, "files": files }).to_string())
}
