//! What a mock makes of accesses that are no call of ours: through memoryviews, whose pages are trapped.
//!
//! All of this runs in a signal handler of the thread that makes the access. That thread is at an instruction which
//! touches a view, so it holds neither the mock's lock nor the allocator's. From before the access until after it the mock
//! is locked: meanwhile the memory shows what no register holds. Hooks are not run, for they are Python code; nor do
//! faults of the test come about.

use std::ops::Range;
use std::sync::Arc;

use super::{Mock, Place, State};
use crate::access::{Held, Locked, Watch, Word};
use crate::map::{ByteOrder, Width};

/// The widest store an instruction makes.
const WIDEST: u64 = 64;

/// Watches the views of one region.
pub(crate) struct Views {
    mock: Arc<Mock>,
    region: usize,
    /// The items of its views.
    width: Width,
    order: ByteOrder,
    size: u64,
    /// What the memory showed before the store under way, from the item it begins in on. One step is under way at a time.
    before: Locked<[u64; WIDEST as usize]>,
}

impl Views {
    pub fn new(mock: Arc<Mock>, region: usize, width: Width, order: ByteOrder, size: u64) -> Views {
        Views { mock, region, width, order, size, before: Locked::new([0; WIDEST as usize]) }
    }

    fn word(&self) -> Word {
        Word::new(std::ptr::null_mut(), self.width, self.order)
    }

    fn place(&self, offset: u64) -> Place {
        Place { region: self.region, offset, word: self.word(), register: None, piece: None }
    }

    /// What an instruction may reach that begins at this byte, in whole items.
    fn span(&self, offset: usize) -> Range<u64> {
        let bytes = self.width.bytes() as u64;
        let end = (offset as u64 + WIDEST).min(self.size);
        offset as u64 / bytes * bytes..end.next_multiple_of(bytes)
    }

    fn items(&self, offset: usize) -> impl Iterator<Item = u64> {
        self.span(offset).step_by(self.width.bytes())
    }

    fn load(&self, state: &Held<'_, State>, item: u64) -> u64 {
        state.memory.load(self.region, item, self.word())
    }
}

impl Watch for Views {
    fn before(&self, offset: usize, write: bool) {
        let (mut state, fresh) = self.mock.state.step();
        // An instruction may touch two places, and views of two regions.
        state.steps = if fresh { 1 } else { state.steps + 1 };
        state.clock.step();
        state.catch_up();
        let mut before = self.before.lock();
        // Of registers that share bytes, the first is the one that is read.
        for key in state.keys_in(self.region, self.span(offset)).iter().rev() {
            let kind = state.kind(*key);
            if kind.cell.shown != 0 {
                state.memory.set(&kind.shape, key.1, state.visible(*key));
            }
        }
        if write {
            for (index, item) in self.items(offset).enumerate().take(WIDEST as usize) {
                before[index] = self.load(&state, item);
            }
        }
        state.keep();
    }

    fn after(&self, offset: usize, write: bool) {
        let (mut state, _) = self.mock.state.step();
        match write {
            true => self.written(&mut state, offset),
            false => self.read(&mut state, offset),
        }
        state.steps -= 1;
        if state.steps > 0 {
            state.keep();
        }
    }
}

impl Views {
    fn read(&self, state: &mut Held<'_, State>, offset: usize) {
        let place = self.place(self.items(offset).next().unwrap_or(0));
        let value = self.load(state, place.offset);
        for part in state.read_parts(&place) {
            state.after_read(&part, &place, value);
        }
        state.drive();
    }

    fn written(&self, state: &mut Held<'_, State>, offset: usize) {
        let before = self.before.lock();
        for (index, item) in self.items(offset).enumerate().take(WIDEST as usize) {
            let value = self.load(state, item);
            // The item that an aligned store begins in is written, all of it; of others only what has changed can be told.
            let sure = index == 0 && item == offset as u64;
            if sure || value != before[index] {
                let place = self.place(item);
                let parts = state.parts(&place);
                state.settle(&parts, &place, before[index], value);
            }
        }
    }
}
