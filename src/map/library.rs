//! The maps that come with devregs, embedded in it.

use std::path::Path;

use super::diagnostic::{MapErrors, Report, suggest};
use super::model::Map;
use super::read::Loaded;

// LIBRARY: (path from device-maps, text), sorted.
include!(concat!(env!("OUT_DIR"), "/library.rs"));

/// The names of the library's maps, in order. Files to be included are no maps.
pub fn builtin_names() -> impl Iterator<Item = &'static str> + Clone {
    LIBRARY.iter().map(|(path, _)| stem(path)).filter(|name| !name.starts_with('_'))
}

/// A map of the library.
///
/// # Errors
/// There is none of this name, and which are near.
pub fn builtin(name: &str) -> Result<Loaded, MapErrors> {
    load(name)
}

pub(super) fn load(name: &str) -> Result<Loaded, MapErrors> {
    match LIBRARY.iter().find(|(path, _)| stem(path) == name && !name.starts_with('_')) {
        Some((path, text)) => Map::parse(text, &format!("builtin:{path}")),
        None => {
            let mut report = Report::default();
            let error = report.whole_file(name.to_string(), "there is no map of this name in the library");
            let near = suggest(name, builtin_names()).unwrap_or_default();
            error.help(format!("{near}; a file is named by a path: ./{name}.toml"));
            Err(report.finish().err().unwrap_or(MapErrors(Vec::new())))
        }
    }
}

/// A file that a map includes: relative to the map where that is one of the library, and by its name alone where it
/// is a text. Its origin and text.
pub(super) fn text(from: &str, name: &Path) -> Option<(String, &'static str)> {
    let wanted = from.strip_prefix("builtin:").map(|from| Path::new(from).with_file_name(name));
    let (path, text) = LIBRARY.iter().find(|(path, _)| match &wanted {
        Some(wanted) => Path::new(path) == wanted,
        None => Path::new(path).file_name() == Some(name.as_os_str()),
    })?;
    Some((format!("builtin:{path}"), text))
}

fn stem(path: &'static str) -> &'static str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".toml").unwrap_or(file)
}
