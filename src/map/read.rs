//! From a tree to a model: the device and its regions.

use std::path::Path;
use std::sync::Arc;

use super::behaviour::Behaviour;
use super::check;
use super::diagnostic::{Diagnostic, MapErrors, Place, Report, SourceFile};
use super::keys::{Keys, Rights, number, text};
use super::layout;
use super::library;
use super::locate::Nodes;
use super::model::{Access, ByteOrder, Map, Node, OnRead, Region, UioMap, Width};
use super::names::{self, Holder, Seen};
use super::nodes::{Above, names_in, read_nodes};
use super::rules;
use super::tree::{RULES, Tree, Value, read_file, read_text_of};

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
        let file = SourceFile::new(origin.into(), None, text.into());
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

    /// Reads rules of behaviour for this map: a text that has `[[behaviour]]` tables and nothing else. They are those
    /// of the text alone; what the map's own rules assign cannot be assigned again. `origin` stands for the file in
    /// messages.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn behaviour_of(&self, text: &str, origin: &str) -> Result<Vec<Behaviour>, MapErrors> {
        let mut report = Report::default();
        let file = SourceFile::new(origin.into(), None, text.into());
        let mut rules = Vec::new();
        if let Some(tree) = read_text_of(file, &mut report, &mut Vec::new()) {
            if let Some(mut top) = Keys::of(&tree, "a text of rules".into(), &tree.place, &mut report) {
                let list = top.take(RULES);
                top.finish(&mut report);
                rules = list.map_or(Vec::new(), |list| rules::read(list, self, &mut report));
            }
        }
        report.finish().map(|_| rules)
    }

    /// The whole map, resolved, as JSON.
    pub fn to_json(&self) -> String {
        // Plain data with string keys: there is nothing that JSON cannot say.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn finish(tree: Option<Tree>, origin: String, mut report: Report) -> Result<Loaded, MapErrors> {
    let mut map = tree.as_ref().and_then(|tree| read_map(tree, origin, &mut report));
    // What is wrong with a register would be said of each rule that names it.
    let rules = tree.as_ref().and_then(|tree| tree.get(RULES)).filter(|_| !report.has_errors());
    if let (Some(map), Some(rules)) = (&mut map, rules) {
        map.behaviour = rules::read(rules, map, &mut report).into_iter().map(Arc::new).collect();
    }
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
    let mut map = Map {
        name: String::new(),
        title: None,
        doc: None,
        reference: None,
        compatible: Vec::new(),
        width: Width::W32,
        byte_order: ByteOrder::Little,
        regions: Vec::new(),
        behaviour: Vec::new(),
        origin,
    };
    match top.take("device") {
        Some(device) => read_device(device, &mut map, report),
        None => {
            let board = tree.get("devices").is_some();
            let help = match board {
                true => "this is a board map: devregs.open_board() opens all its devices",
                false => "begin with:  [device]  name = \"…\"",
            };
            report.missing(&start, "a device map needs a [device] table").help(help);
            if board {
                return None;
            }
        }
    }
    let mut seen = Seen::default();
    let mut places = Vec::new();
    let regions = top.tables("regions", report);
    let beside: Vec<_> = regions.iter().map(|(key, _)| key.name.as_str()).collect();
    let outermost: Vec<_> = regions.iter().flat_map(|(_, tree)| names_in(tree)).collect();
    for (key, tree) in regions {
        names::check(&key.name, "region", &key.place, report);
        names::warn("", &key.name, [Holder::Regions], &beside, &key.place, report);
        if let Some(region) = read_region(&key.name, tree, &key.place, &map, &outermost, &mut seen, report) {
            map.regions.push(region);
            places.push(key.place.clone());
        }
    }
    if map.regions.is_empty() && !report.has_errors() {
        report
            .missing(&start, "a device map needs at least one region")
            .help("[regions.regs]  size = 0x1000");
    }
    // Its rules are read once all else is.
    top.take(RULES);
    top.finish(report);
    layout::regions(&map, &places, report);
    let mut next = 0;
    map.regions.iter_mut().for_each(|region| number_registers(&mut region.nodes, &mut next));
    Some(map)
}

/// Numbers the registers.
fn number_registers(nodes: &mut Nodes, next: &mut u32) {
    for node in nodes.iter_mut() {
        match node {
            Node::Register(register) => {
                register.id = *next;
                *next += 1;
            }
            Node::Group(group) => number_registers(&mut group.nodes, next),
        }
    }
}

