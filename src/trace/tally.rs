//! What was ever read and written, summed up: it stays small however long a run is.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::{Op, Record};
use crate::map::{Map, Node, Register};

/// Which registers, fields and named values of a map were read and written, by any number of its devices.
#[derive(Debug)]
pub struct Tally {
    map: Arc<Map>,
    /// By the number of the register in the map.
    entries: Mutex<Vec<Entry>>,
}

/// One register, or all elements of an array of it.
#[derive(Debug, Serialize)]
struct Entry {
    /// `CH[].CTRL`: an array has no index.
    path: String,
    read: Seen,
    written: Seen,
}

/// What was seen one way.
#[derive(Debug, Default, Serialize)]
struct Seen {
    count: u64,
    /// The bits asked for, or meant, in any access.
    mask: u64,
    /// The elements, each by its offset in bytes from the start of the region.
    elements: BTreeSet<u64>,
    fields: Vec<Named>,
}

/// A field whose values have names.
#[derive(Debug, Serialize)]
struct Named {
    name: String,
    #[serde(skip)]
    mask: u64,
    #[serde(skip)]
    lsb: u32,
    /// Each number with a name, and whether it was seen.
    values: Vec<(u64, bool)>,
}

impl Tally {
    /// Nothing seen yet.
    pub fn new(map: Arc<Map>) -> Tally {
        let mut entries = Vec::new();
        map.regions.iter().for_each(|region| collect(&region.nodes, "", &mut entries));
        entries.sort_by_key(|(id, _)| *id);
        let entries = entries.into_iter().map(|(_, entry)| entry).collect();
        Tally { map, entries: Mutex::new(entries) }
    }

    /// The map.
    pub fn map(&self) -> &Arc<Map> {
        &self.map
    }

    /// An access that failed counts nothing, and neither does the load of a read-modify-write, which asks for no bits.
    pub(crate) fn add(&self, record: &Record) {
        if record.op == Op::Interrupt || record.fault.is_some() || record.mask == 0 {
            return;
        }
        let mut entries = self.entries();
        let mut note = |id: u32, offset: u64, mask: u64| {
            if let Some(entry) = entries.get_mut(id as usize) {
                let seen = if record.op == Op::Write { &mut entry.written } else { &mut entry.read };
                seen.add(offset, mask, record.value);
            }
        };
        if let Some(id) = record.register {
            return note(id, record.offset, record.mask);
        }
        // An access by offset is of each register that lies there; its fields are known where it is the whole register.
        let Some(region) = self.map.regions.get(record.region) else { return };
        let end = record.offset + record.width.bytes() as u64;
        region.each_in(record.offset..end, &mut |register, start| {
            let usable = match record.op {
                Op::Write => register.access.writable(),
                _ => register.access.readable(),
            };
            let whole = start == record.offset
                && register.width == record.width
                && register.byte_order == region.byte_order;
            if usable {
                note(register.id, start, if whole { record.mask } else { 0 });
            }
        });
    }

    /// Every register that was touched, as a list in the order of the map.
    ///
    /// # Errors
    /// As serde_json has them; none is known.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let entries = self.entries();
        let touched = |entry: &&Entry| entry.read.count + entry.written.count > 0;
        serde_json::to_string(&entries.iter().filter(touched).collect::<Vec<_>>())
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn new(register: &Register, write: bool) -> Seen {
        let fields = register.fields.iter().filter_map(|field| {
            let (usable, names) = match write {
                true => (field.access.writable(), field.names_for_write()),
                false => (field.access.readable(), field.values.as_slice()),
            };
            let values = names.iter().map(|value| (value.value, false)).collect();
            let named = Named { name: field.name.clone(), mask: field.mask(), lsb: field.lsb, values };
            (usable && !names.is_empty()).then_some(named)
        });
        Seen { fields: fields.collect(), ..Seen::default() }
    }

    fn add(&mut self, offset: u64, mask: u64, value: u64) {
        self.count += 1;
        self.mask |= mask;
        if self.elements.last() != Some(&offset) {
            self.elements.insert(offset);
        }
        for field in self.fields.iter_mut().filter(|field| field.mask & mask == field.mask) {
            let number = (value & field.mask) >> field.lsb;
            if let Some((_, seen)) = field.values.iter_mut().find(|(known, _)| *known == number) {
                *seen = true;
            }
        }
    }
}

fn collect(nodes: &[Node], prefix: &str, entries: &mut Vec<(u32, Entry)>) {
    for node in nodes {
        let array = if node.array().is_some() { "[]" } else { "" };
        let path = format!("{prefix}{}{array}", node.name());
        match node {
            Node::Group(group) => collect(&group.nodes, &format!("{path}."), entries),
            Node::Register(register) => {
                let (read, written) = (Seen::new(register, false), Seen::new(register, true));
                entries.push((register.id, Entry { path, read, written }));
            }
        }
    }
}
