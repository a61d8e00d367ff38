//! A mock whose memory other processes map: what they have written is found by looking.
//!
//! Registers that are plain memory are left to themselves. Of the others the memory only shows what a read gives, and
//! the mock keeps what they hold: where a word is no longer what it last showed, somebody has written it. So a write of
//! the very value that is shown is not seen, nor is a read; of two writes between two looks, only the later one is.

use std::io;

use super::memory::Shape;
use super::parts::{Part, carry};
use super::slot::Key;
use super::state::{Gone, State};
use super::{Mock, Place, Trouble};
use crate::map::Node;

/// Each is looked at every time: as many take about a millisecond.
const MOST_FACES: usize = 16_384;

/// What is shown where nothing can be read: a value that hardly anybody writes, so that writes of 0 are seen too.
const UNREAD: u64 = 0xa5a5_a5a5_a5a5_a5a5;

/// What the memory shows others.
pub(super) struct Shared {
    /// In the order of their places; none shares a byte with another.
    faces: Vec<Face>,
    /// How many registers had something beside the memory when the faces were made; 0 for faces to be made anew.
    slots: usize,
    /// Faces have marks.
    mark: bool,
    /// What others have written, oldest first, until it is asked for.
    noticed: Vec<(Key, u64)>,
}

/// A word that is looked at, by its register; others may lie in the same place.
struct Face {
    key: Key,
    shape: Shape,
    /// It is the only register there.
    alone: bool,
    /// A bit that is shown as 1 and means nothing; 0 for none.
    mark: u64,
    /// Rules assign to it: what other registers hold decides.
    assigned: bool,
    /// What the memory shows, as far as the mock has seen.
    shown: u64,
}

impl Face {
    fn place(&self) -> Place {
        Place {
            region: self.shape.region,
            offset: self.key.1,
            word: self.shape.word,
            register: None,
            piece: None,
        }
    }

    fn end(&self) -> u64 {
        self.key.1 + self.shape.word.width.bytes() as u64
    }
}

impl Mock {
    /// Sees what other processes have written since the last time, does what the map and the rules say of it, and lets
    /// the memory show what became of it. Returns the registers that were written and what with, in the order of their
    /// addresses; when exactly is not known.
    ///
    /// # Errors
    /// The file was removed or cut off; what a hook raises, after all else is done.
    pub fn sync(&self) -> Result<Vec<(String, u64)>, SyncError> {
        let mut state = self.state();
        state.memory.check_file().map_err(SyncError::File)?;
        state.catch_up();
        let noticed = state.shared.as_mut().map(|shared| std::mem::take(&mut shared.noticed));
        let noticed = noticed.unwrap_or_default();
        let mut seen = Vec::with_capacity(noticed.len());
        let mut failed = None;
        for (key, value) in noticed {
            let shape = state.kind(key).shape;
            seen.extend(state.map.path_of(shape.region, key.0, key.1).map(|path| (path, value)));
            let place =
                Place { region: shape.region, offset: key.1, word: shape.word, register: None, piece: None };
            let parts = state.parts(&place);
            match self.run_hooks(state, &parts, true, value, &place) {
                Ok(after) => state = after,
                Err(trouble) => {
                    failed = failed.or(Some(trouble));
                    state = self.state();
                }
            }
        }
        state.catch_up();
        match failed {
            Some(Trouble::Hook(error)) => Err(SyncError::Hook(error)),
            _ => Ok(seen),
        }
    }
}

/// Why a mock cannot go on being shared.
#[derive(Debug)]
pub enum SyncError {
    /// Its file is not what it was.
    File(io::Error),
    /// A hook failed.
    Hook(super::HookError),
}

impl State {
    /// Looks from now on at all registers that are more than memory.
    pub fn share(&mut self, mark: bool) -> io::Result<()> {
        let mut keys = Vec::new();
        for region in &self.map.regions {
            self.find_faces(&region.nodes, 0, &mut keys)?;
        }
        // Rules and hooks may be on memory, too.
        keys.extend(self.slot_keys());
        let mut faces: Vec<Face> = keys
            .into_iter()
            .map(|key| Face {
                key,
                shape: self.kind(key).shape,
                alone: true,
                mark: 0,
                assigned: false,
                shown: 0,
            })
            .collect();
        // Of registers in one place the widest is looked at, and of like ones that which can be read.
        faces.sort_by_key(|face| {
            let unread = self.kind(face.key).cell.shown == 0;
            (face.shape.region, face.key.1, usize::MAX - face.shape.word.width.bytes(), unread, face.key.0)
        });
        faces.dedup_by(|next, face| next.shape.region == face.shape.region && next.key.1 < face.end());
        for face in &mut faces {
            let keys = self.keys_in(face.shape.region, face.key.1..face.end());
            face.alone = keys.len() == 1;
            if mark && face.alone {
                let spare = self.kind(face.key).cell.spare;
                face.mark = spare.checked_ilog2().map_or(0, |bit| 1 << bit);
            }
            for key in keys {
                self.set_apart(key);
                face.assigned |= self.slot(key).is_some_and(|slot| !slot.assigned.is_empty());
            }
            face.shown = match self.face_at(face.key) {
                Some(before) if self.faces()[before].key == face.key => self.faces()[before].shown,
                _ => self.memory.get(&face.shape, face.key.1),
            };
        }
        let noticed = self.shared.take().map_or(Vec::new(), |shared| shared.noticed);
        self.shared = Some(Shared { faces, mark, slots: self.slot_count(), noticed });
        Ok(())
    }

