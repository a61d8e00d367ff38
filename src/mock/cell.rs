//! What one access does to the bits of a register, worked out once from its description.

use crate::map::{Access, OnRead, OnWrite, Register, Reserved};

/// The behaviour of all registers of one description.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    /// Bits that hold what software writes, and read back.
    store: u64,
    /// Bits that software can read.
    pub shown: u64,
    /// Bits that software writes and cannot read: what was written is kept beside the memory.
    pub hidden: u64,
    /// Effects of a write on bits that can be read, and on hidden ones.
    effects: Vec<(OnWrite, u64)>,
    hidden_effects: Vec<(OnWrite, u64)>,
    /// Bits of such a register that no field covers.
    pub spare: u64,
    /// Bits that take one write.
    once: u64,
    on_read: Vec<(OnRead, u64)>,
    /// Words that each queue of the FIFO holds; 0 is without end.
    pub fifo: Option<usize>,
    /// Every bit is ordinary: the memory is all there is to it.
    pub plain: bool,
}

/// What a register holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits {
    /// The bits that can be read, and those that nothing tells of.
    pub value: u64,
    /// The bits that software can only write.
    pub hidden: u64,
    /// The bits that were written once and for all.
    pub spent: u64,
}

impl Cell {
    pub fn new(register: &Register) -> Cell {
        let mut cell = Cell { fifo: register.fifo.map(|depth| depth as usize), ..Cell::default() };
        let mut covered = 0;
        for field in &register.fields {
            covered |= field.mask();
            let access = narrowed(register.access, field.access);
            cell.add(field.mask(), access, field.on_read, field.on_write, field.self_clear);
        }
        let rest = register.width.mask() & !covered;
        if rest != 0 {
            // What the map keeps at one value is kept; bits it says nothing of are ordinary.
            let access = match (register.reserved, register.on_write) {
                (Reserved::Zero | Reserved::One, None) if covered != 0 => {
                    narrowed(register.access, Access::ReadOnly)
                }
                _ => Some(register.access),
            };
            cell.add(rest, access, register.on_read, register.on_write, false);
        }
        if covered != 0 && !(cell.effects.is_empty() && cell.hidden_effects.is_empty()) {
            cell.spare = rest;
        }
        // Two fields share bits only if one is for reads and one for writes.
        cell.plain = cell.store == register.width.mask()
            && cell.shown == cell.store
            && cell.hidden == 0
            && cell.on_read.is_empty()
            && cell.once == 0
            && cell.fifo.is_none();
        cell
    }

    fn add(
        &mut self,
        mask: u64,
        access: Option<Access>,
        on_read: Option<OnRead>,
        on_write: Option<OnWrite>,
        self_clear: bool,
    ) {
        let Some(access) = access else { return };
        if access.readable() {
            self.shown |= mask;
            self.on_read.extend(on_read.map(|effect| (effect, mask)));
        }
        if !access.writable() {
            return;
        }
        if matches!(access, Access::ReadWriteOnce | Access::WriteOnce) {
            self.once |= mask;
        }
        if !access.readable() {
            self.hidden |= mask;
            self.hidden_effects.extend(on_write.map(|effect| (effect, mask)));
        } else if let Some(effect) = on_write {
            self.effects.push((effect, mask));
        } else if !self_clear {
            // What clears itself has done so by the time anybody looks.
            self.store |= mask;
        }
    }

    /// Whether a read leaves everything as it is.
    pub fn pure(&self) -> bool {
        self.on_read.is_empty() && self.fifo.is_none()
    }

    /// After software has written: `lanes` are the bits that the access reached.
    pub fn written(&self, old: Bits, written: u64, lanes: u64) -> Bits {
        let lanes_open = lanes & !old.spent;
        let mut new = old;
        let store = self.store & lanes_open;
        new.value = old.value & !store | written & store;
        for (effect, mask) in &self.effects {
            let mask = mask & lanes_open;
            new.value = new.value & !mask | effect.apply(old.value, written, mask);
        }
        let hidden = self.hidden & lanes_open;
        new.hidden = old.hidden & !hidden | written & hidden;
        for (effect, mask) in &self.hidden_effects {
            let mask = mask & lanes_open;
            new.hidden = new.hidden & !mask | effect.apply(old.hidden, written, mask);
        }
        new.spent |= self.once & lanes;
        new
    }

    /// After software has read the bits of `lanes`.
    pub fn read(&self, old: u64, lanes: u64) -> u64 {
        self.on_read.iter().fold(old, |value, (effect, mask)| {
            let mask = mask & lanes;
            value & !mask | effect.apply(old, mask)
        })
    }

    /// Bits that software can write.
    pub fn writable(&self) -> u64 {
        let effects = self.effects.iter().chain(&self.hidden_effects);
        effects.fold(self.store | self.hidden, |all, (_, mask)| all | mask)
    }
}

/// What is left of a part's access in what holds it: None where they have nothing in common.
fn narrowed(holder: Access, part: Access) -> Option<Access> {
    match (holder.readable() && part.readable(), holder.writable() && part.writable()) {
        (true, true) if part == Access::ReadWriteOnce || holder == Access::ReadWriteOnce => {
            Some(Access::ReadWriteOnce)
        }
        (true, true) => Some(Access::ReadWrite),
        (true, false) => Some(Access::ReadOnly),
        (false, true) if part == Access::WriteOnce || holder == Access::WriteOnce => Some(Access::WriteOnce),
        (false, true) => Some(Access::WriteOnly),
        (false, false) => None,
    }
}
