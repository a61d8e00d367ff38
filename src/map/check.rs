//! What must hold of offsets, sizes and values.

use super::diagnostic::{Place, Report, suggest};
use super::keys::Keys;
use super::model::{Access, Array, Map, Node, Region, Register, UioMap, Width};
use super::names::Seen;
use super::nodes::Above;
use super::tree::Tree;

/// A region's size is whole words, and its end can be said.
pub(super) fn region_size(region: &Region, size: u64, place: &Place, report: &mut Report) {
    let bytes = region.width.bytes() as u64;
    if size == 0 || size % bytes != 0 {
        report
            .error(place, format!("{size:#x} bytes are no whole number of {}-bit words", region.width.bits()))
            .help("the size is in bytes, more than 0 and a multiple of the access width");
    } else if region.offset.checked_add(size).is_none() {
        report.error(place, format!("region {} ends beyond 64 bits", region.name));
    } else if region.offset % bytes != 0 {
        report.error(place, format!("region {} begins at {:#x}, which no {}-bit access can reach", region.name, region.offset, region.width.bits()));
    }
}

/// A value fits its register.
pub(super) fn fits(value: Option<u64>, width: Width, key: &str, keys: &Keys<'_>, report: &mut Report) {
    if value.is_some_and(|value| value > width.mask()) {
        report
            .error(&keys.place_of(key), format!("{key} does not fit the register's {} bits", width.bits()))
            .help("a wider register says so: width = 64");
    }
}

/// A register's offset and stride are multiples of its access.
pub(super) fn alignment(register: &Register, keys: &Keys<'_>, report: &mut Report) {
    if register.split.is_some() && register.width != Width::W64 {
        report
            .error(&keys.place_of("split"), format!("{} has {} bits: only a 64-bit register is split", keys.what, register.width.bits()))
            .help("width = 64");
        return;
    }
    let bytes = if register.split.is_some() { 4 } else { register.width.bytes() as u64 };
    let stride = register.array.map_or(0, |array| array.stride);
    for (value, key) in [(register.offset, "offset"), (stride, "stride")] {
        if value % bytes != 0 {
            let down = value - value % bytes;
            report
                .error(&keys.place_of(key), format!("the {key} {value:#x} of {} is not a multiple of {bytes}", keys.what))
                .help(format!("a {}-bit access is aligned: {down:#x} or {:#x}; a narrower register says so: width = 8", register.width.bits(), down.saturating_add(bytes)));
        }
    }
    if register.array.is_some_and(|array| array.count > 1 && array.stride < register.width.bytes() as u64) {
        report.error(&keys.place_of("stride"), format!("the elements of {} overlap: they have {} bytes each", keys.what, register.width.bytes()));
    }
}

/// A register in its group ends inside the region, for what is known of it here; [`nodes`] checks the rest.
pub(super) fn inside(register: &Register, above: &Above<'_>, keys: &Keys<'_>, report: &mut Report) {
    let end = extent(u128::from(register.offset), register.array, register.width.bytes() as u128);
    if above.depth == 0 && end > u128::from(above.size) {
        report
            .error(&keys.place_of("offset"), format!("{} ends at {end:#x}, outside its region of {:#x} bytes", keys.what, above.size))
            .help("offsets are in bytes from the start of the region");
    }
}

/// Checks between the parts of one register, and with those beside it.
pub(super) fn register(register: &Register, tree: &Tree, holder: &Tree, report: &mut Report) {
    let place = |key: &str| tree.get(key).map_or_else(|| tree.place.clone(), |tree| tree.place.clone());
    if register.expect.is_some() {
        if !register.access.readable() {
            report.error(&place("expect"), format!("{} cannot be read, so nothing can be expected of it", register.name));
        } else if register.read_effect().is_some() {
            report
                .error(&place("expect"), format!("reading {} has a side effect, and what is expected is read at open", register.name))
                .help("opening a device changes nothing in it: expect something of another register");
        }
    }
    for (alias, key) in [
        (&register.aliases.set, "set-alias"),
        (&register.aliases.clear, "clear-alias"),
        (&register.aliases.toggle, "toggle-alias"),
    ] {
        let Some(name) = alias else { continue };
        let beside = holder.get("registers").map(Tree::table).unwrap_or_default();
        if !beside.iter().any(|(known, _)| known.name == *name) {
            let error = report.error(&place(key), format!("there is no register {name:?} beside {}", register.name));
            if let Some(help) = suggest(name, beside.iter().map(|(known, _)| known.name.as_str())) {
                error.help(help);
            }
        }
    }
    if let (Some(reset), false) = (register.reset, register.fields.is_empty()) {
        let fields = register.fields.iter().fold(0, |mask, field| mask | field.mask());
        if reset.value & !fields != 0 && tree.get("reserved").is_none() {
            report
                .warn(&place("reset"), format!("{} resets bits that no field covers to 1: {:#x}", register.name, reset.value & !fields))
                .help("is a field missing? Otherwise say what to write there: reserved = \"preserve\"");
        }
    }
    if register.access.readable() && register.width != Width::W64 && register.fields.iter().any(|f| f.self_clear && !f.access.writable()) {
        report.error(&tree.place, format!("{} has a read-only field that clears itself when written", register.name));
    }
}

