//! A mapped region: words at offsets, block transfers, and the bookkeeping of views.
#![allow(unsafe_code)] // The checks here are what makes an access sound.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::tap::{Failure, Tap, Touch};
#[cfg(feature = "python")]
use super::view::Viewed;
use crate::access::{Fault, Guard, Lock, Registered, Word, enter, keep_guard, single};
use crate::error::{Absent, BusFault, Error, Result, SourceError};
use crate::map::{self, Map, Width};
use crate::mapping::Mapping;
use crate::mock;

/// The gate of a region that anyone may pass. Whatever is set sends accesses the long way.
const OPEN: u8 = 0;
/// The region is unmapped.
const CLOSED: u8 = 1;
/// Writes take a lock between processes.
const SHARED: u8 = 2;
/// Somebody listens to accesses, or answers them.
const TAPPED: u8 = 4;

/// A block of so many bytes takes so long that a look at the fault guard before does not count.
const LONG: usize = 0x1000;

/// A mapped region of an open device.
#[derive(Debug)]
pub struct Region {
    /// First, so that it is given back before what it describes goes.
    registered: OnceLock<Registered>,
    map: Arc<Map>,
    index: usize,
    mapping: Mapping,
    physical: Option<u64>,
    /// Looked at before every access; whatever is not OPEN takes the long way.
    gate: AtomicU8,
    views: Mutex<usize>,
    pub(crate) lock: Lock,
    tap: Arc<Tap>,
    #[cfg(feature = "python")]
    pub(super) viewed: Option<Viewed>,
}

/// Why something is refused, as a sentence for the one who asked.
pub(crate) struct Refusal;

impl Refusal {
    pub const CLOSED: &str = crate::error::CLOSED;
    pub const READ_ONLY: &str = "is read-only: the map says so, and it is mapped without write access";
    pub const READ_ONLY_FIELD: &str = "is read-only: the map says so";
    pub const NOT_SINGLE: &str = "this machine has no single access of 64 bits; where the device takes two of 32, the map says so: split = \"low-first\"";
    pub const WRITE_ONLY: &str = "is write-only: reading it has no meaning";
}

impl Region {
    pub(super) fn new(
        map: Arc<Map>,
        index: usize,
        mapping: Mapping,
        physical: Option<u64>,
        lock: Lock,
        tap: Arc<Tap>,
        #[cfg(feature = "python")] viewed: Option<Viewed>,
    ) -> Arc<Region> {
        let gate = if lock.is_shared() { SHARED } else { OPEN } | if tap.active() { TAPPED } else { OPEN };
        let region = Arc::new(Region {
            registered: OnceLock::new(),
            map,
            index,
            mapping,
            physical,
            gate: AtomicU8::new(gate),
            views: Mutex::new(0),
            lock,
            tap,
            #[cfg(feature = "python")]
            viewed,
        });
        // SAFETY: the entry is given back when the region is dropped, whose place in the Arc does not change.
        let entry = unsafe { enter(region.start() as usize, region.mapping.size(), &*region) };
        let _ = region.registered.set(entry);
        #[cfg(feature = "python")]
        if let Some(viewed) = &region.viewed {
            viewed.enter(&region);
        }
        region
    }

    /// What the map says of it.
    pub fn info(&self) -> &map::Region {
        &self.map.regions[self.index]
    }

    /// Its index in the map.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// The physical address of its first byte, where the source knows it.
    pub fn physical(&self) -> Option<u64> {
        self.physical
    }

    /// Whether the device was closed.
    pub fn closed(&self) -> bool {
        self.gate.load(Ordering::Relaxed) & CLOSED != 0
    }

    /// Whether an access must take the long way.
    #[inline(always)]
    pub(crate) fn gated(&self) -> bool {
        self.gate.load(Ordering::Relaxed) != OPEN
    }

    /// Whether somebody listens to accesses, or answers them.
    #[inline(always)]
    pub(super) fn tapped(&self) -> bool {
        self.gate.load(Ordering::Relaxed) & TAPPED != 0
    }

    /// Sends accesses to the tap, or past it.
    pub(super) fn set_tapped(&self) {
        match self.tap.active() {
            true => self.gate.fetch_or(TAPPED, Ordering::Relaxed),
            false => self.gate.fetch_and(!TAPPED, Ordering::Relaxed),
        };
    }

