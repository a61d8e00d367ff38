//! Records of accesses: what a device was asked, and what it answered.

mod journal;
mod json;
mod packed;
mod script;
mod tally;
mod text;
mod ticks;

use std::sync::Arc;
use std::time::SystemTime;

pub(crate) use journal::Journal;
pub use json::{Recording, load};
#[cfg(feature = "python")]
pub(crate) use script::describe;
pub use script::{Answer, Expected, Script, Step};
pub use tally::Tally;
pub use text::{fields, line, lsb, path, side_by_side, transcript};

use journal::Tape;
use packed::Packed;

use crate::access::Fault;
use crate::map::{Map, Width};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A load.
    Read,
    /// A store.
    Write,
    /// A wait for the interrupt; the value is how many events came, 0 where it ran out of time.
    Interrupt,
}

/// One access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// When, in nanoseconds since the trace began.
    pub time: u64,
    /// What.
    pub op: Op,
    /// The index of the region in the map.
    pub region: usize,
    /// Of the access, in bytes from the start of the region.
    pub offset: u64,
    /// How wide the access is: less than the register where that takes several.
    pub width: Width,
    /// The number of the register in the map; None for an access by offset.
    pub register: Option<u32>,
    /// What was read or written by this access.
    pub value: u64,
    /// Its bits that were asked for, or meant.
    pub mask: u64,
    /// The fault it met; the value then means nothing.
    pub fault: Option<Fault>,
}

/// A list of accesses that grows while a device is used.
#[derive(Debug)]
pub struct Trace {
    journal: Arc<Journal>,
    id: u64,
    map: Arc<Map>,
    source: String,
    /// Whether the source has an interrupt.
    interrupts: bool,
    begun: SystemTime,
    /// In ticks.
    start: u64,
}

impl Trace {
    /// Begins to record, the last `limit` accesses.
    pub(crate) fn start(
        journal: Arc<Journal>,
        map: Arc<Map>,
        source: String,
        interrupts: bool,
        limit: Option<usize>,
    ) -> Trace {
        let (begun, start) = (SystemTime::now(), ticks::begin());
        let id = journal.change(|listeners| listeners.start(limit.unwrap_or(usize::MAX)));
        Trace { journal, id, map, source, interrupts, begun, start }
    }

    /// Records no more.
    pub(crate) fn stop(&self) {
        self.journal.change(|listeners| listeners.stop(self.id));
    }

    /// The map of the device.
    pub fn map(&self) -> &Arc<Map> {
        &self.map
    }

    /// The source of the device.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// When it began.
    pub fn begun(&self) -> SystemTime {
        self.begun
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tape(|tape| tape.records.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One by its place among those kept.
    pub fn get(&self, index: usize) -> Option<Record> {
        self.tape(|tape| tape.records.get(index).copied()).map(|packed| self.timed(packed))
    }

    /// All that are kept, oldest first.
    pub fn records(&self) -> Vec<Record> {
        let records = self.tape(|tape| tape.records.iter().copied().collect::<Vec<_>>());
        records.iter().map(|packed| self.timed(*packed)).collect()
    }

    /// How many were given up for the limit.
    pub fn dropped(&self) -> u64 {
        self.tape(|tape| tape.dropped)
    }

    /// Forgets what was recorded so far.
    pub fn clear(&self) {
        self.tape(|tape| {
            tape.records.clear();
            tape.dropped = 0;
        });
    }

    /// With its time in nanoseconds since the trace began.
    fn timed(&self, packed: Packed) -> Record {
        Record { time: ticks::nanoseconds(self.start, packed.time), ..packed.record() }
    }

    fn tape<T>(&self, act: impl FnOnce(&mut Tape) -> T) -> T {
        self.journal.with(|listeners| match listeners.tape(self.id) {
            Some(tape) => act(tape),
            None => act(&mut Tape::default()),
        })
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.journal.change(|listeners| listeners.forget(self.id));
    }
}
