//! A device that behaves as its map says: the memory that stands for its registers, and what they do at each access.
//!
//! Software's accesses are the same loads and stores as on hardware. Before a load the mock lets the memory show what
//! the register gives, after it what the read has changed; after a store it works out what became of the register. What
//! an effect means is said in `map/effects.rs`, once. The hardware's own side is here too: setting what software may
//! only read, words for FIFOs, rules, hooks, time, interrupts and faults.

mod cell;
mod clock;
mod kind;
mod line;
mod memory;
mod parts;
mod play;
mod shared;
mod slot;
mod state;
#[cfg(feature = "python")]
#[cfg_attr(not(traps), allow(dead_code))]
mod views;

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use clock::now;
pub use clock::{LONGEST, Pace};
pub use memory::Backing;
pub use shared::SyncError;
pub use slot::{Hook, HookError};
pub use state::Gone;
#[cfg(feature = "python")]
pub(crate) use views::Views;

use crate::access::{Fault, Held, Locked, Word};
use crate::map::{Behaviour, Map, Target, mask};
use clock::Clock;
use line::Line;
use memory::Memory;
use parts::Part;
use slot::{Attached, Broken, Key};
use state::{State, key};

/// A mocked device.
pub struct Mock {
    state: Locked<State>,
}

/// An access on its way to a mocked region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Its index in the map.
    pub region: usize,
    /// In bytes from the start of the region.
    pub offset: u64,
    /// Where software touches it.
    pub word: Word,
    /// The number of the register that is meant; None for an access by offset.
    pub register: Option<u32>,
    /// The access is one of several that the register takes.
    pub piece: Option<Piece>,
}

/// What one of several accesses is of its register.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    /// Where the register begins, in bytes from the start of the region.
    pub start: u64,
    /// The register's bit that is the lowest one of the access.
    pub shift: u32,
    /// What the accesses before this one have carried, in its place in the register.
    pub before: u64,
    pub first: bool,
    pub last: bool,
}

impl Place {
    /// The register that is meant.
    fn key(&self) -> Option<Key> {
        let start = self.piece.map_or(self.offset, |piece| piece.start);
        self.register.map(|id| (id, start))
    }

    /// Whether a read of its register, or by place, begins with this access.
    fn begins(&self) -> bool {
        self.piece.is_none_or(|piece| piece.first)
    }

    /// Whether it ends with this access.
    fn ends(&self) -> bool {
        self.piece.is_none_or(|piece| piece.last)
    }
}

/// Why an access to a mock failed.
pub(crate) enum Trouble {
    /// As the bus would.
    Fault(Fault),
    /// A hook of the test did.
    Hook(HookError),
}

impl fmt::Debug for Mock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mock").finish_non_exhaustive()
    }
}

impl Mock {
    /// # Errors
    /// The memory cannot be had; a map whose reset values would fill the machine.
    pub fn new(map: Arc<Map>, pace: Pace) -> io::Result<Mock> {
        let memory = Memory::new(&map)?;
        let state = State::new(map, memory, Clock::new(pace), Line::new());
        Ok(Mock { state: Locked::new(state) })
    }

    /// A mock whose memory is a file that other processes map. What they write is seen by [`Mock::sync`].
    ///
    /// # Errors
    /// The file cannot be opened and mapped, or is too short; the map has too many registers to look at.
    pub fn shared(map: Arc<Map>, pace: Pace, backing: &Backing) -> io::Result<Mock> {
        let memory = Memory::shared(&map, backing)?;
        let mut state = State::new(map, memory, Clock::new(pace), Line::new());
        state.share(backing.mark)?;
        state.catch_up();
        Ok(Mock { state: Locked::new(state) })
    }

