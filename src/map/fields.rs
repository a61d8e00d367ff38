//! From a tree to a model: fields and their values.

use super::check;
use super::diagnostic::{Place, Report};
use super::keys::{Keys, number};
use super::model::{Access, Field, Register, Value, mask};
use super::names;
use super::tree::{self, Tree};

/// The fields of a register, lowest bit first.
pub(super) fn read_fields(keys: &mut Keys<'_>, register: &Register, report: &mut Report) -> Vec<Field> {
    let mut fields: Vec<(Field, Place)> = Vec::new();
    let tables = keys.tables("fields", report);
    let beside: Vec<_> = tables.iter().map(|(key, _)| key.name.as_str()).collect();
    for (key, tree) in tables {
        names::check(&key.name, "field", &key.place, report);
        names::warn(&format!("{}.", register.name), &key.name, names::REGISTER, &beside, &key.place, report);
        let what = format!("field {}.{}", register.name, key.name);
        if let Some(field) = read_field(&key.name, what, tree, &key.place, register, report) {
            fields.push((field, key.place.clone()));
        }
    }
    fields.sort_by_key(|(field, _)| field.lsb);
    check_overlaps(&fields, report);
    fields.into_iter().map(|(field, _)| field).collect()
}

fn read_field(
    name: &str,
    what: String,
    tree: &Tree,
    place: &Place,
    register: &Register,
    report: &mut Report,
) -> Option<Field> {
    // By its bits alone: fields.EN = 0
    if matches!(tree.value, tree::Value::Integer(_) | tree::Value::Text(_)) {
        let (lsb, width) = bits(tree, register, report)?;
        let access = register.access;
        return Some(Field {
            name: name.into(),
            doc: None,
            lsb,
            width,
            access,
            on_read: register.on_read,
            on_write: register.on_write,
            self_clear: false,
            values: Vec::new(),
            write_values: None,
        });
    }
    let mut keys = Keys::of(tree, what, place, report)?;
    let place_of_bits = keys.place_of("bits");
    let span = match keys.take("bits") {
        Some(tree) => bits(tree, register, report),
        None => {
            report
                .missing(&place_of_bits, format!("{} needs \"bits\"", keys.what))
                .help("bits = \"7:4\", or bits = 3");
            None
        }
    };
    let rights = keys.rights(report);
    let access = rights.access.unwrap_or(register.access);
    let more = |allowed: bool, wanted: bool| wanted && !allowed;
    if more(register.access.writable(), access.writable())
        || more(register.access.readable(), access.readable())
    {
        report
            .error(&keys.place_of("access"), format!("{} may do more than its register", keys.what))
            .help("the register's access is what some field of it can do; fields narrow it");
    }
    let width = span.map_or(64, |(_, width)| width);
    let field = Field {
        name: name.into(),
        doc: keys.text("doc", report),
        lsb: 0,
        width,
        access,
        // An effect of the register is one of those fields it can act on.
        on_read: rights.on_read.unwrap_or(register.on_read).filter(|_| access.readable()),
        on_write: rights.on_write.unwrap_or(register.on_write).filter(|_| access.writable()),
        self_clear: keys.bool("self-clear", report).unwrap_or(false),
        values: values(&mut keys, "values", width, report).unwrap_or_default(),
        write_values: values(&mut keys, "write-values", width, report),
    };
    if field.write_values.is_some() && access == Access::ReadOnly {
        report.error(
            &keys.place_of("write-values"),
            format!("{} is read-only: it has no write-values", keys.what),
        );
    }
    check::effects(access, &rights, &keys, report);
    if field.self_clear && !access.writable() {
        report.error(
            &keys.place_of("self-clear"),
            format!("{} is read-only: nothing is written that could clear itself", keys.what),
        );
    }
    if let (Some(_), None, Some(effect)) = (rights.access, rights.on_write, field.on_write) {
        report
            .warn(
                &keys.place_of("access"),
                format!("{} has its register's on-write = \"{}\"", keys.what, effect.name()),
            )
            .help("say on-write = \"none\" for an ordinary field, or the same effect where it is meant");
    }
    keys.finish(report);
    let (lsb, width) = span?;
    Some(Field { lsb, width, ..field })
}

