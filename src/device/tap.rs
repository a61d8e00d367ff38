//! The long way of an access: what a mock makes of it, what is expected, what is recorded.
#![allow(unsafe_code)] // The accesses themselves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::access::{Fault, Word};
use crate::error::Error;
use crate::mock::{Mock, Place, Trouble};
use crate::trace::{Answer, Op, Record, Script, Tally, Trace};

/// What listens to the accesses of a device, and what answers them in its place.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    pub mock: Option<Arc<Mock>>,
    listening: AtomicBool,
    ears: Mutex<Ears>,
}

#[derive(Debug, Default)]
struct Ears {
    traces: Vec<Arc<Trace>>,
    tallies: Vec<Arc<Tally>>,
    script: Option<Script>,
}

impl Ears {
    fn hear(&self, record: Record) {
        self.traces.iter().for_each(|trace| trace.add(record));
        self.tallies.iter().for_each(|tally| tally.add(&record));
    }
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
        Place { region: self.region, offset: self.offset, word: self.word, register: self.register }
    }
}

impl Tap {
    pub fn new(mock: Option<Arc<Mock>>, script: Option<Script>) -> Tap {
        let listening = AtomicBool::new(script.is_some());
        Tap { mock, listening, ears: Mutex::new(Ears { script, ..Ears::default() }) }
    }

    /// Whether accesses go the long way.
    pub fn active(&self) -> bool {
        self.mock.is_some() || self.listening.load(Ordering::Relaxed)
    }

    /// # Safety
    /// As for [`Word::load`], of the word in `touch`.
    #[inline]
    pub unsafe fn load(&self, touch: &Touch) -> Result<u64, Failure> {
        if !self.listening.load(Ordering::Relaxed) {
            // SAFETY: the caller's promise.
            return unsafe { self.load_device(touch) };
        }
        let answer = match &mut self.ears().script {
            Some(script) => script.answer(&touch.record(Op::Read, 0, None)),
            None => Answer::Device,
        };
        let value = match answer {
            // SAFETY: the caller's promise.
            Answer::Device => unsafe { self.load_device(touch) },
            Answer::Value(value) => Ok(value),
            Answer::Fault(fault) => Err(Failure::Fault(fault)),
        };
        match &value {
            Ok(value) => self.made(touch.record(Op::Read, *value, None))?,
            Err(Failure::Fault(fault)) => self.made(touch.record(Op::Read, 0, Some(*fault)))?,
            Err(Failure::Error(_)) => {}
        }
        value
    }

    /// # Safety
    /// As for [`Word::store`], of the word in `touch`.
    #[inline]
    pub unsafe fn store(&self, touch: &Touch, value: u64) -> Result<(), Failure> {
        if !self.listening.load(Ordering::Relaxed) {
            // SAFETY: the caller's promise.
            return unsafe { self.store_device(touch, value) };
        }
        let record = touch.record(Op::Write, value, None);
        let answer = {
            let mut ears = self.ears();
            match &mut ears.script {
                None => Answer::Device,
                Some(script) => {
                    let answer = script.answer(&record);
                    script.check(&record).map_err(|text| Failure::Error(Error::Unexpected(text)))?;
                    match answer {
                        Answer::Value(_) if script.is_replay() => Answer::Value(0),
                        Answer::Fault(fault) => Answer::Fault(fault),
                        _ => Answer::Device,
                    }
                }
            }
        };
        let done = match answer {
            // SAFETY: the caller's promise.
            Answer::Device => unsafe { self.store_device(touch, value) },
            Answer::Value(_) => Ok(()),
            Answer::Fault(fault) => Err(Failure::Fault(fault)),
        };
        let fault = match &done {
            Err(Failure::Fault(fault)) => Some(*fault),
            _ => None,
        };
        self.ears().hear(Record { fault, ..record });
        done
    }

    /// # Safety
    /// As for [`Word::load`].
    #[inline]
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
    #[inline]
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
        if !self.listening.load(Ordering::Relaxed) {
            return None;
        }
        let mut ears = self.ears();
        let script = ears.script.as_mut()?;
        match script.answer(&interrupt(0)) {
            Answer::Value(count) => Some(count),
            Answer::Device | Answer::Fault(_) if script.is_replay() => Some(0),
            Answer::Device | Answer::Fault(_) => None,
        }
    }

    /// A wait for the interrupt has ended, with so many events.
    pub fn interrupted(&self, count: u64) -> Result<(), Failure> {
        match self.listening.load(Ordering::Relaxed) {
            true => self.made(interrupt(count)),
            false => Ok(()),
        }
    }

    fn made(&self, record: Record) -> Result<(), Failure> {
        let mut ears = self.ears();
        ears.hear(record);
        match &mut ears.script {
            Some(script) => script.check(&record).map_err(|text| Failure::Error(Error::Unexpected(text))),
            None => Ok(()),
        }
    }

    /// Records from now on.
    pub fn start_trace(&self, trace: Trace) -> Arc<Trace> {
        let trace = Arc::new(trace);
        let mut ears = self.ears();
        ears.traces.push(trace.clone());
        self.listen(&ears);
        trace
    }

    /// Records no more.
    pub fn stop_trace(&self, trace: &Arc<Trace>) {
        let mut ears = self.ears();
        ears.traces.retain(|other| !Arc::ptr_eq(trace, other));
        self.listen(&ears);
    }

    /// Sums up from now on.
    pub fn start_tally(&self, tally: Arc<Tally>) {
        let mut ears = self.ears();
        ears.tallies.push(tally);
        self.listen(&ears);
    }

    /// Sums up no more.
    pub fn stop_tally(&self, tally: &Arc<Tally>) {
        let mut ears = self.ears();
        ears.tallies.retain(|other| !Arc::ptr_eq(tally, other));
        self.listen(&ears);
    }

    /// Expects from now on what the script says. Gives back the one before.
    pub fn set_script(&self, script: Option<Script>) -> Option<Script> {
        let mut ears = self.ears();
        let before = std::mem::replace(&mut ears.script, script);
        self.listen(&ears);
        before
    }

    /// # Errors
    /// Accesses are still expected.
    pub fn finish_script(&self) -> Result<(), Error> {
        match &mut self.ears().script {
            Some(script) => script.finish().map_err(Error::Unexpected),
            None => Ok(()),
        }
    }

    fn listen(&self, ears: &Ears) {
        let silent = ears.traces.is_empty() && ears.tallies.is_empty() && ears.script.is_none();
        self.listening.store(!silent, Ordering::Relaxed);
    }

    fn ears(&self) -> MutexGuard<'_, Ears> {
        self.ears.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn interrupt(count: u64) -> Record {
    Record {
        time: 0,
        op: Op::Interrupt,
        region: 0,
        offset: 0,
        width: crate::map::Width::W32,
        register: None,
        value: count,
        mask: 0,
        fault: None,
    }
}
