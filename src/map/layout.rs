//! Where regions, groups and registers lie: inside what holds them, aligned, and not over each other.

use super::diagnostic::{Place, Report};
use super::keys::Keys;
use super::model::{Array, Group, Map, Node, Region, Register, UioMap};
use super::names::Seen;
use super::strides::{Dimension, Strided, touch};

/// A region's size is whole words, and its end can be said.
pub(super) fn region_size(region: &Region, size: u64, keys: &Keys<'_>, report: &mut Report) {
    let place = &keys.place_of("size");
    let bits = region.width.bits();
    let bytes = region.width.bytes() as u64;
    if size == 0 || size % bytes != 0 {
        report
            .error(place, format!("{size:#x} bytes are no whole number of {bits}-bit words"))
            .help("the size is in bytes, more than 0 and a multiple of the access width");
    } else if region.offset.checked_add(size).is_none() {
        report.error(place, format!("region {} ends beyond 64 bits", region.name));
    }
    if region.offset % bytes != 0 {
        report
            .error(
                &keys.place_of("offset"),
                format!(
                    "region {} begins at {:#x}, which no {bits}-bit access can reach",
                    region.name, region.offset
                ),
            )
            .help("a bus access is at a multiple of its width");
    }
}

/// Two regions of one UIO map, BAR or device do not overlap.
pub(super) fn regions(map: &Map, places: &[Place], report: &mut Report) {
    // What says neither lies in UIO map 0 or BAR 0, whichever the source has.
    let uio = |region: &Region| match (&region.uio_map, region.pci_bar) {
        (None, None) => Some(UioMap::Index(0)),
        (uio, _) => uio.clone(),
    };
    let bar = |region: &Region| match (&region.uio_map, region.pci_bar) {
        (None, None) => Some(0),
        (_, bar) => bar,
    };
    let end = |region: &Region| u128::from(region.offset) + u128::from(region.size);
    for (index, region) in map.regions.iter().enumerate() {
        let over = map.regions[..index].iter().position(|other| {
            let same_uio = uio(region).is_some() && uio(region) == uio(other);
            let same_bar = bar(region).is_some() && bar(region) == bar(other);
            let apart = end(region) <= u128::from(other.offset) || end(other) <= u128::from(region.offset);
            (same_uio || same_bar) && !apart && other.size != u64::MAX && region.size != u64::MAX
        });
        if let Some(over) = over {
            let other = &map.regions[over];
            let line = report.line_of(&places[over]);
            report
                .error(&places[index], format!("region {} overlaps region {} (line {line})", region.name, other.name))
                .help("a span has one access right; regions of different UIO maps or BARs say which: uio-map = 1");
        }
    }
}

/// The registers and groups of a region lie rightly, all repetitions counted.
pub(super) fn region(region: &Region, place: &Place, seen: &Seen, report: &mut Report) {
    let mut layout = Layout { seen, report, pairs: 0, gave_up: false };
    if let Some((bytes, register)) = layout.alignment(&region.nodes, "") {
        // Of the region's own width it was checked with its size.
        if region.offset % bytes != 0 && bytes > region.width.bytes() as u64 {
            let (name, offset) = (&region.name, region.offset);
            layout
                .report
                .error(place, format!("region {name} begins at {offset:#x}, so {register} is at no multiple of {bytes} bytes"))
                .help("a bus access is at a multiple of its width");
        }
    }
    let inside: Vec<&Node> =
        region.nodes.iter().filter(|node| layout.inside(node, region.size.into(), region.size, "")).collect();
    layout.overlaps(&inside, "");
    if layout.gave_up {
        layout
            .report
            .warn(
                place,
                format!(
                    "region {} has too many arrays woven into each other to compare them all",
                    region.name
                ),
            )
            .help("whether their registers overlap was not checked to the end");
    }
}

struct Layout<'a> {
    seen: &'a Seen,
    report: &'a mut Report,
    /// How many pairs of registers were compared.
    pairs: usize,
    gave_up: bool,
}

/// More pairs are not compared: that takes a second or so.
const MOST_PAIRS: usize = 1 << 20;

