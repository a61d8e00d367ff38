//! Records of accesses: what a device was asked, and what it answered.

mod json;
mod script;
mod tally;
mod text;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

pub use json::{Recording, load};
pub(crate) use script::describe;
pub use script::{Answer, Expected, Script, Step};
pub use tally::Tally;
pub use text::{fields, line, place, side_by_side, transcript};

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
    /// In bytes from the start of the region.
    pub offset: u64,
    /// How wide.
    pub width: Width,
    /// The number of the register in the map; None for an access by offset.
    pub register: Option<u32>,
    /// What was read or written.
    pub value: u64,
    /// The bits that were asked for, or meant.
    pub mask: u64,
    /// The fault it met; the value then means nothing.
    pub fault: Option<Fault>,
}

/// A list of accesses that grows while a device is used.
#[derive(Debug)]
pub struct Trace {
    map: Arc<Map>,
    source: String,
    /// Whether the source has an interrupt.
    interrupts: bool,
    begun: SystemTime,
    start: Instant,
    /// The most records kept; the oldest go first.
    limit: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    records: VecDeque<Record>,
    dropped: u64,
}

impl Trace {
    pub(crate) fn new(map: Arc<Map>, source: String, interrupts: bool, limit: Option<usize>) -> Trace {
        Trace {
            map,
            source,
            interrupts,
            begun: SystemTime::now(),
            start: Instant::now(),
            limit: limit.unwrap_or(usize::MAX),
            kept: Mutex::default(),
        }
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

    pub(crate) fn add(&self, mut record: Record) {
        record.time = self.start.elapsed().as_nanos() as u64;
        let mut kept = self.kept();
        if kept.records.len() >= self.limit {
            kept.records.pop_front();
            kept.dropped += 1;
        }
        if self.limit > 0 {
            kept.records.push_back(record);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.kept().records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One by its place among those kept.
    pub fn get(&self, index: usize) -> Option<Record> {
        self.kept().records.get(index).copied()
    }

    /// All that are kept, oldest first.
    pub fn records(&self) -> Vec<Record> {
        self.kept().records.iter().copied().collect()
    }

    /// How many were given up for the limit.
    pub fn dropped(&self) -> u64 {
        self.kept().dropped
    }

    /// Forgets what was recorded so far.
    pub fn clear(&self) {
        *self.kept() = Kept::default();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
