//! A register of an open device: read, write, modify, wait.
#![allow(unsafe_code)] // The checks here are what makes an access sound.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::class::RegisterClass;
use super::region::{Refusal, Region};
use super::tap::{Failure, Touch, Whole};
use crate::access::{Fault, Word, single};
use crate::error::{Error, Result};
use crate::map::{self, BusAccess, Field, WritePlan};
use crate::mock::Piece;

/// A register of an open device.
#[derive(Clone, Debug)]
pub struct Register {
    region: Arc<Region>,
    class: Arc<RegisterClass>,
    offset: u64,
    path: String,
    word: Word,
    /// The value that may mean that nothing answers.
    suspect: u64,
    readable: bool,
    writable: bool,
    /// One access is all of it.
    single: bool,
}

// SAFETY: the address in `word` lies in the mapping that `region` keeps, which is reachable from any thread.
unsafe impl Send for Register {}
// SAFETY: as above; accesses are single loads and stores, read-modify-write holds the region's lock.
unsafe impl Sync for Register {}

impl Register {
    /// Lays a register over its region, `offset` bytes from its start.
    pub(crate) fn new(region: Arc<Region>, class: Arc<RegisterClass>, offset: u64, path: String) -> Register {
        let word = region.word_of(class.info(), offset);
        let access = class.info().access;
        let single = class.plan.is_none() && single(word.width);
        let possible = single || class.plan.is_some();
        let (readable, writable) = (access.readable() && possible, access.writable() && possible);
        let suspect = region.suspect(word.width);
        Register { region, class, offset, path, word, suspect, readable, writable, single }
    }

    /// What the map says of it.
    pub fn info(&self) -> &map::Register {
        self.class.info()
    }

    /// Where it is and how it is touched.
    #[cfg(feature = "python")]
    #[inline(always)]
    pub(crate) fn word(&self) -> Word {
        self.word
    }

    /// Whether a value that was loaded is what is read where nothing answers, and nothing does.
    #[inline(always)]
    pub(crate) fn unanswered(&self, value: u64) -> bool {
        value == self.suspect && self.region.absent()
    }

    /// Whether it can be read: the map allows it, and the machine has such an access.
    #[inline(always)]
    pub fn readable(&self) -> bool {
        self.readable
    }

    /// Whether it can be written.
    #[inline(always)]
    pub fn writable(&self) -> bool {
        self.writable
    }

    /// Whether a read of it, or a write, is the one access to its word.
    #[inline(always)]
    pub fn single(&self) -> bool {
        self.single
    }

    /// The region it lies in.
    #[inline(always)]
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// From the device: `CH[3].CTRL`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// In bytes from the start of its region.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The physical address, where the source knows it.
    pub fn physical(&self) -> Option<u64> {
        self.region.physical().map(|start| start.wrapping_add(self.offset))
    }

    /// The device and path, for messages.
    pub fn at(&self) -> String {
        format!("{}.{}", self.region.device(), self.path)
    }

    /// Reads the register: one load.
    ///
    /// # Errors
    /// [`Error::Refused`] for a write-only register or a closed device; [`Error::Bus`].
    pub fn read(&self) -> Result<u64> {
        self.read_bits(u64::MAX)
    }

    /// As [`Register::read`]; the bits under `mask` are what is asked for, which a record of the access tells.
    ///
    /// # Errors
    /// As for [`Register::read`].
    pub fn read_bits(&self, mask: u64) -> Result<u64> {
        self.check_readable()?;
        self.load(mask)
    }

    /// Writes the register: one store, no load.
    ///
    /// # Errors
    /// [`Error::Value`] where the value does not fit; [`Error::Refused`] for a read-only register or a closed device;
    /// [`Error::Bus`].
    pub fn write(&self, value: u64) -> Result<()> {
        self.check_writable()?;
        let width = self.info().width;
        if value > width.mask() {
            return Err(
                self.value_error(format!("{value:#x} does not fit the register's {} bits", width.bits()))
            );
        }
        let _held = self.region.hold()?;
        self.store(value, u64::MAX)
    }