impl Layout<'_> {
    /// The widest access among `nodes` in bytes, and the register that has it. Reports groups that move it off.
    fn alignment(&mut self, nodes: &[Node], prefix: &str) -> Option<(u64, String)> {
        let mut widest: Option<(u64, String)> = None;
        for node in nodes {
            let path = || format!("{prefix}{}", node.name());
            let found = match node {
                // Its own offset was checked where it stands.
                Node::Register(register) => Some((register.access_bytes(), path())),
                Node::Group(group) => {
                    let found = self.alignment(&group.nodes, &format!("{}.", path()));
                    if let Some((bytes, register)) = &found {
                        self.aligned(group, &path(), *bytes, register);
                    }
                    found
                }
            };
            if found.as_ref().map(|(bytes, _)| *bytes) > widest.as_ref().map(|(bytes, _)| *bytes) {
                widest = found;
            }
        }
        widest
    }

    fn aligned(&mut self, group: &Group, path: &str, bytes: u64, register: &str) {
        let stride = group.array.filter(|array| array.count > 1).map_or(0, |array| array.stride);
        for (value, key) in [(group.offset, "offset"), (stride, "stride")] {
            let (Some(place), true) = (self.seen.place(path), value % bytes != 0) else { continue };
            self.report
                .error(
                    place,
                    format!(
                        "the {key} {value:#x} of group {path} puts {register} at no multiple of {bytes} bytes"
                    ),
                )
                .help("a bus access is at a multiple of its width");
        }
    }

    /// Whether a node ends within `room` bytes from where its holder begins; `size` is the region's.
    fn inside(&mut self, node: &Node, room: u128, size: u64, prefix: &str) -> bool {
        let path = format!("{prefix}{}", node.name());
        let (_, end) = extent(node);
        if end <= room {
            return true;
        }
        if let Node::Group(group) = node {
            // What of its first repetition is outside says it better.
            let room = room.saturating_sub(group.offset.into());
            let outside =
                group.nodes.iter().filter(|node| !self.inside(node, room, size, &format!("{path}."))).count();
            if outside > 0 {
                return false;
            }
        }
        let (what, hint) = match (node, node.array(), prefix) {
            (_, Some(_), _) => {
                ("all its repetitions", "count and stride of an array, and of what holds it, add up")
            }
            (_, None, "") => ("it", "offsets are in bytes from the start of the region"),
            _ => ("it", "offsets in a group are from the start of the group"),
        };
        if let Some(place) = self.seen.place(&path) {
            let over = end.saturating_sub(room);
            self.report
                .error(
                    place,
                    format!(
                        "{path} is outside its region of {size:#x} bytes: {what} would need {over:#x} more"
                    ),
                )
                .help(hint);
        }
        false
    }

    /// What nodes beside each other do to each other.
    fn overlaps(&mut self, nodes: &[&Node], prefix: &str) {
        for node in nodes {
            if let Node::Group(group) = node {
                let path = format!("{prefix}{}", group.name);
                self.overlaps(&group.nodes.iter().collect::<Vec<_>>(), &format!("{path}."));
                self.repeats(group, &path);
            }
        }
        let mut sorted: Vec<_> = nodes.iter().map(|node| (extent(node), *node)).collect();
        sorted.sort_by_key(|((start, _), _)| *start);
        let mut open: Vec<((u128, u128), &Node)> = Vec::new();
        for ((start, end), node) in sorted {
            open.retain(|((_, other), _)| *other > start);
            for (_, other) in &open {
                if self.gave_up {
                    return;
                }
                if self.compare(node, other, prefix) {
                    break;
                }
            }
            open.push(((start, end), node));
        }
    }

    /// Whether two nodes overlap, which is reported.
    fn compare(&mut self, node: &Node, other: &Node, prefix: &str) -> bool {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        collect(node, 0, &[], prefix, &mut ours);
        collect(other, 0, &[], prefix, &mut theirs);
        for one in &ours {
            for two in &theirs {
                if !self.apart(one, two, None) {
                    self.overlap(one, two);
                    return true;
                }
            }
        }
        false
    }

    /// Reports where the repetitions of a group overlap.
    fn repeats(&mut self, group: &Group, path: &str) {
        let Some(array) = group.array.filter(|array| array.count > 1) else { return };
        let (start, end) = span(&group.nodes);
        if u128::from(array.stride) >= end.saturating_sub(start) {
            return;
        }
        let mut parts = Vec::new();
        for node in &group.nodes {
            collect(node, 0, &[], &format!("{path}."), &mut parts);
        }
        let moved = Some((array.count - 1, array.stride));
        for one in &parts {
            if let Some(two) = parts.iter().find(|two| !self.apart(one, two, moved)) {
                let Some(place) = self.seen.place(path) else { return };
                let problem = match one.path == two.path {
                    true => format!(
                        "with a stride of {:#x}, {} overlaps its own repetitions",
                        array.stride, one.path
                    ),
                    false => format!(
                        "with a stride of {:#x}, repetitions of {} overlap {}",
                        array.stride, one.path, two.path
                    ),
                };
                self.report
                    .error(place, problem)
                    .help(format!("a stride of {:#x} keeps the group's repetitions apart", end - start));
                return;
            }
        }
    }

    fn apart(&mut self, one: &Part<'_>, two: &Part<'_>, moved: Option<Dimension>) -> bool {
        let (a, b) = (one.register, two.register);
        self.pairs += 1;
        if self.pairs > MOST_PAIRS {
            self.gave_up = true;
            return true;
        }
        let by_right = |a: &Register, b: &Register| !a.access.writable() && !b.access.readable();
        if a.overlaps || b.overlaps || by_right(a, b) || by_right(b, a) {
            return true;
        }
        let touching = touch(&one.place, &two.place, moved);
        self.gave_up |= touching.is_none();
        touching != Some(true)
    }

    /// Two registers overlap: the one that is later in the file is the one to complain of.
    fn overlap(&mut self, one: &Part<'_>, two: &Part<'_>) {
        let (Some(a), Some(b)) = (self.seen.place(&one.path), self.seen.place(&two.path)) else { return };
        let (late, early, place, first) = match (a.file, a.span.start) > (b.file, b.span.start) {
            true => (one, two, a, b),
            false => (two, one, b, a),
        };
        let line = self.report.line_of(first);
        self.report
            .error(
                place,
                format!(
                    "{} ({}) overlaps {} ({}, line {line})",
                    late.path,
                    late.shown(),
                    early.path,
                    early.shown()
                ),
            )
            .help("registers that share an address on purpose say so: overlaps = true");
    }
}

