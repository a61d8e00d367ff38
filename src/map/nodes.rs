//! From a tree to a model: groups, registers and fields.

use super::ByteOrder;
use super::check;
use super::derive::derived;
use super::diagnostic::{Place, Report};
use super::fields::read_fields;
use super::keys::{Keys, number};
use super::locate::Nodes;
use super::model::{
    Access, Aliases, Array, Expect, Group, Node, OnRead, Register, Reserved, Reset, Split, Width,
};
use super::names::{self, Seen};
use super::tree::{Tree, Value};

/// What a register or group gets from what holds it.
pub(super) struct Above<'a> {
    pub width: Width,
    pub byte_order: ByteOrder,
    pub access: Access,
    pub on_read: Option<OnRead>,
    /// The region, from which the paths of `derive-from` lead.
    pub region: &'a Tree,
    /// The names of all registers and groups of the device that are in no group.
    pub outermost: &'a [&'a str],
    /// The path of the group with its dot; empty in a region.
    pub prefix: String,
    pub depth: usize,
}

/// Groups in groups deeper than this are a mistake, or an attack.
const DEEPEST: usize = 32;

/// The registers and groups in a region or group, in the order of their offsets.
pub(super) fn read_nodes(
    keys: &mut Keys<'_>,
    holder: &Tree,
    above: &Above<'_>,
    seen: &mut Seen,
    report: &mut Report,
) -> Nodes {
    let mut nodes = Vec::new();
    let (holders, beside) = match above.depth {
        0 => (names::DEVICE, above.outermost.to_vec()),
        _ => (names::GROUP, names_in(holder).collect()),
    };
    for (key, tree) in keys.tables("registers", report) {
        if !seen.add(&above.prefix, &key.name, &key.place, report) {
            return Nodes::new(nodes);
        }
        names::check(&key.name, "register", &key.place, report);
        names::warn(&above.prefix, &key.name, holders, &beside, &key.place, report);
        let Some(tree) = derived(tree, &key.name, "registers", holder, above.region, report) else {
            continue;
        };
        if let Some(register) = read_register(&key.name, &tree, &key.place, above, report) {
            check::register(&register, &tree, holder, report);
            nodes.push(Node::Register(register));
        }
    }
    for (key, tree) in keys.tables("groups", report) {
        if !seen.add(&above.prefix, &key.name, &key.place, report) {
            return Nodes::new(nodes);
        }
        names::check(&key.name, "group", &key.place, report);
        names::warn(&above.prefix, &key.name, holders, &beside, &key.place, report);
        if above.depth >= DEEPEST {
            report.error(&key.place, format!("groups are nested deeper than {DEEPEST}"));
            continue;
        }
        let Some(tree) = derived(tree, &key.name, "groups", holder, above.region, report) else { continue };
        if let Some(group) = read_group(&key.name, &tree, &key.place, above, seen, report) {
            nodes.push(Node::Group(group));
        }
    }
    check::aliases(&nodes, &above.prefix, seen, report);
    Nodes::new(nodes)
}

/// The names of the registers and groups in a region or group.
pub(super) fn names_in(holder: &Tree) -> impl Iterator<Item = &str> {
    let parts = ["registers", "groups"].into_iter().filter_map(|parts| holder.get(parts));
    parts.flat_map(|parts| parts.table().iter().map(|(key, _)| key.name.as_str()))
}

fn read_group(
    name: &str,
    tree: &Tree,
    place: &Place,
    above: &Above<'_>,
    seen: &mut Seen,
    report: &mut Report,
) -> Option<Group> {
    let mut keys = Keys::of(tree, format!("group {}{name}", above.prefix), place, report)?;
    keys.take("derive-from");
    let offset = keys.need("offset", report);
    let doc = keys.text("doc", report);
    let array = array(&mut keys, None, report);
    let below = Above { prefix: format!("{}{name}.", above.prefix), depth: above.depth + 1, ..*above };
    let nodes = read_nodes(&mut keys, tree, &below, seen, report);
    if nodes.is_empty() && !report.has_errors() {
        report.missing(place, format!("{} is empty", keys.what)).help("give it registers, or remove it");
    }
    keys.finish(report);
    Some(Group { name: name.into(), doc, offset: offset?, array, nodes })
}

fn array(keys: &mut Keys<'_>, default_stride: Option<u64>, report: &mut Report) -> Option<Array> {
    let place = keys.place_of("count");
    let count = keys.number("count", report);
    let stride_place = keys.place_of("stride");
    let stride = keys.number("stride", report);
    let Some(count) = count else {
        if stride.is_some() {
            report
                .error(&stride_place, format!("{} has a stride but no count", keys.what))
                .help("an array has a count; its stride is in bytes");
        }
        return None;
    };
    if count == 0 {
        report.error(&place, format!("{} has no elements", keys.what)).help("count is 1 or more");
        return None;
    }
    let Some(stride) = stride.or(default_stride) else {
        report
            .error(&place, format!("{} has a count but no stride", keys.what))
            .help("stride is from one element's start to the next, in bytes");
        return None;
    };
    if stride == 0 {
        report.error(&stride_place, "a stride of 0 puts all elements at one address");
        return None;
    }
    Some(Array { count, stride })
}

