//! The long way of an access: what a mock makes of it, what is expected, what is recorded.
#![allow(unsafe_code)] // The accesses themselves.

use std::sync::Arc;

use crate::access::{Fault, Word};
use crate::error::Error;
use crate::map::Width;
use crate::mock::{Mock, Piece, Place, Trouble};
use crate::source::Presence;
use crate::trace::{Answer, Journal, Op, Record, Script};

/// What listens to the accesses of a device, and what answers them in its place.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    pub mock: Option<Arc<Mock>>,
    /// The source is a recording: there is no device, nor memory that stands for one.
    pub replays: bool,
    /// What tells whether the device still answers, where something does.
    pub presence: Option<Arc<Presence>>,
    pub journal: Arc<Journal>,
}

/// An access on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touch {
    /// The index of the region.
    pub region: usize,
    /// In bytes from its start.
    pub offset: u64,
    pub word: Word,
    /// The register's number, where one is meant.
    pub register: Option<u32>,
    /// The bits asked for.
    pub mask: u64,
    /// The access is one of several that the register takes.
    pub piece: Option<Whole>,
}

/// What one of several accesses is of its register, and the bits of that which are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole {
    pub piece: Piece,
    pub width: Width,
    pub mask: u64,
}

/// Why an access on the long way failed.
pub(crate) enum Failure {
    Fault(Fault),
    Error(Error),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        match trouble {
            Trouble::Fault(fault) => Failure::Fault(fault),
            Trouble::Hook(error) => Failure::Error(Error::Hook(error)),
        }
    }
}

impl Touch {
    fn record(&self, op: Op, value: u64, fault: Option<Fault>) -> Record {
        Record {
            time: 0,
            op,
            region: self.region,
            offset: self.offset,
            width: self.word.width,
            register: self.register,
            value,
            mask: self.mask,
            fault,
        }
    }

    fn place(&self) -> Place {
        Place {
            region: self.region,
            offset: self.offset,
            word: self.word,
            register: self.register,
            piece: self.piece.map(|whole| whole.piece),
        }
    }

    /// Of the access that ends a read or a write of a register: all of that, whatever it takes on the bus.
    #[inline(always)]
    fn sum(&self, record: &Record) -> Option<Record> {
        match &self.piece {
            None => Some(*record),
            Some(whole) => whole.sum(record),
        }
    }
}

impl Whole {
    #[cold]
    fn sum(&self, record: &Record) -> Option<Record> {
        let Piece { start, shift, before, last, .. } = self.piece;
        let value = before | record.value << shift;
        let (offset, width, mask) = (start, self.width, self.mask);
        last.then_some(Record { offset, width, value, mask, ..*record })
    }
}

impl Tap {
    pub fn new(mock: Option<Arc<Mock>>, script: Option<Script>, presence: Option<Arc<Presence>>) -> Tap {
        let tap = Tap { mock, replays: script.is_some(), presence, journal: Arc::default() };
        tap.journal.change(|listeners| listeners.script = script);
        tap
    }

    /// Whether accesses go the long way.
    pub fn active(&self) -> bool {
        self.mock.is_some() || self.journal.listening()
    }

    /// # Safety
    /// As for [`Word::load`], of the word in `touch`.
    #[inline(always)]
    pub unsafe fn load(&self, touch: &Touch) -> Result<u64, Failure> {
        let answer = match self.journal.scripted() {
            true => self.answer(&touch.record(Op::Read, 0, None)),
            false => Answer::Device,
        };
        let value = match answer {
            // SAFETY: the caller's promise.
            Answer::Device => unsafe { self.load_device(touch) },
            Answer::Value(value) => Ok(value),
            Answer::Fault(fault) => Err(Failure::Fault(fault)),
        };
        if self.journal.listening() {
            let record = match &value {
                Ok(value) => touch.record(Op::Read, *value, None),
                Err(Failure::Fault(fault)) => touch.record(Op::Read, 0, Some(*fault)),
                Err(Failure::Error(_)) => return value,
            };
            self.journal.add(&record, touch.sum(&record).as_ref());
            self.check(&record)?;
        }
        value
    }