    /// Writes the fields under `mask` and spares all others: one load and one store on a readable register, one store
    /// on a write-only one. `bits` are the fields' values in their place.
    ///
    /// # Errors
    /// [`Error::Refused`] where a field is read-only, or another bit of the register cannot be spared; [`Error::Value`]
    /// for bits beside the mask or a mask beyond the register; as for [`Register::write`].
    pub fn modify(&self, mask: u64, bits: u64) -> Result<()> {
        self.check_writable()?;
        self.check_bits(mask, bits)?;
        let rules = &self.class.rules;
        if rules.locked & mask != 0 {
            let locked = |field: &&Field| field.mask() & mask & rules.locked != 0;
            let at = match self.info().fields.iter().find(locked) {
                Some(field) => format!("{}.{}", self.at(), field.name),
                None => self.at(),
            };
            return Err(Error::Refused { at, reason: Refusal::READ_ONLY_FIELD.into() });
        }
        if !self.region.gated() && self.single {
            if let Some(done) = self.modify_short(mask, bits) {
                return done.map_err(|(write, fault)| self.fault(write, fault));
            }
        }
        let plan = if rules.blocked & !mask == 0 {
            WritePlan { load: rules.load, keep: rules.keep & !mask, fixed: rules.fixed & !mask }
        } else if let Some((alias, value)) = self.alias(mask, bits) {
            let _held = self.region.hold()?;
            return alias.store(value, value);
        } else {
            let plan = self.info().write_plan(mask);
            plan.map_err(|refusal| Error::Refused { at: self.at(), reason: refusal.to_string() })?
        };
        let _held = self.region.hold()?;
        // Nobody has asked for what is loaded here.
        let kept = if plan.load { self.load_held(0)? & plan.keep } else { 0 };
        self.store(kept | plan.fixed | bits & mask, mask)
    }

    /// The usual case of [`Register::modify`], as the rules have it: None where that must look closer. The fields are
    /// writable and so is the register, the device is open, and `bits` lie under `mask`. An error is the fault that the
    /// load, or the store, has met; none where nothing answered the load: nothing is stored then.
    #[inline(always)]
    pub(crate) fn modify_short(
        &self,
        mask: u64,
        bits: u64,
    ) -> Option<std::result::Result<(), (bool, Option<Fault>)>> {
        let rules = &self.class.rules;
        if rules.blocked & !mask != 0 {
            return None;
        }
        let _held = self.region.lock.hold();
        let kept = if rules.load {
            // SAFETY: `word_of` checked the place against the mapping, which `region` keeps.
            match unsafe { self.word.load() } {
                Ok(value) if self.unanswered(value) => return Some(Err((false, None))),
                Ok(value) => value & rules.keep,
                Err(fault) => return Some(Err((false, Some(fault)))),
            }
        } else {
            0
        };
        // SAFETY: as above, and the region is writable because the register is.
        let done = unsafe { self.word.store((kept | rules.fixed) & !mask | bits & mask) };
        Some(done.map_err(|fault| (true, Some(fault))))
    }

    /// The alias register whose one store does the same as reading and writing this one, and what to store there: where
    /// the map names one and all the bits go one way.
    fn alias(&self, mask: u64, bits: u64) -> Option<(Register, u64)> {
        let ordinary = |field: &Field| field.mask() & mask == 0 || field.on_write.is_none();
        let aliases = &self.info().aliases;
        let name = match (bits & mask == mask, bits & mask == 0) {
            (true, _) => aliases.set.as_ref()?,
            (_, true) => aliases.clear.as_ref()?,
            _ => return None,
        };
        if !self.info().fields.iter().all(ordinary) {
            return None;
        }
        // The map has checked that an alias repeats as its register does.
        let found = self.region.map().resolve(&map::beside(&self.path, name));
        let found = found.ok().filter(|found| found.register.access.writable())?;
        let class = Arc::new(RegisterClass::new(found.register.clone()));
        Some((Register::new(self.region.clone(), class, found.offset, found.path), mask))
    }

