//! The user's cache folder, for what takes long to find out and can be found out again.

use std::{env, path::PathBuf};

/// Environment variable that names another folder.
pub const VARIABLE: &str = "SLIMCLR_CACHE";

/// Returns the program's folder in the user's cache, which may not exist yet; `None` if the user has no home.
pub fn cache_folder() -> Option<PathBuf> {
    let folder = |variable: &str| env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_absolute());
    if let Some(folder) = env::var_os(VARIABLE).filter(|folder| !folder.is_empty()) {
        return Some(folder.into());
    }
    let caches = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        folder("HOME").map(|home| home.join("Library/Caches"))
    } else {
        folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")))
    };
    caches.map(|caches| caches.join("slimclr"))
}