/// Two regions of one place do not overlap.
pub(super) fn regions(map: &Map, places: &[Place], report: &mut Report) {
    let place = |region: &Region| match (&region.uio_map, region.pci_bar) {
        (Some(UioMap::Name(name)), _) => (0, 0, name.clone()),
        (Some(UioMap::Index(index)), _) => (1, *index, String::new()),
        (None, Some(bar)) => (2, u32::from(bar), String::new()),
        (None, None) => (3, 0, String::new()),
    };
    for (index, region) in map.regions.iter().enumerate() {
        for other in &map.regions[..index] {
            let end = |region: &Region| u128::from(region.offset) + u128::from(region.size);
            let apart = end(region) <= u128::from(other.offset) || end(other) <= u128::from(region.offset);
            if place(region) == place(other) && !apart && other.size != u64::MAX && region.size != u64::MAX {
                report
                    .error(&places[index], format!("region {} overlaps region {}", region.name, other.name))
                    .help("a span has one access right; regions of different UIO maps or BARs say which: uio-map = 1");
            }
        }
    }
}

/// Where one register is, with all its repetitions.
struct Span {
    start: u128,
    size: u128,
    /// Counts and strides, outermost first.
    dims: Vec<(u128, u128)>,
    path: String,
    access: Access,
    /// It shares its address on purpose.
    shared: bool,
}

impl Span {
    fn end(&self) -> u128 {
        self.dims.iter().fold(self.start + self.size, |end, (count, stride)| end + (count - 1) * stride)
    }
}

/// The registers of a region end inside it and do not overlap, all repetitions counted.
pub(super) fn nodes(region: &Region, report: &mut Report, seen: &Seen) {
    let mut spans = Vec::new();
    collect(&region.nodes, 0, &[], "", &mut spans);
    spans.sort_by_key(|span| span.start);
    for span in &spans {
        // Registers outside groups were checked where they stand.
        if span.path.contains('.') && span.end() > u128::from(region.size) {
            if let Some(place) = seen.place(&span.path) {
                report
                    .error(place, format!("{} ends at {:#x}, outside its region of {:#x} bytes", span.path, span.end(), region.size))
                    .help("offsets in a group are from the start of the group; all its repetitions count");
            }
        }
    }
    let mut open: Vec<&Span> = Vec::new();
    for span in &spans {
        open.retain(|other| other.end() > span.start);
        for other in open.iter().copied() {
            let apart = matches!(
                (span.access, other.access),
                (Access::ReadOnly, Access::WriteOnly) | (Access::WriteOnly, Access::ReadOnly)
            );
            if apart || span.shared || other.shared || !touch(span, other, &mut (1 << 16)) {
                continue;
            }
            // The one that comes later in the file is the one to complain of.
            let (Some(a), Some(b)) = (seen.place(&span.path), seen.place(&other.path)) else { continue };
            let (late, early, place) = match (a.file, a.span.start) > (b.file, b.span.start) {
                true => (span, other, a.clone()),
                false => (other, span, b.clone()),
            };
            report
                .error(&place, format!("{} ({:#x} to {:#x}) overlaps {} ({:#x} to {:#x})", late.path, late.start, late.end() - 1, early.path, early.start, early.end() - 1))
                .help("registers that share an address on purpose say so: overlaps = true");
        }
        open.push(span);
    }
}

fn collect(nodes: &[Node], base: u128, dims: &[(u128, u128)], prefix: &str, spans: &mut Vec<Span>) {
    for node in nodes {
        let start = base + u128::from(node.offset());
        let mut dims = dims.to_vec();
        if let Some(Array { count, stride }) = node.array() {
            dims.push((count.into(), stride.into()));
        }
        let path = format!("{prefix}{}", node.name());
        match node {
            Node::Group(group) => collect(&group.nodes, start, &dims, &format!("{path}."), spans),
            Node::Register(register) => spans.push(Span {
                start,
                size: register.width.bytes() as u128,
                dims,
                path,
                access: register.access,
                shared: register.overlaps,
            }),
        }
    }
}

/// Whether two registers share a byte. `work` bounds the search: arrays that are woven into each other so finely that
/// it runs out are taken as apart.
fn touch(a: &Span, b: &Span, work: &mut u32) -> bool {
    if a.end() <= b.start || b.end() <= a.start || *work == 0 {
        return false;
    }
    *work -= 1;
    let (split, other) = if a.dims.is_empty() { (b, a) } else { (a, b) };
    let Some((&(count, stride), rest)) = split.dims.split_first() else { return true };
    let inner = Span { dims: rest.to_vec(), path: String::new(), ..*split };
    let length = inner.end() - inner.start;
    // Only those elements that can reach the other one.
    let first = (other.start + 1).saturating_sub(split.start + length).div_ceil(stride);
    let last = (other.end() - 1).saturating_sub(split.start) / stride;
    (first..=last.min(count - 1)).any(|index| {
        let start = split.start + index * stride;
        touch(&Span { start, dims: rest.to_vec(), path: String::new(), ..*split }, other, work)
    })
}

fn extent(start: u128, array: Option<Array>, size: u128) -> u128 {
    let last = array.map_or(0, |array| u128::from(array.count - 1) * u128::from(array.stride));
    start + last + size
}