    /// What listens to its accesses, and the mock behind it.
    pub(crate) fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    /// The first byte.
    pub(crate) fn start(&self) -> *mut u8 {
        self.mapping.start()
    }

    /// The device and region, for messages.
    pub fn at(&self) -> String {
        format!("{}.regions.{}", self.map.name, self.info().name)
    }

    /// The whole map it belongs to.
    pub(super) fn map(&self) -> &Map {
        &self.map
    }

    /// The device's name.
    pub(crate) fn device(&self) -> &str {
        &self.map.name
    }

    /// The word of this register, whose place the map has checked.
    pub(super) fn word_of(&self, register: &map::Register, offset: u64) -> Word {
        assert!(offset + register.width.bytes() as u64 <= self.mapping.size() as u64);
        Word::new(self.start().wrapping_add(offset as usize), register.width, register.byte_order)
    }

    /// Reads one word: one load of `width`, which by default is the region's.
    ///
    /// # Errors
    /// Offset out of the region or not a multiple of the width; a write-only or closed region; a fault on the bus.
    pub fn read(&self, offset: u64, width: Option<Width>) -> Result<u64> {
        self.check_readable()?;
        let word = self.word(offset, width)?;
        self.load(offset, word)
    }

    fn load(&self, offset: u64, word: Word) -> Result<u64> {
        // SAFETY: `block` checked the place against the mapping, which `self` keeps.
        let done = unsafe {
            match self.tapped() {
                false => word.load().map_err(Failure::Fault),
                true => self.tap.load(&self.touch(offset, word)),
            }
        };
        let value = done.map_err(|failure| self.failure(offset, word.width, false, failure))?;
        self.answered(value, offset, word.width, || self.at())
    }

    fn store(&self, offset: u64, word: Word, value: u64) -> Result<()> {
        // SAFETY: `block` checked the place against the mapping, which is writable because the region is.
        let done = unsafe {
            match self.tapped() {
                false => word.store(value).map_err(Failure::Fault),
                true => self.tap.store(&self.touch(offset, word), value),
            }
        };
        done.map_err(|failure| self.failure(offset, word.width, true, failure))
    }

    fn touch(&self, offset: u64, word: Word) -> Touch {
        Touch { region: self.index, offset, word, register: None, mask: word.width.mask(), piece: None }
    }

    /// Writes one word: one store.
    ///
    /// # Errors
    /// As for [`Region::read`]; a value that does not fit the width; a read-only region.
    pub fn write(&self, offset: u64, value: u64, width: Option<Width>) -> Result<()> {
        self.check_writable()?;
        let word = self.word(offset, width)?;
        if value > word.width.mask() {
            let problem = format!("{value:#x} does not fit {} bits", word.width.bits());
            return Err(Error::Value { at: format!("{}+{offset:#x}", self.at()), problem });
        }
        let _held = self.hold()?;
        self.store(offset, word, value)
    }

    /// Fills `buffer` with words from `offset` up, one load each, or all from one address if `fixed`. Returns how many
    /// words. The buffer gets them in the machine's byte order.
    ///
    /// # Errors
    /// As for [`Region::read`]; a buffer that is no whole number of words. After a fault the words before it are in
    /// the buffer.
    pub fn read_into(
        &self,
        buffer: &mut [u8],
        offset: u64,
        width: Option<Width>,
        fixed: Option<bool>,
    ) -> Result<usize> {
        self.check_readable()?;
        let (word, step) = self.block(buffer.len(), offset, width, fixed)?;
        if buffer.len() >= LONG {
            self.keep_guard()?;
        }
        if self.tapped() {
            let items = buffer.chunks_exact_mut(word.width.bytes()).enumerate();
            for (index, item) in items {
                let (word, offset) = (word.at(index * step), offset + (index * step) as u64);
                word.put(self.load(offset, word)?, item);
            }
            return Ok(buffer.len() / word.width.bytes());
        }
        // SAFETY: `block` checked the whole run of words against the mapping, which `self` keeps.
        unsafe { word.load_block(step, buffer) }
            .map_err(|(index, fault)| self.fault(offset + (index * step) as u64, word.width, false, fault))?;
        self.check_block(buffer, offset, word, step)?;
        Ok(buffer.len() / word.width.bytes())
    }