    #[inline(always)]
    fn state(&self) -> Held<'_, State> {
        self.state.lock()
    }

    /// Software has mapped all it wants: the file is given back, but where others map it.
    pub(crate) fn mapped(&self) {
        let mut state = self.state();
        if state.shared.is_none() {
            state.memory.forget_file();
        }
    }

    /// The index of a region by its name.
    pub(crate) fn region(&self, name: &str) -> Option<usize> {
        self.state().map.regions.iter().position(|region| region.name == name)
    }

    /// Whether a region has registers that are more than memory.
    #[cfg(feature = "python")]
    pub(crate) fn behaves(&self, region: usize) -> bool {
        self.state().behaves(region)
    }

    /// The file that software maps, and where a region begins in it.
    pub(crate) fn place(&self, region: usize) -> io::Result<(File, u64)> {
        let state = self.state();
        let (file, start) = state.memory.place(region)?;
        Ok((file.try_clone()?, start))
    }

    /// Software reads.
    ///
    /// # Safety
    /// As for [`Word::load`], of the word in `place`.
    #[allow(unsafe_code)] // The load is software's own.
    pub(crate) unsafe fn read(&self, place: &Place) -> Result<u64, Trouble> {
        let mut state = self.state();
        state.clock.step();
        state.catch_up();
        if let (Some(key), None) = (place.key(), state.gone) {
            let kind = state.kind(key);
            if kind.backed && kind.cell.pure() && state.slot(key).is_none() {
                // SAFETY: the caller's promise.
                return unsafe { place.word.load() }.map_err(Trouble::Fault);
            }
        }
        let parts = state.read_parts(place);
        if place.begins() {
            state = self.run_hooks(state, &parts, false, 0, place)?;
        }
        state.fault(&parts)?;
        // What is stuck is shown for this read only.
        let real = state.memory.load(place.region, place.offset, place.word);
        let stuck = parts.iter().any(|part| state.slot(part.key).is_some_and(|slot| slot.stuck.0 != 0));
        // Of registers that share bytes, the first is the one that is read.
        parts.iter().rev().for_each(|part| state.show(part.key));
        // SAFETY: the caller's promise.
        let value = unsafe { place.word.load() }.map_err(Trouble::Fault)?;
        if stuck {
            state.memory.store(place.region, place.offset, place.word, real);
        }
        if state.gone == Some(Gone::Ones) {
            return Ok(place.word.width.mask());
        }
        for part in &parts {
            state.after_read(part, place, value);
        }
        state.drive();
        Ok(value)
    }

    /// Software writes.
    ///
    /// # Safety
    /// As for [`Word::store`], of the word in `place`.
    #[allow(unsafe_code)] // The store is software's own.
    pub(crate) unsafe fn write(&self, place: &Place, value: u64) -> Result<(), Trouble> {
        let mut state = self.state();
        state.clock.step();
        state.catch_up();
        if let (Some(key), None) = (place.key(), state.gone) {
            let kind = state.kind(key);
            if kind.backed && kind.cell.plain && state.slot(key).is_none() {
                // SAFETY: the caller's promise.
                unsafe { place.word.store(value) }.map_err(Trouble::Fault)?;
                state.drive();
                return Ok(());
            }
        }
        let all = state.parts(place);
        state.fault(&all)?;
        let before = state.memory.load(place.region, place.offset, place.word);
        // SAFETY: the caller's promise.
        unsafe { place.word.store(value) }.map_err(Trouble::Fault)?;
        state.settle(&all, place, before, value);
        if place.ends() {
            drop(self.run_hooks(state, &all, true, value, place)?);
        }
        Ok(())
    }

    /// Runs the hooks of an access, without holding the state: they may use the mock.
    fn run_hooks<'a>(
        &'a self,
        mut state: Held<'a, State>,
        parts: &[Part],
        write: bool,
        value: u64,
        place: &Place,
    ) -> Result<Held<'a, State>, Trouble> {
        for part in parts {
            let hooks = match state.slot(part.key) {
                Some(slot) if write => slot.write_hooks.clone(),
                Some(slot) => slot.read_hooks.clone(),
                None => continue,
            };
            for Attached { target, hook } in hooks {
                if target.mask() & part.meant(place) == 0 {
                    continue;
                }
                let value = if write { part.all(value, place) } else { state.shown(part.key) };
                drop(state);
                let answer = hook(target.cut(value)).map_err(Trouble::Hook)?;
                state = self.state();
                if let Some(answer) = answer {
                    match state.kind(part.key).cell.fifo {
                        Some(_) if !write => state.answer(part.key, answer),
                        _ => state.set(&target, answer),
                    }
                    state.drive();
                }
            }
        }
        Ok(state)
    }

    /// What a register or field holds, as the device itself sees it: what software wrote to write-only bits, too.
    pub fn get(&self, target: &Target) -> u64 {
        let mut state = self.state();
        state.catch_up();
        state.held(target)
    }

    /// The device itself changes a register or field. Bits beyond the target are cut off.
    pub fn set(&self, target: &Target, value: u64) {
        let mut state = self.state();
        state.catch_up();
        let whole = Target { lsb: 0, width: 64, ..target.clone() };
        let old = state.held(&whole);
        state.set(target, value & mask(target.width));
        let new = state.held(&whole);
        state.after_input(key(target), target.mask(), new, old);
        state.drive();
    }

    /// A word comes into a FIFO for software to read. False where it was full and the word is lost.
    pub fn push(&self, target: &Target, word: u64) -> bool {
        let mut state = self.state();
        state.catch_up();
        let waited = state.slot(key(target)).map_or(0, |slot| slot.received.len() as u64);
        let room = state.push(key(target), word);
        state.after_input(key(target), u64::MAX, word, waited);
        state.drive();
        room
    }

    /// Takes the oldest word that software has written to a FIFO.
    pub fn pop(&self, target: &Target) -> Option<u64> {
        let mut state = self.state();
        state.catch_up();
        let word = state.slot_mut(key(target)).take();
        state.drive();
        word
    }

    /// How many words of a FIFO wait for software, how many wait for the device, and how many were lost because it was
    /// full.
    pub fn level(&self, target: &Target) -> (usize, usize, u64) {
        let mut state = self.state();
        state.catch_up();
        state.slot(key(target)).map_or((0, 0, 0), |slot| (slot.received.len(), slot.sent.len(), slot.lost))
    }

    /// Runs a hook at each read of the register of `target`, before it: with what would be read, of the target's bits.
    pub fn on_read(&self, target: Target, hook: Hook) {
        let mut state = self.state();
        state.slot_mut(key(&target)).read_hooks.push(Attached { target, hook });
        state.catch_up();
    }

    /// Runs a hook at each write of the register of `target`, after the map's effects and rules: with what was written
    /// to the target's bits.
    pub fn on_write(&self, target: Target, hook: Hook) {
        let mut state = self.state();
        state.slot_mut(key(&target)).write_hooks.push(Attached { target, hook });
        state.catch_up();
    }

    /// Takes all hooks away.
    pub fn remove_hooks(&self) {
        let mut taken = Vec::new();
        for slot in self.state().slots_mut() {
            taken.append(&mut slot.read_hooks);
            taken.append(&mut slot.write_hooks);
        }
        // What goes with a hook may do anything: not under the lock.
        drop(taken);
    }

    /// Adds rules behind those that are there.
    pub fn add_rules(&self, rules: Vec<Behaviour>) {
        let mut state = self.state();
        state.add_rules(rules.into_iter().map(Arc::new));
        state.catch_up();
    }

    /// Accesses that reach a bit of the target fail on the bus, so many times or for good.
    pub fn fail(&self, target: &Target, times: Option<u64>) {
        self.state().slot_mut(key(target)).broken = Some(Broken { left: times, mask: target.mask() });
    }

    /// The target's bits read as `value`, whatever they hold.
    pub fn stick(&self, target: &Target, value: u64) {
        let mut state = self.state();
        let slot = state.slot_mut(key(target));
        let stuck = (value << target.lsb) & target.mask();
        slot.stuck = (slot.stuck.0 | target.mask(), slot.stuck.1 & !target.mask() | stuck);
    }

    /// The whole device is gone, or there again.
    pub fn vanish(&self, gone: Option<Gone>) {
        self.state().gone = gone;
    }

    /// Ends all faults.
    pub fn heal(&self) {
        let mut state = self.state();
        state.gone = None;
        for slot in state.slots_mut() {
            slot.broken = None;
            slot.stuck = (0, 0);
        }
    }

    /// Everything is as after the device's reset. Rules, hooks and faults stay.
    pub fn reset(&self) {
        let mut state = self.state();
        state.reset();
        state.drive();
    }

    /// The device asks for one interrupt.
    pub fn interrupt(&self) {
        self.state().line.pulse();
    }

    /// Software enables the interrupt, or disables it.
    pub fn enable_interrupt(&self, on: bool) {
        let mut state = self.state();
        state.catch_up();
        state.line.enable(on);
    }

    /// How many interrupts have come: 32 bits, so it wraps.
    pub fn interrupts(&self) -> u32 {
        self.state().line.count()
    }

    /// What becomes readable when an interrupt has come.
    pub(crate) fn interrupt_file(&self) -> io::Result<File> {
        self.state().line.file()
    }

    /// The time since the mock was made.
    pub fn now(&self) -> Duration {
        self.state().clock.now()
    }

    /// Lets time pass, and what is due in it happen, each at its time. `go_on` is asked now and then and may end it, with
    /// the clock where it has got to.
    ///
    /// # Errors
    /// What `go_on` returns.
    pub fn advance<E>(&self, time: Duration, mut go_on: impl FnMut() -> Result<(), E>) -> Result<(), E> {
        /// How many times it stops for what is due before it asks.
        const STOPS: usize = 1000;
        let mut left = time;
        loop {
            let mut state = self.state();
            for _ in 0..STOPS {
                let due = state.next_due();
                // Where a real clock runs faster than rules act, something of the time passes all the same.
                let part = due.map_or(left, |due| left.min(due.max(Duration::from_nanos(1))));
                state.clock.advance(part);
                state.catch_up();
                left -= part;
                if left.is_zero() {
                    return Ok(());
                }
            }
            drop(state);
            go_on()?;
        }
    }

    /// Software sleeps: for real, or by the virtual clock. At most until the next rule acts.
    pub(crate) fn sleep(&self, time: Duration) {
        let mut state = self.state();
        let left = state.next_due();
        let time = left.map_or(time, |left| left.min(time));
        if state.clock.is_virtual() {
            state.clock.advance(time);
        } else {
            drop(state);
            std::thread::sleep(time);
            state = self.state();
        }
        state.catch_up();
    }

    /// Does what is due. Returns how long until the next rule acts by time alone.
    pub(crate) fn catch_up(&self) -> Option<Duration> {
        let mut state = self.state();
        state.catch_up();
        state.next_due()
    }

    /// Whether waits take no real time.
    pub fn is_virtual(&self) -> bool {
        self.state().clock.is_virtual()
    }
}
