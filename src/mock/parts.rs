//! Which registers an access reaches, by name or by place, and what becomes of each.

use nix::libc;

use super::slot::{Broken, Key};
use super::state::{Gone, State};
use super::{Place, Trouble};
use crate::access::{Fault, Word};
use crate::map::ByteOrder;

/// The part of a register that an access reaches.
pub(super) struct Part {
    pub key: Key,
    /// Its bits that are reached.
    pub lanes: u64,
    /// How the register itself is touched. Its address means nothing.
    pub word: Word,
    /// The access is all of the register and nothing else.
    whole: bool,
}

impl Part {
    /// The register's part of what an access reads or writes.
    fn of(&self, value: u64, place: &Place) -> u64 {
        match (self.whole, place.piece) {
            (true, _) => value,
            (false, Some(piece)) => value << piece.shift,
            (false, None) => carry(place.word, place.offset, value, self.word, self.key.1),
        }
    }

    /// The same with what other accesses before this one have carried.
    pub fn all(&self, value: u64, place: &Place) -> u64 {
        self.of(value, place) | place.piece.map_or(0, |piece| piece.before)
    }

    /// The bits that rules and hooks are told of, at the access that ends a read or a write: all of a register by name.
    pub fn meant(&self, place: &Place) -> u64 {
        if place.piece.is_some() { self.word.width.mask() } else { self.lanes }
    }
}

/// What the bytes of one word are in another one, in the bytes they share; 0 elsewhere.
pub(super) fn carry(from: Word, from_offset: u64, value: u64, to: Word, to_offset: u64) -> u64 {
    // Where byte number `at` from the lowest address is in the value.
    let shift = |word: Word, at: u64| {
        let big = word.swap != (ByteOrder::NATIVE == ByteOrder::Big);
        8 * if big { word.width.bytes() as u64 - 1 - at } else { at }
    };
    let first = from_offset.max(to_offset);
    let end = (from_offset + from.width.bytes() as u64).min(to_offset + to.width.bytes() as u64);
    (first..end).fold(0, |carried, at| {
        let byte = value >> shift(from, at - from_offset) & 0xff;
        carried | byte << shift(to, at - to_offset)
    })
}

impl State {
    /// The registers an access reaches: the one that is named, or all in its place.
    pub fn parts(&self, place: &Place) -> Vec<Part> {
        let width = place.word.width;
        if let Some(key) = place.key() {
            let lanes = width.mask() << place.piece.map_or(0, |piece| piece.shift);
            let word = self.kind(key).shape.word;
            return vec![Part { key, lanes, word, whole: place.piece.is_none() }];
        }
        let keys = self.keys_in(place.region, place.offset..place.offset + width.bytes() as u64);
        keys.into_iter()
            .map(|key| {
                let word = self.kind(key).shape.word;
                let whole = key.1 == place.offset && word.width == width && word.swap == place.word.swap;
                let lanes = carry(place.word, place.offset, width.mask(), word, key.1);
                Part { key, lanes, word, whole }
            })
            .collect()
    }

    /// The registers that a read reaches: of those that share bytes, each has those that none before it has.
    pub fn read_parts(&self, place: &Place) -> Vec<Part> {
        let mut parts = self.parts(place);
        parts.retain(|part| self.kind(part.key).cell.shown != 0);
        if place.register.is_some() {
            return parts;
        }
        let mut left = place.word.width.mask();
        parts.retain_mut(|part| {
            if part.whole && left == place.word.width.mask() {
                left = 0;
                return true;
            }
            let reached = carry(part.word, part.key.1, u64::MAX, place.word, place.offset);
            part.lanes = carry(place.word, place.offset, reached & left, part.word, part.key.1);
            left &= !reached;
            part.lanes != 0
        });
        parts
    }

    /// What software's store has done: `before` is what the memory showed.
    pub fn settle(&mut self, all: &[Part], place: &Place, before: u64, value: u64) {
        // Registers take what is theirs from the value; bytes beside them are memory.
        let mut theirs = 0;
        for part in all {
            theirs |= match place.register {
                Some(_) => place.word.width.mask(),
                None => carry(part.word, part.key.1, u64::MAX, place.word, place.offset),
            };
        }
        let left = before & theirs | value & !theirs & place.word.width.mask();
        self.memory.store(place.region, place.offset, place.word, left);
        if self.gone == Some(Gone::Ones) {
            return;
        }
        for part in all {
            self.after_write(part, place, value);
        }
        self.drive();
    }

    /// What an access meets that is to fail.
    pub fn fault(&mut self, parts: &[Part]) -> Result<(), Trouble> {
        let mut broken = self.gone == Some(Gone::Fault);
        for part in parts {
            let met = self.slot(part.key).and_then(|slot| slot.broken);
            let Some(met) = met.filter(|met| met.mask & part.lanes != 0) else { continue };
            broken = true;
            self.slot_mut(part.key).broken = match met.left {
                None => Some(met),
                Some(0 | 1) => None,
                Some(left) => Some(Broken { left: Some(left - 1), ..met }),
            };
        }
        match broken {
            true => Err(Trouble::Fault(Fault { signal: libc::SIGBUS, code: libc::BUS_ADRERR })),
            false => Ok(()),
        }
    }

    /// A hook gives the word that a FIFO's next read takes.
    pub fn answer(&mut self, key: Key, word: u64) {
        let slot = self.slot_mut(key);
        slot.received.pop_front();
        slot.received.push_front(word);
    }
}