    /// The mock keeps what the register holds from now on.
    fn set_apart(&mut self, key: Key) {
        let value = self.bits(key).value;
        let slot = self.slot_mut(key);
        if !slot.apart {
            slot.apart = true;
            slot.value = Some(value);
        }
    }

    fn find_faces(&self, nodes: &[Node], base: u64, keys: &mut Vec<Key>) -> io::Result<()> {
        for node in nodes {
            if !self.has_faces(node) {
                continue;
            }
            let (count, stride) = node.array().map_or((1, 0), |array| (array.count, array.stride));
            for index in 0..count {
                let start = base + node.offset() + index * stride;
                match node {
                    Node::Register(register) => keys.push((register.id, start)),
                    Node::Group(group) => self.find_faces(&group.nodes, start, keys)?,
                }
                if keys.len() > MOST_FACES {
                    return Err(io::Error::other(format!(
                        "the map has more than {MOST_FACES} registers that are more than memory"
                    )));
                }
            }
        }
        Ok(())
    }

    fn has_faces(&self, node: &Node) -> bool {
        match node {
            Node::Register(register) => {
                let kind = &self.kinds[register.id as usize];
                !kind.cell.plain || !kind.backed
            }
            Node::Group(group) => group.nodes.iter().any(|node| self.has_faces(node)),
        }
    }

    /// Does what the map and the rules say of each word that others have written.
    pub fn notice(&mut self) {
        let mark = match &self.shared {
            Some(shared) if shared.slots != self.slot_count() => Some(shared.mark),
            _ => None,
        };
        // There are new rules or hooks. That the map's registers are not too many is known.
        let _ = mark.map(|mark| self.share(mark));
        for index in 0..self.faces().len() {
            let face = &self.faces()[index];
            let (key, place) = (face.key, face.place());
            let now = self.memory.get(&face.shape, key.1);
            if now == face.shown {
                continue;
            }
            let written = now & !face.mark;
            let Some(shared) = &mut self.shared else { return };
            shared.faces[index].shown = now;
            if self.gone != Some(Gone::Ones) {
                shared.noticed.push((key, written));
                for part in self.parts(&place) {
                    self.after_write(&part, &place, written);
                }
            }
            self.present_face(index);
        }
        self.drive();
    }

    /// Lets the memory show others what their reads give.
    pub fn present(&mut self) {
        let all = std::mem::take(&mut self.touched);
        for index in 0..self.faces().len() {
            if all || self.faces()[index].assigned {
                self.present_face(index);
            }
        }
    }

    /// The same where one register lies.
    pub fn present_place(&mut self, key: Key) {
        if let Some(index) = self.face_at(key) {
            self.present_face(index);
        }
    }

    /// The memory is as after a reset, whatever others had written.
    pub fn forget_faces(&mut self) {
        self.touched = true;
        let Some(shared) = &mut self.shared else { return };
        for face in &mut shared.faces {
            face.shown = self.memory.get(&face.shape, face.key.1);
        }
    }

    /// There are new rules: they may be on registers that were plain memory.
    pub fn outdate_faces(&mut self) {
        self.touched = true;
        if let Some(shared) = &mut self.shared {
            shared.slots = 0;
        }
    }

    /// The index of the face that a register lies in.
    fn face_at(&self, key: Key) -> Option<usize> {
        let region = self.kind(key).shape.region;
        let place = (region, key.1);
        let found = self.faces().partition_point(|face| (face.shape.region, face.end()) <= place);
        let face = self.faces().get(found)?;
        (face.shape.region == region && face.key.1 <= key.1).then_some(found)
    }

    fn present_face(&mut self, index: usize) {
        let face = &self.faces()[index];
        let new = self.face_value(face);
        if new == face.shown {
            return;
        }
        // Where somebody writes this very moment, that write is what is seen next.
        let shown = self.memory.replace(&face.shape, face.key.1, face.shown, new);
        if let Some(shared) = &mut self.shared {
            shared.faces[index].shown = shown;
        }
    }

    /// What a read of a word gives: of registers that share a place, the first counts.
    fn face_value(&self, face: &Face) -> u64 {
        let word = face.shape.word;
        if face.alone && self.kind(face.key).cell.shown != 0 {
            return self.shown(face.key) | face.mark;
        }
        let mut parts = self.parts(&face.place());
        parts.retain(|part| self.kind(part.key).cell.shown != 0);
        if parts.is_empty() {
            return UNREAD & word.width.mask();
        }
        parts.iter().rev().fold(0, |value, Part { key, word: own, .. }| {
            let lanes = carry(*own, key.1, u64::MAX, word, face.key.1);
            value & !lanes | carry(*own, key.1, self.shown(*key), word, face.key.1)
        })
    }

    fn faces(&self) -> &[Face] {
        self.shared.as_ref().map_or(&[], |shared| &shared.faces)
    }
}