fn read_device(tree: &Tree, map: &mut Map, report: &mut Report) {
    let Some(mut keys) = Keys::of(tree, "[device]".into(), &tree.place, report) else { return };
    let name = keys.text("name", report);
    match &name {
        None if keys.take("name").is_none() => {
            report.missing(&keys.place, "[device] needs a \"name\"").help("name = \"pl061\"");
        }
        None => {}
        Some(name) => names::check_device(name, &keys.place_of("name"), report),
    }
    map.name = name.unwrap_or_default();
    map.title = keys.text("title", report);
    map.doc = keys.text("doc", report);
    map.reference = keys.text("reference", report);
    map.compatible = compatible(&mut keys, report);
    map.width = keys.width(report).unwrap_or(map.width);
    map.byte_order = keys.byte_order(report).unwrap_or(map.byte_order);
    keys.finish(report);
}

fn read_region(
    name: &str,
    tree: &Tree,
    place: &Place,
    map: &Map,
    outermost: &[&str],
    seen: &mut Seen,
    report: &mut Report,
) -> Option<Region> {
    let mut keys = Keys::of(tree, format!("region {name}"), place, report)?;
    let offset = keys.number("offset", report).unwrap_or(0);
    let size = keys.need("size", report);
    let access = region_access(&mut keys, report);
    let on_read = keys.on_read(report);
    check::effects(access, &Rights { on_read, ..Rights::default() }, &keys, report);
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
        on_read: on_read.flatten(),
        nodes: Nodes::default(),
    };
    if let Some(size) = size {
        layout::region_size(&region, size, &keys, report);
    }
    if region.fifo && region.access.readable() && on_read.is_none() {
        region.on_read = Some(OnRead::ModifyExternal);
    }
    let above = Above {
        width,
        byte_order: region.byte_order,
        access: region.access,
        on_read: region.on_read,
        region: tree,
        outermost,
        prefix: String::new(),
        depth: 0,
    };
    region.nodes = read_nodes(&mut keys, tree, &above, seen, report);
    keys.finish(report);
    if size.is_some() {
        layout::region(&region, place, seen, report);
    }
    Some(region)
}

/// A region is mapped in one of three ways; what is finer is said of its registers.
fn region_access(keys: &mut Keys<'_>, report: &mut Report) -> Access {
    let plain = [("rw", Access::ReadWrite), ("ro", Access::ReadOnly), ("wo", Access::WriteOnly)];
    match keys.take("access").map(|tree| (&tree.value, &tree.place)) {
        Some((Value::Text(text), place)) if SHORT_ACCESS.contains(&text.as_str()) => {
            report
                .error(place, format!("the access of a region is \"rw\", \"ro\" or \"wo\", not {text:?}"))
                .help("give effects, and what can be written once, to its registers or fields");
            Access::ReadWrite
        }
        _ => keys.choice("access", &plain, report).unwrap_or(Access::ReadWrite),
    }
}

/// What registers and fields know and regions do not.
const SHORT_ACCESS: [&str; 12] =
    ["rw-once", "wo-once", "w1c", "w1s", "w1t", "w0c", "w0s", "w0t", "wc", "ws", "rc", "rs"];

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

fn compatible(keys: &mut Keys<'_>, report: &mut Report) -> Vec<String> {
    let Some(tree) = keys.take("compatible") else { return Vec::new() };
    let Value::List(items) = &tree.value else {
        report.error(&tree.place, format!("compatible is a list of strings, not {}", tree.kind()));
        return Vec::new();
    };
    let mut strings = Vec::new();
    for item in items {
        let Some(string) = text(item, "a compatible", report) else { continue };
        if string.is_empty() {
            report.error(&item.place, "an empty string fits no device");
        }
        if let Some(ids) = string.strip_prefix("pci:") {
            let id = |id: &str| id.len() == 4 && id.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
            if !ids.split_once(':').is_some_and(|(vendor, device)| id(vendor) && id(device)) {
                report
                    .error(&item.place, format!("{string:?} is no PCI id"))
                    .help("vendor and device, of four lower-case hex digits each: \"pci:10ee:7021\"");
            }
        }
        strings.push(string);
    }
    strings
}