/// The lowest bit and the width of `"7:4"`, `"3"` or `3`.
fn bits(tree: &Tree, register: &Register, report: &mut Report) -> Option<(u32, u32)> {
    let wrong = |report: &mut Report, problem: String, help: String| {
        report.error(&tree.place, problem).help(help);
        None
    };
    let form = || "bits are \"msb:lsb\" such as \"7:4\", or one bit such as 3".to_string();
    let (msb, lsb) = match &tree.value {
        tree::Value::Text(text) => {
            let bit = |text: &str| {
                let text = text.trim();
                text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten()
            };
            let (msb, lsb) = text.split_once(':').unwrap_or((text, text));
            match (bit(msb), bit(lsb)) {
                (Some(msb), Some(lsb)) => (msb, lsb),
                _ => return wrong(report, format!("{text:?} is no range of bits"), form()),
            }
        }
        tree::Value::Integer(_) => {
            let bit = number(tree, "bits", report)?;
            (bit, bit)
        }
        _ => return wrong(report, format!("bits are text or a number, not {}", tree.kind()), form()),
    };
    if msb < lsb {
        return wrong(
            report,
            format!("the bits {msb}:{lsb} are the wrong way round"),
            format!("the higher bit comes first: \"{lsb}:{msb}\""),
        );
    }
    let last = u64::from(register.width.bits()) - 1;
    if msb > last {
        return wrong(
            report,
            format!("bit {msb} is outside the register, which has {} bits", register.width.bits()),
            format!("its bits are {last} to 0; a wider register says so: width = 64"),
        );
    }
    Some((lsb as u32, (msb - lsb + 1) as u32))
}

/// `values = { OFF = 0, ON = { value = 1, doc = "…" } }`.
fn values(keys: &mut Keys<'_>, name: &'static str, width: u32, report: &mut Report) -> Option<Vec<Value>> {
    keys.take(name)?;
    let what = keys.what.clone();
    let mut values: Vec<Value> = Vec::new();
    for (key, tree) in keys.tables(name, report) {
        names::check_value(&key.name, &key.place, report);
        let (value, doc) = match &tree.value {
            tree::Value::Table(_) => {
                let Some(mut inner) = Keys::of(tree, format!("value {}", key.name), &key.place, report)
                else {
                    continue;
                };
                let value = inner.need("value", report);
                let doc = inner.text("doc", report);
                inner.finish(report);
                (value, doc)
            }
            _ => (number(tree, "a value", report), None),
        };
        let Some(value) = value else { continue };
        if value > mask(width) {
            report.error(&tree.place, format!("{value:#x} does not fit {what}, which has {width} bits"));
        }
        if let Some(other) = values.iter().find(|other| other.value == value) {
            report.error(&tree.place, format!("{} and {} are both {value:#x}", other.name, key.name));
        }
        values.push(Value { name: key.name.clone(), value, doc });
    }
    values.sort_by_key(|value| value.value);
    Some(values)
}

fn check_overlaps(fields: &[(Field, Place)], report: &mut Report) {
    for (index, (field, place)) in fields.iter().enumerate() {
        // A register has 64 bits at most, so few fields can be in reach.
        for (other, _) in &fields[..index] {
            let apart = |a: Access, b: Access| !a.writable() && !b.readable();
            let apart = apart(field.access, other.access) || apart(other.access, field.access);
            if field.mask() & other.mask() != 0 && !apart {
                report.error(
                    place,
                    format!(
                        "field {} (bits {}:{}) overlaps {} (bits {}:{})",
                        field.name,
                        field.msb(),
                        field.lsb,
                        other.name,
                        other.msb(),
                        other.lsb
                    ),
                );
                break;
            }
        }
    }
}