    /// A device that stops answering in the middle of a block answers with all ones from there on: the last word tells.
    fn check_block(&self, buffer: &[u8], offset: u64, word: Word, step: usize) -> Result<()> {
        let suspect = |item: &[u8]| word.take(item) == self.suspect(word.width);
        let items = || buffer.chunks_exact(word.width.bytes());
        if !items().next_back().is_some_and(suspect) || !self.absent() {
            return Ok(());
        }
        let answered = items().len() - items().rev().take_while(|item| suspect(item)).count();
        Err(self.bus_fault(self.at(), offset + (answered * step) as u64, word.width, false, None))
    }

    /// Writes the words of `buffer` from `offset` up, one store each, or all to one address if `fixed`. Returns how
    /// many words.
    ///
    /// # Errors
    /// As for [`Region::write`] and [`Region::read_into`]. After a fault the words before it are written.
    pub fn write_from(
        &self,
        buffer: &[u8],
        offset: u64,
        width: Option<Width>,
        fixed: Option<bool>,
    ) -> Result<usize> {
        self.check_writable()?;
        let (word, step) = self.block(buffer.len(), offset, width, fixed)?;
        if buffer.len() >= LONG {
            self.keep_guard()?;
        }
        let _held = self.hold()?;
        if self.tapped() {
            for (index, item) in buffer.chunks_exact(word.width.bytes()).enumerate() {
                let (word, offset) = (word.at(index * step), offset + (index * step) as u64);
                self.store(offset, word, word.take(item))?;
            }
            return Ok(buffer.len() / word.width.bytes());
        }
        // SAFETY: `block` checked the whole run of words against the mapping, which is writable.
        unsafe { word.store_block(step, buffer) }
            .map_err(|(index, fault)| self.fault(offset + (index * step) as u64, word.width, true, fault))?;
        Ok(buffer.len() / word.width.bytes())
    }

    /// Puts the fault guard back, where there is time for it.
    pub(super) fn keep_guard(&self) -> Result<()> {
        keep_guard().map_err(|error| {
            Error::Source(SourceError::new(self.at(), "cannot install the fault guard").errno(&error))
        })
    }

    /// Ends all access, which nobody holds a view of: the caller holds `views`.
    pub(super) fn close(&self) -> Result<()> {
        self.gate.fetch_or(CLOSED, Ordering::Release);
        #[cfg(feature = "python")]
        let viewed = self.viewed.as_ref().map_or(Ok(()), Viewed::close);
        #[cfg(not(feature = "python"))]
        let viewed = Ok(());
        self.mapping
            .seal()
            .and(viewed)
            .map_err(|error| Error::Source(SourceError::new(self.at(), "cannot unmap").errno(&error)))
    }

