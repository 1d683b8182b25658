//! The page's address: the route after the `#`, and after a `?` the options that differ from the defaults.
//!
//! `#train?batch=64&distill=none` is a link that can be shared. A route reads its options with [`Address::options`] and
//! writes them with [`Address::set_options`], whether or not it is shown.

use leptos::{ev, prelude::*};
use wasm_bindgen::JsValue;
use web_sys::UrlSearchParams;

/// Returns whether the address asks for the run that the server streams: `?live`, as `slimclr serve` prints it.
pub fn is_live() -> bool {
    location().search().is_ok_and(|query| query.trim_start_matches('?').split('&').any(|key| key == "live"))
}

/// A route of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Training.
    Train,
    /// Trained networks at every width.
    Widths,
    /// The guided lesson.
    Lesson,
}

impl Route {
    /// All routes, in the order of the navigation.
    pub const ALL: [Self; 3] = [Self::Train, Self::Widths, Self::Lesson];

    /// Returns the name in the address.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Widths => "widths",
            Self::Lesson => "lesson",
        }
    }

    /// Returns the title on the page.
    pub fn title(self) -> &'static str {
        match self {
            Self::Train => "Train",
            Self::Widths => "Switch widths",
            Self::Lesson => "Lesson",
        }
    }
}

/// A route's options as key and value.
pub type Options = Vec<(String, String)>;

/// A handle to the page's address, provided as context.
#[derive(Clone, Copy)]
pub struct Address {
    route: RwSignal<Route>,
    /// Options of each route.
    options: [RwSignal<Options>; 3],
}

impl Address {
    /// Reads the address, now and whenever it changes.
    pub fn read() -> Self {
        let address = Self {
            route: RwSignal::new(Route::Train),
            options: std::array::from_fn(|_| RwSignal::new(Options::new())),
        };
        address.update();
        let listener = window_event_listener(ev::hashchange, move |_| address.update());
        on_cleanup(move || listener.remove());
        address
    }

    /// Returns the route that is shown.
    pub fn route(self) -> RwSignal<Route> {
        self.route
    }

    /// Returns a route's options. They also change when the user edits the address.
    pub fn options(self, route: Route) -> RwSignal<Options> {
        self.options[route as usize]
    }

    /// Writes a route's options to the address, so that a reload restores them.
    pub fn set_options(self, route: Route, options: Options) {
        if self.options(route).with_untracked(|before| *before != options) {
            self.options(route).set(options);
            self.write();
        }
    }

    /// Returns the link to a route with its current options.
    pub fn link(self, route: Route) -> String {
        self.options(route).with(|options| link(route, options))
    }

    /// Reads the browser's address. A route without options keeps its current ones.
    fn update(self) {
        let hash = location().hash().unwrap_or_default();
        let (name, options) =
            hash.trim_start_matches('#').split_once('?').unwrap_or((hash.trim_start_matches('#'), ""));
        let Some(route) = Route::ALL.into_iter().find(|route| route.name() == name) else { return };
        self.route.set(route);
        let options = parse(options);
        if !options.is_empty() && self.options(route).with_untracked(|before| *before != options) {
            self.options(route).set(options);
        }
        self.write();
    }

    fn write(self) {
        let route = self.route.get_untracked();
        let link = self.options(route).with_untracked(|options| link(route, options));
        if location().hash().ok().as_deref() != Some(&link) {
            // Fails only where pages may not change their history; the address then stays as it is.
            let _ =
                window().history().and_then(|history| history.replace_state_with_url(&JsValue::NULL, "", Some(&link)));
        }
    }
}

/// Returns the link to a route with these options.
pub fn link(route: Route, options: &Options) -> String {
    let Ok(query) = UrlSearchParams::new() else { return String::new() };
    options.iter().for_each(|(key, value)| query.append(key, value));
    let query = String::from(query.to_string());
    let mark = if query.is_empty() { "" } else { "?" };
    format!("#{}{mark}{query}", route.name())
}

/// Returns the options in the part of an address after the `?`.
pub fn parse(query: &str) -> Options {
    let Ok(query) = UrlSearchParams::new_with_str(query) else { return Options::new() };
    let pairs = query.entries().into_iter().flatten().map(|pair| js_sys::Array::from(&pair));
    let text = |value: JsValue| value.as_string().unwrap_or_default();
    pairs.map(|pair| (text(pair.get(0)), text(pair.get(1)))).collect()
}