/// A register with all its repetitions in some group or region.
pub(super) struct Part<'a> {
    pub register: &'a Register,
    path: String,
    pub place: Strided,
}

impl Part<'_> {
    /// The bytes it covers, or where its repetitions begin and end.
    fn shown(&self) -> String {
        let (start, last) = (self.place.start, self.place.end() - 1);
        let repeated = if self.place.dimensions.is_empty() { "" } else { " with gaps" };
        format!("bytes {start:#x} to {last:#x}{repeated}")
    }
}

/// Adds the registers of a node and of all below it.
pub(super) fn collect<'a>(
    node: &'a Node,
    base: u64,
    above: &[Dimension],
    prefix: &str,
    parts: &mut Vec<Part<'a>>,
) {
    let start = base + node.offset();
    let mut dimensions = above.to_vec();
    dimensions.extend(node.array().map(|array| (array.count, array.stride)));
    let path = format!("{prefix}{}", node.name());
    match node {
        Node::Register(register) => {
            let size = register.width.bytes() as u64;
            parts.push(Part { register, path, place: Strided { start, size, dimensions } });
        }
        Node::Group(group) => {
            for node in &group.nodes {
                collect(node, start, &dimensions, &format!("{path}."), parts);
            }
        }
    }
}

/// Where a node begins and ends, all repetitions counted, from the start of what holds it.
fn extent(node: &Node) -> (u128, u128) {
    let (start, end) = match node {
        Node::Register(register) => (0, register.width.bytes() as u128),
        Node::Group(group) => span(&group.nodes),
    };
    let offset = u128::from(node.offset());
    let last = node.array().map_or(0, |Array { count, stride }| u128::from(count - 1) * u128::from(stride));
    (offset + start, offset.saturating_add(end).saturating_add(last))
}

/// Where nodes beside each other begin and end.
fn span(nodes: &[Node]) -> (u128, u128) {
    let extents = nodes.iter().map(extent);
    extents.reduce(|(start, end), (from, to)| (start.min(from), end.max(to))).unwrap_or((0, 0))
}
