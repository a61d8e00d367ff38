//! Board maps: which device map at which source.

use std::path::Path;
use std::sync::Arc;

use super::diagnostic::{Diagnostic, MapErrors, Report};
use super::keys::Keys;
use super::model::Map;
use super::names;
use super::tree::read_file;

/// The devices of a board.
#[derive(Clone, Debug)]
pub struct BoardMap {
    /// In the order of the file.
    pub devices: Vec<BoardDevice>,
}

/// One device of a board.
#[derive(Clone, Debug)]
pub struct BoardDevice {
    /// Unique on the board.
    pub name: String,
    /// What it looks like.
    pub map: Arc<Map>,
    /// What may surprise in the map.
    pub warnings: Vec<Diagnostic>,
    /// Where it is, as [`crate::source::Source`] parses it.
    pub source: String,
    /// What it is for.
    pub doc: Option<String>,
}

impl BoardMap {
    /// Reads a board map and the device maps it names.
    ///
    /// # Errors
    /// Every mistake in it and in them.
    pub fn load(path: &Path) -> Result<BoardMap, MapErrors> {
        let mut report = Report::default();
        let mut board = BoardMap { devices: Vec::new() };
        let mut inner = Vec::new();
        if let Some(tree) = read_file(path, path.display().to_string(), &mut report) {
            if let Some(mut top) = Keys::of(&tree, "a board map".into(), &tree.place, &mut report) {
                let devices = top.tables("devices", &mut report);
                if devices.is_empty() && !report.has_errors() {
                    let help = match tree.get("device").or(tree.get("regions")).is_some() {
                        true => "this is a device map: devregs.open(map, source) opens it",
                        false => "[devices.gpio]  map = \"pl061\"  source = \"uio:labgpio\"",
                    };
                    report.error(&tree.place, "a board map lists its devices").help(help);
                }
                for (key, tree) in devices {
                    names::check(&key.name, "device", &key.place, &mut report);
                    let what = format!("device {}", key.name);
                    let Some(mut keys) = Keys::of(tree, what, &key.place, &mut report) else { continue };
                    let map = need_text(&mut keys, "map", &mut report);
                    let source = need_text(&mut keys, "source", &mut report);
                    if let Some(source) = &source {
                        if let Err(error) = source.parse::<crate::source::Source>() {
                            report.error(&keys.place_of("source"), error.to_string());
                        }
                    }
                    let doc = keys.text("doc", &mut report);
                    let place = keys.place_of("map");
                    keys.finish(&mut report);
                    let (Some(map), Some(source)) = (map, source) else { continue };
                    match find(&map, path) {
                        Ok(loaded) => board.devices.push(BoardDevice {
                            name: key.name.clone(),
                            map: loaded.map,
                            warnings: loaded.warnings,
                            source,
                            doc,
                        }),
                        Err(errors) => {
                            report.error(&place, format!("the map {map:?} cannot be used"));
                            inner.extend(errors.0);
                        }
                    }
                }
                top.finish(&mut report);
            }
        }
        match report.finish() {
            Ok(_) => Ok(board),
            Err(MapErrors(mut errors)) => {
                errors.extend(inner);
                Err(MapErrors(errors))
            }
        }
    }
}

/// A map of the library, or a file: relative to the board map.
fn find(name: &str, board: &Path) -> Result<super::read::Loaded, MapErrors> {
    if name.contains('/') || name.ends_with(".toml") {
        return Map::load(&board.parent().unwrap_or(Path::new("")).join(name));
    }
    Map::find(name)
}

fn need_text(keys: &mut Keys<'_>, name: &'static str, report: &mut Report) -> Option<String> {
    if keys.take(name).is_none() {
        report.error(&keys.place, format!("{} needs {name:?}", keys.what));
        return None;
    }
    keys.text(name, report)
}
