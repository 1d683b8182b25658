//! The page's address: the room after the `#`, and after a `?` the options that differ from the defaults.
//!
//! `#train?batch=64&distill=none` is a link that anybody can be sent. Rooms read their options with [`Address::options`]
//! and write them with [`Address::set_options`]; both concern their own room, shown or not.

use leptos::{ev, prelude::*};
use wasm_bindgen::JsValue;
use web_sys::UrlSearchParams;

/// Whether the address asks for the run that the server streams: `?live`, as the program prints it.
pub fn is_live() -> bool {
    location().search().is_ok_and(|query| query.trim_start_matches('?').split('&').any(|word| word == "live"))
}

/// A room of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Training.
    Train,
    /// Trained networks at every width.
    Widths,
    /// The guided lesson.
    Lesson,
}

impl Room {
    /// All of them, as they stand in the navigation.
    pub const ALL: [Self; 3] = [Self::Train, Self::Widths, Self::Lesson];

    /// Its name in the address.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Widths => "widths",
            Self::Lesson => "lesson",
        }
    }

    /// Its name on the page.
    pub fn title(self) -> &'static str {
        match self {
            Self::Train => "Train",
            Self::Widths => "Switch widths",
            Self::Lesson => "Lesson",
        }
    }
}

/// A room's options, as they stand in the address.
pub type Options = Vec<(String, String)>;

/// Where the page is; a handle, to be had by `expect_context`.
#[derive(Clone, Copy)]
pub struct Address {
    room: RwSignal<Room>,
    /// Of each room.
    options: [RwSignal<Options>; 3],
}

impl Address {
    /// Reads the address, now and whenever somebody changes it.
    pub fn read() -> Self {
        let address =
            Self { room: RwSignal::new(Room::Train), options: std::array::from_fn(|_| RwSignal::new(Options::new())) };
        address.take();
        let listening = window_event_listener(ev::hashchange, move |_| address.take());
        on_cleanup(move || listening.remove());
        address
    }

    /// The room that is shown.
    pub fn room(self) -> RwSignal<Room> {
        self.room
    }

    /// A room's options; they change where somebody else than the room changes them, too.
    pub fn options(self, room: Room) -> RwSignal<Options> {
        self.options[room as usize]
    }

    /// Writes a room's options down; a page that is left comes back with them.
    pub fn set_options(self, room: Room, options: Options) {
        if self.options(room).with_untracked(|before| *before != options) {
            self.options(room).set(options);
            self.write();
        }
    }

    /// The link to a room with the options that it has.
    pub fn link(self, room: Room) -> String {
        self.options(room).with(|options| link(room, options))
    }

    /// A room named without options has those that it had.
    fn take(self) {
        let hash = location().hash().unwrap_or_default();
        let (name, options) =
            hash.trim_start_matches('#').split_once('?').unwrap_or((hash.trim_start_matches('#'), ""));
        let Some(room) = Room::ALL.into_iter().find(|room| room.name() == name) else { return };
        self.room.set(room);
        let options = parse(options);
        if !options.is_empty() && self.options(room).with_untracked(|before| *before != options) {
            self.options(room).set(options);
        }
        self.write();
    }

    fn write(self) {
        let room = self.room.get_untracked();
        let link = self.options(room).with_untracked(|options| link(room, options));
        if location().hash().ok().as_deref() != Some(&link) {
            // Refused only where a page may have no history; then the address stays as it was.
            let _ =
                window().history().and_then(|history| history.replace_state_with_url(&JsValue::NULL, "", Some(&link)));
        }
    }
}

/// The link to a room with these options.
pub fn link(room: Room, options: &Options) -> String {
    let Ok(query) = UrlSearchParams::new() else { return String::new() };
    options.iter().for_each(|(key, value)| query.append(key, value));
    let query = String::from(query.to_string());
    let mark = if query.is_empty() { "" } else { "?" };
    format!("#{}{mark}{query}", room.name())
}

fn parse(query: &str) -> Options {
    let Ok(query) = UrlSearchParams::new_with_str(query) else { return Options::new() };
    let pairs = query.entries().into_iter().flatten().map(|pair| js_sys::Array::from(&pair));
    let word = |value: JsValue| value.as_string().unwrap_or_default();
    pairs.map(|pair| (word(pair.get(0)), word(pair.get(1)))).collect()
}