fn read_register(
    name: &str,
    tree: &Tree,
    place: &Place,
    above: &Above<'_>,
    report: &mut Report,
) -> Option<Register> {
    let mut keys = Keys::of(tree, format!("register {}{name}", above.prefix), place, report)?;
    keys.take("derive-from");
    let overlaps = keys.bool("overlaps", report).unwrap_or(false);
    let offset = keys.need("offset", report);
    let width = keys.width(report).unwrap_or(above.width);
    let rights = keys.rights(report);
    let fifo = fifo(&mut keys, report);
    let access = rights.access.unwrap_or(above.access);
    let pops = fifo.is_some() && access.readable();
    let on_read = match rights.on_read {
        Some(effect) => effect,
        None if pops => Some(OnRead::ModifyExternal),
        None => above.on_read.filter(|_| access.readable()),
    };
    check::effects(access, &rights, &keys, report);
    let reset = keys.number("reset", report);
    let reset_mask = keys.number("reset-mask", report);
    if let (None, Some(_)) = (reset, reset_mask) {
        report
            .error(&keys.place_of("reset-mask"), "a reset-mask without a reset value")
            .help("reset-mask says which bits of reset are defined");
    }
    let mut register = Register {
        id: 0,
        name: name.into(),
        offset: offset.unwrap_or(0),
        array: array(&mut keys, Some(width.bytes() as u64), report),
        width,
        byte_order: keys.byte_order(report).unwrap_or(above.byte_order),
        access,
        reset: reset.map(|value| {
            let mask = reset_mask.unwrap_or(width.mask()) & width.mask();
            Reset { value: value & mask, mask }
        }),
        expect: expect(&mut keys, width, report),
        volatile: keys.bool("volatile", report).unwrap_or(true),
        split: keys.choice(
            "split",
            &[("low-first", Split::LowFirst), ("high-first", Split::HighFirst)],
            report,
        ),
        fifo,
        overlaps,
        on_read,
        on_write: rights.on_write.flatten(),
        reserved: keys
            .choice(
                "reserved",
                &[("preserve", Reserved::Preserve), ("zero", Reserved::Zero), ("one", Reserved::One)],
                report,
            )
            .unwrap_or(Reserved::Preserve),
        aliases: Aliases {
            set: keys.text("set-alias", report),
            clear: keys.text("clear-alias", report),
            toggle: keys.text("toggle-alias", report),
        },
        doc: keys.text("doc", report),
        fields: Vec::new(),
    };
    for (value, key) in [(reset, "reset"), (reset_mask, "reset-mask")] {
        check::fits(value, width, key, &keys, report);
    }
    register.fields = read_fields(&mut keys, &register, report);
    if access.writable() && !above.access.writable() {
        report
            .error(&keys.place_of("access"), format!("{} is writable in a read-only region", keys.what))
            .help("move it to a region with access = \"rw\", or give it access = \"ro\"");
    }
    if access.readable() && !above.access.readable() {
        report
            .error(&keys.place_of("access"), format!("{} is readable in a write-only region", keys.what))
            .help("give it access = \"wo\", or the region access = \"rw\"");
    }
    if offset.is_some() {
        check::alignment(&register, &keys, report);
    }
    keys.finish(report);
    offset.map(|_| register)
}

/// `fifo = true`, or its depth in words.
fn fifo(keys: &mut Keys<'_>, report: &mut Report) -> Option<u64> {
    let tree = keys.take("fifo")?;
    match tree.value {
        Value::Bool(true) => Some(0),
        Value::Bool(false) => None,
        _ => {
            let depth = number(tree, "fifo", report);
            if depth == Some(0) {
                report
                    .error(&tree.place, "a FIFO of no words")
                    .help("fifo is its depth in words, or true where that is not known");
            }
            depth
        }
    }
}

/// `expect = VALUE`, or `{ value, mask }`.
fn expect(keys: &mut Keys<'_>, width: Width, report: &mut Report) -> Option<Expect> {
    let tree = keys.take("expect")?;
    let (value, mask) = match &tree.value {
        Value::Table(_) => {
            let mut inner = Keys::of(tree, "expect".into(), &tree.place, report)?;
            let value = inner.need("value", report);
            let mask = inner.number("mask", report);
            inner.finish(report);
            (value?, mask.unwrap_or(width.mask()))
        }
        _ => (number(tree, "expect", report)?, width.mask()),
    };
    if value > width.mask() || mask > width.mask() {
        report.error(&tree.place, format!("expect does not fit the register's {} bits", width.bits()));
        return None;
    }
    if value & !mask != 0 {
        report
            .error(&tree.place, format!("expect has bits that its mask leaves out: {:#x}", value & !mask))
            .help("only the bits of the mask are compared");
        return None;
    }
    Some(Expect { value: value & mask, mask })
}
