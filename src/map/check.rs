//! What must hold of one register: its place, values, effects and aliases.

use std::collections::HashMap;

use super::diagnostic::{Report, suggest};
use super::keys::{Keys, Rights};
use super::model::{Access, Array, Node, Register, Width};
use super::names::Seen;
use super::tree::Tree;

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
            .error(
                &keys.place_of("split"),
                format!("{} has {} bits: only a 64-bit register is split", keys.what, register.width.bits()),
            )
            .help("width = 64");
        return;
    }
    let bytes = register.access_bytes();
    let stride = register.array.map_or(0, |array| array.stride);
    for (value, key) in [(register.offset, "offset"), (stride, "stride")] {
        if value % bytes != 0 {
            let down = value - value % bytes;
            report
                .error(
                    &keys.place_of(key),
                    format!("the {key} {value:#x} of {} is not a multiple of {bytes}", keys.what),
                )
                .help(format!(
                    "a {}-bit access is aligned: {down:#x} or {:#x}; a narrower register says so: width = 8",
                    bytes * 8,
                    down.saturating_add(bytes)
                ));
        }
    }
    let tight = |array: Array| array.count > 1 && array.stride < register.width.bytes() as u64;
    if register.array.is_some_and(tight) && !register.overlaps {
        report.error(
            &keys.place_of("stride"),
            format!("the elements of {} overlap: they have {} bytes each", keys.what, register.width.bytes()),
        );
    }
}

/// Checks between the parts of one register, and with those beside it.
pub(super) fn register(register: &Register, tree: &Tree, holder: &Tree, report: &mut Report) {
    let place = |key: &str| tree.get(key).map_or_else(|| tree.place.clone(), |tree| tree.place.clone());
    if register.expect.is_some() {
        if !register.access.readable() {
            report.error(
                &place("expect"),
                format!("{} cannot be read, so nothing can be expected of it", register.name),
            );
        } else if register.read_effect().is_some() {
            report
                .error(
                    &place("expect"),
                    format!(
                        "reading {} has a side effect, and what is expected is read at open",
                        register.name
                    ),
                )
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
            let error = report
                .missing(&place(key), format!("there is no register {name:?} beside {}", register.name));
            if let Some(help) = suggest(name, beside.iter().map(|(known, _)| known.name.as_str())) {
                error.help(help);
            }
        }
    }
    if let (Some(reset), false) = (register.reset, register.fields.is_empty()) {
        let fields = register.fields.iter().fold(0, |mask, field| mask | field.mask());
        if reset.value & !fields != 0 && tree.get("reserved").is_none() {
            report
                .warn(
                    &place("reset"),
                    format!(
                        "{} resets bits that no field covers to 1: {:#x}",
                        register.name,
                        reset.value & !fields
                    ),
                )
                .help("is a field missing? Otherwise say what to write there: reserved = \"preserve\"");
        }
    }
}

/// An effect is one of an access there is.
pub(super) fn effects(access: Access, rights: &Rights, keys: &Keys<'_>, report: &mut Report) {
    if matches!(rights.on_read, Some(Some(_))) && !access.readable() {
        report
            .error(
                &keys.place_of("on-read"),
                format!("{} cannot be read, so a read has no effect", keys.what),
            )
            .help("remove on-read, or give it an access that reads: access = \"rw\"");
    }
    if matches!(rights.on_write, Some(Some(_))) && !access.writable() {
        report
            .error(
                &keys.place_of("on-write"),
                format!("{} cannot be written, so a write has no effect", keys.what),
            )
            .help("remove on-write, or give it an access that writes: access = \"rw\"");
    }
}

/// A register that sets, clears or toggles the bits of another is like it, and can be written.
pub(super) fn aliases(nodes: &[Node], prefix: &str, seen: &Seen, report: &mut Report) {
    let registers: HashMap<&str, &Register> = nodes
        .iter()
        .filter_map(|node| match node {
            Node::Register(register) => Some((register.name.as_str(), register)),
            Node::Group(_) => None,
        })
        .collect();
    for register in registers.values() {
        let aliases = &register.aliases;
        for alias in [&aliases.set, &aliases.clear, &aliases.toggle].into_iter().flatten() {
            // That there is none was reported where it is named.
            let Some(other) = registers.get(alias.as_str()) else { continue };
            let problem = if other.name == register.name {
                "is the register itself".to_string()
            } else if !other.access.writable() {
                "cannot be written".to_string()
            } else if other.width != register.width {
                format!("has {} bits, not {}", other.width.bits(), register.width.bits())
            } else if other.array.map(|array| array.count) != register.array.map(|array| array.count) {
                "repeats another number of times".to_string()
            } else {
                continue;
            };
            if let Some(place) = seen.place(&format!("{prefix}{}", register.name)) {
                report
                    .error(
                        place,
                        format!("{prefix}{alias}, an alias of {prefix}{}, {problem}", register.name),
                    )
                    .help("what is written to an alias acts on the bits of its register");
            }
        }
    }
}