    /// # Safety
    /// As for [`Word::store`], of the word in `touch`.
    #[inline(always)]
    pub unsafe fn store(&self, touch: &Touch, value: u64) -> Result<(), Failure> {
        let record = touch.record(Op::Write, value, None);
        let answer = match self.journal.scripted() {
            true => {
                let answer = self.answer(&record);
                // What is not expected is not done.
                self.check(&record)?;
                answer
            }
            false => Answer::Device,
        };
        let done = match answer {
            // SAFETY: the caller's promise.
            Answer::Device => unsafe { self.store_device(touch, value) },
            Answer::Value(_) => Ok(()),
            Answer::Fault(fault) => Err(Failure::Fault(fault)),
        };
        if self.journal.listening() {
            let fault = match &done {
                Err(Failure::Fault(fault)) => Some(*fault),
                _ => None,
            };
            let record = Record { fault, ..record };
            self.journal.add(&record, touch.sum(&record).as_ref());
        }
        done
    }

    /// # Safety
    /// As for [`Word::load`].
    #[inline(always)]
    unsafe fn load_device(&self, touch: &Touch) -> Result<u64, Failure> {
        // SAFETY: the caller's promise.
        unsafe {
            match &self.mock {
                Some(mock) => Ok(mock.read(&touch.place())?),
                None => touch.word.load().map_err(Failure::Fault),
            }
        }
    }

    /// # Safety
    /// As for [`Word::store`].
    #[inline(always)]
    unsafe fn store_device(&self, touch: &Touch, value: u64) -> Result<(), Failure> {
        // SAFETY: the caller's promise.
        unsafe {
            match &self.mock {
                Some(mock) => Ok(mock.write(&touch.place(), value)?),
                None => touch.word.store(value).map_err(Failure::Fault),
            }
        }
    }

    /// What a wait for the interrupt gives without waiting: the count of events.
    pub fn expected_interrupt(&self) -> Option<u64> {
        if !self.journal.scripted() {
            return None;
        }
        match self.answer(&interrupt(0)) {
            Answer::Value(count) => Some(count),
            Answer::Device | Answer::Fault(_) => None,
        }
    }

    /// A wait for the interrupt has ended, with so many events.
    pub fn interrupted(&self, count: u64) -> Result<(), Failure> {
        if !self.journal.listening() {
            return Ok(());
        }
        self.journal.add(&interrupt(count), None);
        self.check(&interrupt(count))
    }

    #[cold]
    fn answer(&self, asked: &Record) -> Answer {
        self.journal.with(|listeners| match &mut listeners.script {
            Some(script) => script.answer(asked),
            None => Answer::Device,
        })
    }

    #[inline(always)]
    fn check(&self, made: &Record) -> Result<(), Failure> {
        if !self.journal.scripted() {
            return Ok(());
        }
        self.journal.with(|listeners| match &mut listeners.script {
            Some(script) => script.check(made).map_err(|text| Failure::Error(Error::Unexpected(text))),
            None => Ok(()),
        })
    }

    /// Expects from now on what the script says. Gives back the one before.
    pub fn set_script(&self, script: Option<Script>) -> Option<Script> {
        self.journal.change(|listeners| std::mem::replace(&mut listeners.script, script))
    }

    /// # Errors
    /// Accesses are still expected.
    pub fn finish_script(&self) -> Result<(), Error> {
        self.journal.with(|listeners| match &mut listeners.script {
            Some(script) => script.finish().map_err(Error::Unexpected),
            None => Ok(()),
        })
    }
}

fn interrupt(count: u64) -> Record {
    Record {
        time: 0,
        op: Op::Interrupt,
        region: 0,
        offset: 0,
        width: Width::W32,
        register: None,
        value: count,
        mask: 0,
        fault: None,
    }
}
