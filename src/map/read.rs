//! From a tree to a model: the device and its regions.

use std::path::Path;
use std::sync::Arc;

use super::check;
use super::diagnostic::{Diagnostic, MapErrors, Place, Report, SourceFile};
use super::keys::{Keys, number};
use super::library;
use super::model::{Access, Map, OnRead, Region, UioMap, Width};
use super::names::{self, Seen};
use super::nodes::{Above, read_nodes};
use super::tree::{Tree, Value, read_file, read_text_of};

/// A map, and what may surprise in it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The map.
    pub map: Arc<Map>,
    /// What is legal but may surprise.
    pub warnings: Vec<Diagnostic>,
}

impl Map {
    /// Reads a map file and the files it includes.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn load(path: &Path) -> Result<Loaded, MapErrors> {
        let mut report = Report::default();
        let name = path.display().to_string();
        let tree = read_file(path, name.clone(), &mut report);
        finish(tree, name, report)
    }

    /// Reads a map from a text. `origin` stands for the file in messages; it can include maps of the library.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str, origin: &str) -> Result<Loaded, MapErrors> {
        let mut report = Report::default();
        let file = SourceFile { name: origin.into(), path: None, text: text.into() };
        let tree = read_text_of(file, &mut report, &mut Vec::new());
        finish(tree, origin.into(), report)
    }

    /// A map of the library by name, or else a file: what has a slash in it or ends in `.toml` is one.
    ///
    /// # Errors
    /// Every mistake in it; no such file, or no such map in the library and which are near.
    pub fn find(name: &str) -> Result<Loaded, MapErrors> {
        if name.contains('/') || name.ends_with(".toml") {
            return Map::load(Path::new(name));
        }
        library::load(name)
    }

    /// The whole map, resolved, as JSON.
    pub fn to_json(&self) -> String {
        // Plain data with string keys: there is nothing that JSON cannot say.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn finish(tree: Option<Tree>, origin: String, mut report: Report) -> Result<Loaded, MapErrors> {
    let map = tree.and_then(|tree| read_map(&tree, origin, &mut report));
    match (report.finish(), map) {
        (Ok(warnings), Some(map)) => Ok(Loaded { map: Arc::new(map), warnings }),
        (Err(errors), _) => Err(errors),
        // A map that is missing was reported.
        (Ok(warnings), None) => Err(MapErrors(warnings)),
    }
}

fn read_map(tree: &Tree, origin: String, report: &mut Report) -> Option<Map> {
    let start = Place { file: tree.place.file, span: 0..0 };
    let mut top = Keys::of(tree, "a device map".into(), &start, report)?;
    let Some(device) = top.take("device") else {
        report
            .error(&start, "a device map needs a [device] table")
            .help("begin with:  [device]  name = \"…\"");
        top.tables("regions", report);
        top.finish(report);
        return None;
    };
    let mut keys = Keys::of(device, "[device]".into(), &device.place, report)?;
    let name = keys.text("name", report);
    match &name {
        None if keys.take("name").is_none() => {
            report.error(&keys.place, "[device] needs a \"name\"").help("name = \"pl061\"");
        }
        None => {}
        Some(name) => names::check_device(name, &keys.place_of("name"), report),
    }
    let map_width = keys.width(report).unwrap_or(Width::W32);
    let byte_order = keys.byte_order(report).unwrap_or(super::ByteOrder::Little);
    let mut map = Map {
        name: name.unwrap_or_default(),
        title: keys.text("title", report),
        doc: keys.text("doc", report),
        reference: keys.text("reference", report),
        compatible: strings(&mut keys, "compatible", report),
        width: map_width,
        byte_order,
        regions: Vec::new(),
        origin,
    };
    keys.finish(report);
    let mut seen = Seen::default();
    let mut places = Vec::new();
    for (key, tree) in top.tables("regions", report) {
        names::check(&key.name, "region", &key.place, report);
        if let Some(region) = read_region(&key.name, tree, &key.place, &map, &mut seen, report) {
            map.regions.push(region);
            places.push(key.place.clone());
        }
    }
    if map.regions.is_empty() && !report.has_errors() {
        report
            .error(&start, "a device map needs at least one region")
            .help("[regions.regs]  size = 0x1000");
    }
    top.finish(report);
    check::regions(&map, &places, report);
    Some(map)
}

