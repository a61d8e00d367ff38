//! Records as a person reads them.

use super::{Op, Record};
use crate::map::{Field, Map, Register};

/// What an access is of the register that was meant.
pub(super) struct Part<'a> {
    pub register: &'a Register,
    /// Where the register begins, in bytes from the start of the region.
    pub start: u64,
    /// The register's bit that is the lowest one of the access.
    pub shift: u32,
}

impl<'a> Part<'a> {
    /// None for an access by offset.
    pub fn of(map: &'a Map, record: &Record) -> Option<Part<'a>> {
        let id = record.register?;
        let mut found: Option<Part<'a>> = None;
        let end = record.offset + record.width.bytes() as u64;
        map.regions.get(record.region)?.each_in(record.offset..end, &mut |register, start| {
            if register.id != id {
                return;
            }
            let access = register
                .accesses()
                .into_iter()
                .find(|access| start + access.offset == record.offset && access.width == record.width);
            if let Some(access) = access {
                found = Some(Part { register, start, shift: access.shift });
            } else if start == record.offset && register.width == record.width {
                found = Some(Part { register, start, shift: 0 });
            }
        });
        found
    }

    /// Whether the access is not all of the register.
    pub fn is_some_of(&self, record: &Record) -> bool {
        record.width != self.register.width
    }

    /// `63:32`: the register's bits that the access carries.
    pub fn bits(&self, record: &Record) -> String {
        format!("{}:{}", self.shift + record.width.bits() - 1, self.shift)
    }
}

/// `CH[3].CTRL`, or `regs+0x10` where no register is meant.
pub fn path(map: &Map, record: &Record) -> String {
    let part = Part::of(map, record);
    let named = part.and_then(|part| map.path_of(record.region, part.register.id, part.start));
    named.unwrap_or_else(|| {
        let region = map.regions.get(record.region).map_or("?", |region| region.name.as_str());
        format!("{region}+{:#x}", record.offset)
    })
}

/// The register's bit that is the lowest one of the access.
pub fn lsb(map: &Map, record: &Record) -> u32 {
    Part::of(map, record).map_or(0, |part| part.shift)
}

/// The same with the bits that the access carries, where it is not all of the register: `COUNT[63:32]`.
fn place(map: &Map, record: &Record) -> String {
    let bits = match Part::of(map, record).filter(|part| part.is_some_of(record)) {
        Some(part) => format!("[{}]", part.bits(record)),
        None => String::new(),
    };
    format!("{}{bits}", path(map, record))
}

/// The fields that an access carries, each with its number, the name the map has for that, and whether one of its bits
/// was asked for, or meant.
pub fn fields<'a>(map: &'a Map, record: &Record) -> Vec<(&'a Field, u64, Option<&'a str>, bool)> {
    let Some(Part { register, shift, .. }) = Part::of(map, record) else { return Vec::new() };
    let write = record.op == Op::Write;
    let carried = record.width.mask() << shift;
    let usable = |field: &&Field| {
        let usable = if write { field.access.writable() } else { field.access.readable() };
        usable && field.mask() & !carried == 0
    };
    register
        .fields
        .iter()
        .filter(usable)
        .map(|field| {
            let value = (record.value << shift & field.mask()) >> field.lsb;
            let names = if write { field.names_for_write() } else { &field.values };
            let name = names.iter().find(|known| known.value == value).map(|known| known.name.as_str());
            (field, value, name, field.mask() & record.mask << shift != 0)
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
    let place = place(map, record);
    if let Some(fault) = record.fault {
        return format!("{what}  {place}  failed: signal {}", fault.signal);
    }
    format!("{what}  {place}  {}{}", number(record.value, record.width.bits()), decoded(map, record))
}

/// `  EN=1 MODE=FAST`: the fields asked for or meant; empty without any.
pub(super) fn decoded(map: &Map, record: &Record) -> String {
    let all = record.mask == record.width.mask();
    let shown: Vec<_> = fields(map, record)
        .into_iter()
        // Of a whole register what is 0 says little; of some fields each was asked for.
        .filter(|(_, value, _, asked)| if all { *value != 0 } else { *asked })
        .map(|(field, value, name, _)| match name {
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