    /// Reads until the bits under `mask` are `bits`; returns the value that had them. Sleeps `interval` between reads.
    /// `go_on` is asked now and then and may end the wait.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the last value; [`Error::Value`] as for [`Register::modify`]; as for [`Register::read`]; what `go_on` returns.
    pub fn wait(
        &self,
        mask: u64,
        bits: u64,
        timeout: Option<Duration>,
        interval: Duration,
        mut go_on: impl FnMut() -> Result<()>,
    ) -> Result<u64> {
        /// How long a wait goes on before it asks.
        const SLICE: Duration = Duration::from_millis(20);
        /// How long a wait without an interval sleeps by a mock's virtual clock.
        const LONGEST_PAUSE: Duration = Duration::from_millis(1);
        self.check_readable()?;
        self.check_bits(mask, bits)?;
        self.region.keep_guard()?;
        let start = self.region.now();
        let mut asked = Instant::now();
        let mut pause = Duration::from_nanos(100);
        loop {
            self.region.check_open()?;
            let value = self.load(mask)?;
            if value & mask == bits {
                return Ok(value);
            }
            let now = self.region.now();
            let left = timeout.map(|timeout| timeout.saturating_sub(now.saturating_sub(start)));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Error::Timeout {
                    at: self.at(),
                    after: timeout.unwrap_or_default(),
                    last: format!("the register was last {value:#x}{}", self.decoded(value, mask)),
                });
            }
            if asked.elapsed() >= SLICE {
                go_on()?;
                asked = Instant::now();
            }
            if interval.is_zero() && self.region.is_virtual() {
                // Nothing else lets that time pass. It stops where a rule acts.
                self.region.sleep(left.map_or(pause, |left| pause.min(left)));
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
            // A long interval is slept in slices, so that the wait can be ended.
            let wake = now.checked_add(left.map_or(interval, |left| interval.min(left)));
            loop {
                // A time that no clock will show never comes.
                let rest = wake.map_or(SLICE, |wake| wake.saturating_sub(self.region.now()));
                if rest.is_zero() {
                    break;
                }
                self.region.sleep(rest.min(SLICE));
                go_on()?;
                self.region.check_open()?;
                asked = Instant::now();
            }
        }
    }

    /// `, with READY=0 (wanted under the mask)`, for a message.
    fn decoded(&self, value: u64, mask: u64) -> String {
        let fields: Vec<_> = self
            .info()
            .fields
            .iter()
            .filter(|field| field.mask() & mask != 0)
            .map(|field| format!("{}={:#x}", field.name, (value & field.mask()) >> field.lsb))
            .collect();
        if fields.is_empty() { String::new() } else { format!(", with {}", fields.join(", ")) }
    }

    /// The value with the bits under `mask` set to `bits`, over the reset value, every other field at its neutral
    /// value. Touches nothing.
    pub fn encode(&self, mask: u64, bits: u64) -> u64 {
        let info = self.info();
        let mut value = info.reset.map_or(0, |reset| reset.value);
        let mut rest = info.width.mask();
        let neutral = |effect: map::OnWrite| if effect.neutral() == Some(true) { u64::MAX } else { 0 };
        for field in &info.fields {
            rest &= !field.mask();
            let fixed = match field.on_write {
                Some(effect) => neutral(effect),
                None if field.self_clear => 0,
                None => continue,
            };
            value = value & !field.mask() | fixed & field.mask();
        }
        let fixed = match (info.reserved, info.on_write) {
            (map::Reserved::Zero, _) => 0,
            (map::Reserved::One, _) => u64::MAX,
            (map::Reserved::Preserve, Some(effect)) => neutral(effect),
            (map::Reserved::Preserve, None) => value,
        };
        value = value & !rest | fixed & rest;
        value & !mask | bits & mask
    }

    /// A field by name.
    ///
    /// # Errors
    /// [`Error::Path`] with the near names.
    pub fn field(&self, name: &str) -> Result<&Field> {
        let fields = &self.info().fields;
        fields.iter().find(|field| field.name == name).ok_or_else(|| {
            let names = fields.iter().map(|field| field.name.as_str());
            Error::Path(map::PathError::unknown_field(&self.at(), name, names))
        })
    }

    /// `mask`: the bits asked for.
    fn load(&self, mask: u64) -> Result<u64> {
        // Nobody writes between the accesses of one read.
        let _held = self.class.plan.is_some().then(|| self.region.hold()).transpose()?;
        self.load_held(mask)
    }

    /// The same where the region's lock is held, if the register takes several accesses.
    fn load_held(&self, mask: u64) -> Result<u64> {
        match &self.class.plan {
            None => self.load_word(&self.touch(mask)),
            Some(plan) => {
                let mut value = 0;
                for index in 0..plan.len() {
                    value |= self.load_word(&self.piece(plan, index, mask, value))? << plan[index].shift;
                }
                Ok(value)
            }
        }
    }

    /// `mask`: the bits meant. The region's lock is held.
    fn store(&self, value: u64, mask: u64) -> Result<()> {
        match &self.class.plan {
            None => self.store_word(&self.touch(mask), value),
            Some(plan) => {
                let mut before = 0;
                for (index, access) in plan.iter().enumerate() {
                    let touch = self.piece(plan, index, mask, before);
                    self.store_word(&touch, access.cut(value))?;
                    before |= value & access.mask();
                }
                Ok(())
            }
        }
    }

    fn load_word(&self, touch: &Touch) -> Result<u64> {
        // SAFETY: `word_of` checked the register's place against the mapping, which `region` keeps; its accesses lie in
        // that place, and the machine has them.
        let done = unsafe {
            match self.region.tapped() {
                false => touch.word.load().map_err(Failure::Fault),
                true => self.region.tap().load(touch),
            }
        };
        let (value, width) = (done.map_err(|failure| self.failure(touch, false, failure))?, touch.word.width);
        self.region.answered(value, touch.offset, width, || self.at())
    }

    fn store_word(&self, touch: &Touch, value: u64) -> Result<()> {
        // SAFETY: `word_of` checked the register's place against the mapping, which `region` keeps; its accesses lie in
        // that place, and the machine has them. The callers have checked that the register, and so its region, is
        // writable.
        let done = unsafe {
            match self.region.tapped() {
                false => touch.word.store(value).map_err(Failure::Fault),
                true => self.region.tap().store(touch, value),
            }
        };
        done.map_err(|failure| self.failure(touch, true, failure))
    }

    fn touch(&self, mask: u64) -> Touch {
        Touch {
            region: self.region.index(),
            offset: self.offset,
            word: self.word,
            register: Some(self.info().id),
            mask: mask & self.word.width.mask(),
            piece: None,
        }
    }

    /// One of several accesses: `before` is what those before it have carried.
    fn piece(&self, plan: &[BusAccess], index: usize, mask: u64, before: u64) -> Touch {
        let access = plan[index];
        let BusAccess { offset, width, shift } = access;
        let (first, last) = (index == 0, index + 1 == plan.len());
        let piece = Piece { start: self.offset, shift, before, first, last };
        let whole = self.touch(mask);
        let address = self.word.address.wrapping_add(offset as usize);
        Touch {
            offset: self.offset + offset,
            word: Word { address, width, ..self.word },
            mask: access.cut(whole.mask),
            piece: Some(Whole { piece, width: self.word.width, mask: whole.mask }),
            ..whole
        }
    }

    fn failure(&self, touch: &Touch, write: bool, failure: Failure) -> Error {
        match failure {
            Failure::Fault(fault) => {
                self.region.bus_fault(self.at(), touch.offset, touch.word.width, write, Some(fault))
            }
            Failure::Error(error) => error,
        }
    }

    fn check_readable(&self) -> Result<()> {
        self.check_open()?;
        match self.readable {
            true => Ok(()),
            false => Err(self.refused(self.info().access.readable(), Refusal::WRITE_ONLY)),
        }
    }

    fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        match self.writable {
            true => Ok(()),
            false => Err(self.refused(self.info().access.writable(), Refusal::READ_ONLY)),
        }
    }

    /// What the map forbids, or, if it allows it, what the machine cannot do.
    fn refused(&self, allowed: bool, reason: &str) -> Error {
        let reason = if allowed { Refusal::NOT_SINGLE } else { reason };
        Error::Refused { at: self.at(), reason: reason.into() }
    }

    fn check_bits(&self, mask: u64, bits: u64) -> Result<()> {
        let width = self.info().width;
        match bits & !mask == 0 && mask <= width.mask() {
            true => Ok(()),
            false => Err(self.value_error(format!(
                "{bits:#x} under the mask {mask:#x} does not fit the register's {} bits",
                width.bits()
            ))),
        }
    }

    fn check_open(&self) -> Result<()> {
        match self.region.closed() {
            true => Err(Error::Refused { at: self.at(), reason: Refusal::CLOSED.into() }),
            false => Ok(()),
        }
    }

    pub(crate) fn value_error(&self, problem: String) -> Error {
        Error::Value { at: self.at(), problem }
    }

    /// The error for a fault that an access of this register met; without one, for all ones that nobody answered with.
    pub(crate) fn fault(&self, write: bool, fault: Option<Fault>) -> Error {
        let width = self.info().width;
        self.region.bus_fault(self.at(), self.offset, width, write, fault)
    }
}