fn read_region(
    name: &str,
    tree: &Tree,
    place: &Place,
    map: &Map,
    seen: &mut Seen,
    report: &mut Report,
) -> Option<Region> {
    let mut keys = Keys::of(tree, format!("region {name}"), place, report)?;
    let offset = keys.number("offset", report).unwrap_or(0);
    let size = keys.need("size", report);
    let rights = keys.rights(report);
    let access = rights.access.unwrap_or(Access::ReadWrite);
    if !matches!(access, Access::ReadWrite | Access::ReadOnly | Access::WriteOnly) || rights.on_write.is_some() {
        report
            .error(&keys.place_of("access"), "a region's access is \"rw\", \"ro\" or \"wo\"")
            .help("give the effect of a write to its registers or fields");
    }
    let width = keys.width(report).unwrap_or(map.width);
    let mut region = Region {
        name: name.into(),
        doc: keys.text("doc", report),
        offset,
        size: size.unwrap_or(u64::MAX),
        access,
        width,
        byte_order: keys.byte_order(report).unwrap_or(map.byte_order),
        uio_map: uio_map(&mut keys, report),
        pci_bar: bar(&mut keys, report),
        fifo: keys.bool("fifo", report).unwrap_or(false),
        on_read: rights.on_read.flatten(),
        nodes: Vec::new(),
    };
    if let Some(size) = size {
        check::region_size(&region, size, &keys.place_of("size"), report);
    }
    if region.fifo && region.access.readable() && region.on_read.is_none() {
        region.on_read = Some(OnRead::ModifyExternal);
    }
    let above = Above {
        width,
        byte_order: region.byte_order,
        access: region.access,
        place: place.clone(),
        region: tree,
        size: region.size,
        prefix: String::new(),
        depth: 0,
    };
    region.nodes = read_nodes(&mut keys, tree, &above, seen, report);
    keys.finish(report);
    if size.is_some() {
        check::nodes(&region, report, seen);
    }
    Some(region)
}

fn uio_map(keys: &mut Keys<'_>, report: &mut Report) -> Option<UioMap> {
    let tree = keys.take("uio-map")?;
    if let Value::Text(name) = &tree.value {
        return Some(UioMap::Name(name.clone()));
    }
    let index = number(tree, "uio-map", report)?;
    let fits = u32::try_from(index).ok();
    if fits.is_none() {
        report.error(&tree.place, format!("there is no UIO map {index}"));
    }
    fits.map(UioMap::Index)
}

fn bar(keys: &mut Keys<'_>, report: &mut Report) -> Option<u8> {
    let place = keys.place_of("pci-bar");
    let index = keys.number("pci-bar", report)?;
    let fits = u8::try_from(index).ok().filter(|index| *index < 6);
    if fits.is_none() {
        report.error(&place, format!("there is no PCI BAR {index}")).help("BARs are 0 to 5");
    }
    fits
}

fn strings(keys: &mut Keys<'_>, name: &'static str, report: &mut Report) -> Vec<String> {
    let Some(tree) = keys.take(name) else { return Vec::new() };
    let Value::List(items) = &tree.value else {
        report.error(&tree.place, format!("{name} is a list of strings, not {}", tree.kind()));
        return Vec::new();
    };
    let mut strings = Vec::new();
    for item in items {
        match &item.value {
            Value::Text(text) => strings.push(text.clone()),
            _ => {
                report.error(&item.place, format!("{name} is a list of strings; this is {}", item.kind()));
            }
        }
    }
    strings
}
