//! Records as a person reads them.

use super::{Op, Record};
use crate::map::{Field, Map, Register};

/// The register of a record.
fn register<'a>(map: &'a Map, record: &Record) -> Option<&'a Register> {
    let id = record.register?;
    let mut found = None;
    let end = record.offset + record.width.bytes() as u64;
    map.regions.get(record.region)?.each_in(record.offset..end, &mut |register, _| {
        if register.id == id {
            found = Some(register);
        }
    });
    found
}

/// `CH[3].CTRL`, or `regs+0x10` where no register is meant.
pub fn place(map: &Map, record: &Record) -> String {
    let named = record.register.and_then(|id| map.path_of(record.region, id, record.offset));
    named.unwrap_or_else(|| {
        let region = map.regions.get(record.region).map_or("?", |region| region.name.as_str());
        format!("{region}+{:#x}", record.offset)
    })
}

/// The fields of a record, each with its number and the name the map has for that.
pub fn fields<'a>(map: &'a Map, record: &Record) -> Vec<(&'a Field, u64, Option<&'a str>)> {
    let Some(register) = register(map, record) else { return Vec::new() };
    let write = record.op == Op::Write;
    let usable = |field: &&Field| if write { field.access.writable() } else { field.access.readable() };
    register
        .fields
        .iter()
        .filter(usable)
        .map(|field| {
            let value = (record.value & field.mask()) >> field.lsb;
            let names = if write { field.names_for_write() } else { &field.values };
            let name = names.iter().find(|known| known.value == value).map(|known| known.name.as_str());
            (field, value, name)
        })
        .collect()
}

/// One record without its time: `write  CTRL  0x0000_0003  EN=1 MODE=FAST`.
pub fn line(map: &Map, record: &Record) -> String {
    let what = match record.op {
        Op::Read => "read ",
        Op::Write => "write",
        Op::Interrupt if record.value == 0 => return "irq    none in time".into(),
        Op::Interrupt => return format!("irq    {} event{}", record.value, plural(record.value)),
    };
    let path = place(map, record);
    if let Some(fault) = record.fault {
        return format!("{what}  {path}  failed: signal {}", fault.signal);
    }
    format!("{what}  {path}  {}{}", number(record.value, record.width.bits()), decoded(map, record))
}

/// `  EN=1 MODE=FAST`: the fields asked for or meant; empty without any.
pub(super) fn decoded(map: &Map, record: &Record) -> String {
    let all = record.mask == record.width.mask();
    let shown: Vec<_> = fields(map, record)
        .into_iter()
        // Of a whole register what is 0 says little; of some fields each was asked for.
        .filter(|(field, value, _)| if all { *value != 0 } else { field.mask() & record.mask != 0 })
        .map(|(field, value, name)| match name {
            Some(name) => format!("{}={name}", field.name),
            None if value < 10 => format!("{}={value}", field.name),
            None => format!("{}={value:#x}", field.name),
        })
        .collect();
    if shown.is_empty() { String::new() } else { format!("  {}", shown.join(" ")) }
}

/// Records, one in a line, each with its time in milliseconds.
pub fn transcript(map: &Map, records: &[Record]) -> String {
    let lines = records.iter().map(|record| {
        let time = format!("{}.{:06}", record.time / 1_000_000, record.time % 1_000_000);
        format!("{time:>14} ms  {}\n", line(map, record))
    });
    lines.collect()
}

/// What was expected, left, and what was done, right; a mark where they part.
pub fn side_by_side(expected: &[String], actual: &[String], first: usize) -> String {
    let width = expected.iter().map(|line| line.chars().count()).max().unwrap_or(0).max(8);
    let mut text = format!("       {:width$}   {}\n", "expected", "made");
    for index in 0..expected.len().max(actual.len()) {
        let of = |lines: &[String]| lines.get(index).cloned().unwrap_or_default();
        let last = index + 1 == expected.len().max(actual.len());
        let mark = if last { '>' } else { ' ' };
        text.push_str(&format!("{mark}{:5} {:width$}   {}\n", first + index, of(expected), of(actual)));
    }
    text
}

/// `0x0000_0003`.
pub(super) fn number(value: u64, bits: u32) -> String {
    let digits = format!("{value:0width$x}", width = (bits / 4) as usize);
    let groups: Vec<_> = digits.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
    format!("0x{}", groups.join("_"))
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}