    /// Keeps other writers out: threads, and processes where the device is shared.
    pub(super) fn hold(&self) -> Result<Guard<'_>> {
        let held = match self.tap.mock {
            Some(_) => self.lock.hold_again(),
            None => self.lock.hold_all(),
        };
        held.map_err(|error| {
            let problem = "cannot lock the region against other processes";
            Error::Source(SourceError::new(self.at(), problem).errno(&error))
        })
    }

    pub(super) fn views(&self) -> MutexGuard<'_, usize> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn check_open(&self) -> Result<()> {
        match self.closed() {
            true => Err(Error::Refused { at: self.at(), reason: Refusal::CLOSED.into() }),
            false => Ok(()),
        }
    }

    fn check_readable(&self) -> Result<()> {
        self.check_open()?;
        match self.info().access.readable() {
            true => Ok(()),
            false => Err(Error::Refused { at: self.at(), reason: Refusal::WRITE_ONLY.into() }),
        }
    }

    fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        match self.info().access.writable() {
            true => Ok(()),
            false => Err(Error::Refused { at: self.at(), reason: Refusal::READ_ONLY.into() }),
        }
    }

    fn word(&self, offset: u64, width: Option<Width>) -> Result<Word> {
        let (word, _) = self.block(width.unwrap_or(self.info().width).bytes(), offset, width, None)?;
        Ok(word)
    }

    /// The first word of a block of `length` bytes and the step to the next, checked against the region.
    fn block(
        &self,
        length: usize,
        offset: u64,
        width: Option<Width>,
        fixed: Option<bool>,
    ) -> Result<(Word, usize)> {
        let info = self.info();
        let width = width.unwrap_or(info.width);
        let bytes = width.bytes();
        let wrong = |problem: String| Err(Error::Value { at: format!("{}+{offset:#x}", self.at()), problem });
        if !single(width) {
            return wrong(Refusal::NOT_SINGLE.into());
        }
        if offset % bytes as u64 != 0 {
            return wrong(format!(
                "the offset is not a multiple of {bytes}, which a {}-bit access needs",
                width.bits()
            ));
        }
        if length % bytes != 0 {
            return wrong(format!(
                "a buffer of {length} bytes is no whole number of {}-bit words",
                width.bits()
            ));
        }
        let step = if fixed.unwrap_or(info.fifo) { 0 } else { bytes };
        // At least one word, so that the address of an empty transfer is checked too.
        let span = if step == 0 { bytes } else { length.max(bytes) } as u64;
        match offset.checked_add(span) {
            Some(end) if end <= info.size => {
                let address = self.start().wrapping_add(offset as usize);
                Ok((Word::new(address, width, info.byte_order), step))
            }
            _ => wrong(format!("{span:#x} bytes there go beyond the region's {:#x}", info.size)),
        }
    }

    fn fault(&self, offset: u64, width: Width, write: bool, fault: Fault) -> Error {
        self.bus_fault(self.at(), offset, width, write, Some(fault))
    }

    /// What a word reads as where nothing answers; where there is nobody to ask, what only a word of 64 bits can be.
    pub(super) fn suspect(&self, width: Width) -> u64 {
        match self.tap.presence.as_ref().is_some_and(|presence| presence.doubts_ones()) {
            true => width.mask(),
            false => u64::MAX,
        }
    }

    /// The value that a load gave, unless that is what is read where nothing answers, and nothing does.
    pub(super) fn answered(
        &self,
        value: u64,
        offset: u64,
        width: Width,
        at: impl FnOnce() -> String,
    ) -> Result<u64> {
        match value == self.suspect(width) && self.absent() {
            false => Ok(value),
            true => Err(self.bus_fault(at(), offset, width, false, None)),
        }
    }

    /// Whether all ones were read because nothing answers.
    #[cold]
    pub(super) fn absent(&self) -> bool {
        self.tap.presence.as_ref().is_some_and(|presence| presence.absence().is_some())
    }

    fn failure(&self, offset: u64, width: Width, write: bool, failure: Failure) -> Error {
        match failure {
            Failure::Fault(fault) => self.fault(offset, width, write, fault),
            Failure::Error(error) => error,
        }
    }

    /// The time that waits go by: the mock's, where there is one.
    pub(super) fn now(&self) -> Duration {
        mock::now(self.tap.mock.as_deref())
    }

    /// Whether that time is a mock's, and passes without anybody waiting.
    pub(super) fn is_virtual(&self) -> bool {
        self.tap.mock.as_ref().is_some_and(|mock| mock.is_virtual())
    }

    /// Sleeps by that time; perhaps less.
    pub(super) fn sleep(&self, time: Duration) {
        match &self.tap.mock {
            Some(mock) => mock.sleep(time),
            None => std::thread::sleep(time),
        }
    }

    /// The error for a fault that an access met: of the bus, or because the device was closed meanwhile. Without a fault
    /// it is all ones that nobody answered with.
    pub(super) fn bus_fault(
        &self,
        at: String,
        offset: u64,
        width: Width,
        write: bool,
        fault: Option<Fault>,
    ) -> Error {
        if self.closed() {
            return Error::Refused { at, reason: Refusal::CLOSED.into() };
        }
        let physical = self.physical.map(|start| start.wrapping_add(offset));
        let absence = self.tap.presence.as_ref().and_then(|presence| {
            let absence = match fault {
                Some(_) => presence.ask()?,
                None => presence.absence()?,
            };
            let (problem, remedy) = presence.explain(absence);
            Some(Box::new(Absent { word: absence.word(), problem, remedy }))
        });
        Error::Bus(BusFault { at, offset, physical, width, write, fault, absence })
    }
}
