//! Who listens to a device: the recordings and sums under way, and the script that answers.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::packed::Packed;
use super::{Record, Script, Tally, ticks};
use crate::access::Locked;

/// Nobody listens.
const SILENT: u8 = 0;
/// Recordings or sums are under way.
const RECORDING: u8 = 1;
/// A script answers.
const SCRIPTED: u8 = 2;

/// The listeners of one device.
pub(crate) struct Journal {
    state: AtomicU8,
    listeners: Locked<Listeners>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Listeners {
    /// Recordings under way.
    tapes: Vec<Tape>,
    /// Recordings that have ended, and somebody still holds.
    ended: Vec<Tape>,
    /// Sums under way.
    pub tallies: Vec<Arc<Tally>>,
    pub script: Option<Script>,
    serial: u64,
}

/// One recording.
#[derive(Debug, Default)]
pub(super) struct Tape {
    id: u64,
    /// The most records kept; the oldest go first.
    limit: usize,
    pub records: VecDeque<Packed>,
    pub dropped: u64,
}

impl Default for Journal {
    fn default() -> Journal {
        Journal { state: AtomicU8::new(SILENT), listeners: Locked::new(Listeners::default()) }
    }
}

impl Journal {
    /// Whether anybody listens.
    #[inline(always)]
    pub fn listening(&self) -> bool {
        self.state.load(Ordering::Relaxed) != SILENT
    }

    /// Whether a script answers.
    #[inline(always)]
    pub fn scripted(&self) -> bool {
        self.state.load(Ordering::Relaxed) & SCRIPTED != 0
    }

    /// Does something with the listeners, which must not come back here.
    #[inline(always)]
    pub fn with<T>(&self, act: impl FnOnce(&mut Listeners) -> T) -> T {
        act(&mut self.listeners.lock())
    }

    /// As `with`, for what changes who listens.
    pub fn change<T>(&self, act: impl FnOnce(&mut Listeners) -> T) -> T {
        self.with(|listeners| {
            let done = act(listeners);
            let silent = listeners.tapes.is_empty() && listeners.tallies.is_empty();
            let recording = if silent { SILENT } else { RECORDING };
            let scripted = if listeners.script.is_some() { SCRIPTED } else { SILENT };
            self.state.store(recording | scripted, Ordering::Relaxed);
            done
        })
    }

    /// Writes a record of an access down on every tape, and adds what was done to a register, as far as it ends with this
    /// access, to every sum.
    #[inline(always)]
    pub fn add(&self, record: &Record, sum: Option<&Record>) {
        let packed = Packed::new(record, ticks::now());
        let mut listeners = self.listeners.lock();
        for tape in &mut listeners.tapes {
            tape.add(packed);
        }
        if let Some(sum) = sum {
            listeners.tallies.iter().for_each(|tally| tally.add(sum));
        }
    }
}

impl Listeners {
    pub fn start(&mut self, limit: usize) -> u64 {
        self.serial += 1;
        self.tapes.push(Tape { id: self.serial, limit, ..Tape::default() });
        self.serial
    }

    pub fn stop(&mut self, id: u64) {
        if let Some(place) = self.tapes.iter().position(|tape| tape.id == id) {
            self.ended.push(self.tapes.remove(place));
        }
    }

    pub fn forget(&mut self, id: u64) {
        self.tapes.retain(|tape| tape.id != id);
        self.ended.retain(|tape| tape.id != id);
    }

    pub(super) fn tape(&mut self, id: u64) -> Option<&mut Tape> {
        self.tapes.iter_mut().chain(&mut self.ended).find(|tape| tape.id == id)
    }
}

impl Tape {
    #[inline(always)]
    fn add(&mut self, record: Packed) {
        if self.records.len() >= self.limit {
            self.dropped += 1;
            if self.records.pop_front().is_none() {
                return;
            }
        }
        self.records.push_back(record);
    }
}
