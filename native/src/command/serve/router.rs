//! Routes requests to the page's files and to the run's events and files.

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

use super::{allowed_hosts::AllowedHosts, confined::ConfinedFolder, event_stream::event_stream};
use crate::run_folder::{CHECKPOINT, EVENTS, LANDSCAPE, RunFolder};

/// Headers of every response.
const HEADERS: [(HeaderName, &str); 5] = [
    // Cached but revalidated, so that a rebuilt page shows at once.
    (header::CACHE_CONTROL, "no-cache"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // The page uses WebAssembly and style attributes, and images from a camera, a drawing or a file.
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data: blob:; media-src 'self' blob:; worker-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    // Other websites in the same browser cannot embed a run's files as images or scripts.
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Builds the router of the page in `bundle` and, below `/run`, of a run.
///
/// # Errors
/// If a folder cannot be opened.
pub fn router(bundle: &Path, run: Option<&RunFolder>, hosts: AllowedHosts) -> Result<Router> {
    let bundle = ConfinedFolder::new(bundle)?;
    let page =
        ServeDir::with_backend(bundle.root(), bundle.clone()).precompressed_br().redirect_to_trailing_slash(false);
    let run = run.map_or_else(|| Ok(Router::new()), run_router)?.fallback(|| async { StatusCode::NOT_FOUND });
    let router = Router::new().nest("/run", run).fallback_service(page);
    let router = router.layer(middleware::from_fn_with_state(hosts, check));
    Ok(HEADERS.into_iter().fold(router, |router, (name, value)| {
        router.layer(SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value)))
    }))
}

/// Refuses requests to other hosts, and methods that are not read-only.
async fn check(State(hosts): State<AllowedHosts>, request: Request, next: Next) -> Response {
    if !hosts.allow(&request) {
        let reason =
            "This server answers only at the address that it printed: open that, or restart it with --address.\n";
        return (StatusCode::FORBIDDEN, reason).into_response();
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    next.run(request).await
}

/// Builds the router of a run's events and files.
fn run_router(run: &RunFolder) -> Result<Router> {
    let folder = ConfinedFolder::new(run.path())?;
    let files = ServeDir::with_backend(folder.root(), folder.clone());
    let (name, listed) = (run.name(), folder.clone());
    let events = move |headers: HeaderMap| async move {
        let last_id = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        Sse::new(event_stream(folder, EVENTS.into(), last_id)).keep_alive(KeepAlive::default())
    };
    Ok(Router::new()
        .route("/run.json", get(|| async move { listing(&name, &listed) }))
        .route("/events", get(events))
        .route_service(&format!("/{LANDSCAPE}"), files.clone())
        .route_service(&format!("/{CHECKPOINT}"), files))
}

/// Lists the run's name and the paths below `/run` of those of its files that exist.
fn listing(name: &str, folder: &ConfinedFolder) -> impl IntoResponse + use<> {
    let names = [("events", EVENTS), (LANDSCAPE, LANDSCAPE), (CHECKPOINT, CHECKPOINT)];
    let exists = |file: &str| folder.resolve(file).is_ok_and(|path| path.is_file());
    let files: Vec<&str> = names.into_iter().filter(|(_, file)| exists(file)).map(|(name, _)| name).collect();
    ([(header::CONTENT_TYPE, "application/json")], json!({ "name": name, "files": files }).to_string())
}
