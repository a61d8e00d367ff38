//! What a mock holds, and how software and the device change it.

use std::cell::{Cell as Counter, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::BuildHasherDefault;
use std::ops::Range;
use std::sync::Arc;

use super::Place;
use super::cell::Bits;
use super::clock::Clock;
use super::kind::{self, Kind};
use super::line::Line;
use super::memory::Memory;
use super::parts::Part;
use super::play::Due;
use super::shared::Shared;
use super::slot::{Key, Mix, Slot};
use crate::map::{self, Action, Behaviour, Expression, Map, OnWrite, Target, Trigger, mask};

/// Maps have no rules that assign in a ring, or so deep; rules that tests add one by one may. What is there counts then.
const DEEPEST: usize = 64;

pub(super) struct State {
    pub map: Arc<Map>,
    pub memory: Memory,
    pub clock: Clock,
    pub line: Line,
    pub rules: Vec<Arc<Behaviour>>,
    /// Of each register, by its number.
    pub kinds: Vec<Kind>,
    slots: HashMap<Key, Slot, BuildHasherDefault<Mix>>,
    /// Rules that drive the interrupt line.
    pub levels: Vec<usize>,
    pub timers: BinaryHeap<Reverse<Due>>,
    /// Counts timers, to keep those of one moment in order.
    pub serial: u64,
    /// What rules assign, by the place of the rule and of its action, while it is worked out: each once, however many
    /// others ask for it.
    assigned: RefCell<HashMap<(usize, usize), Option<u64>>>,
    /// How many of those ask for each other.
    depth: Counter<usize>,
    /// The whole device is gone.
    pub gone: Option<Gone>,
    /// Other processes map the memory.
    pub shared: Option<Shared>,
    /// A read may give something else than what was shown last.
    pub touched: bool,
    /// How many accesses through views have begun and are not done: of one instruction.
    #[cfg(feature = "python")]
    pub steps: u32,
}

/// How a device is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Accesses fail on the bus.
    Fault,
    /// Reads give all ones, and writes do nothing.
    Ones,
}

impl State {
    pub fn new(map: Arc<Map>, memory: Memory, clock: Clock, line: Line) -> State {
        let mut kinds = Vec::new();
        for (index, region) in map.regions.iter().enumerate() {
            kind::add(&region.nodes, index, &mut kinds);
        }
        let mut state = State {
            map: map.clone(),
            memory,
            clock,
            line,
            rules: Vec::new(),
            kinds,
            slots: HashMap::default(),
            levels: Vec::new(),
            timers: BinaryHeap::new(),
            serial: 0,
            assigned: RefCell::default(),
            depth: Counter::new(0),
            gone: None,
            shared: None,
            touched: false,
            #[cfg(feature = "python")]
            steps: 0,
        };
        for region in &map.regions {
            kind::find_shared(region, &mut state.kinds);
        }
        state.add_rules(map.behaviour.iter().cloned());
        state
    }

    pub fn kind(&self, key: Key) -> &Kind {
        &self.kinds[key.0 as usize]
    }

    pub fn slot(&self, key: Key) -> Option<&Slot> {
        self.slots.get(&key)
    }

    pub fn slot_mut(&mut self, key: Key) -> &mut Slot {
        self.touched = true;
        self.slots.entry(key).or_default()
    }

    /// What a register holds, as the device itself sees it.
    pub fn bits(&self, key: Key) -> Bits {
        self.bits_under(key, u64::MAX)
    }

    /// What the bits under a mask hold; others may be without what rules assign to them.
    fn bits_under(&self, key: Key, mask: u64) -> Bits {
        let kind = self.kind(key);
        let slot = self.slot(key);
        let only_hidden = kind.cell.hidden & !kind.cell.shown;
        let value = match slot.and_then(|slot| slot.value) {
            Some(value) => value,
            None if kind.backed && !slot.is_some_and(|slot| slot.apart) => {
                self.memory.get(&kind.shape, key.1)
            }
            None if kind.cell.fifo.is_some() => 0,
            None => kind.initial,
        };
        Bits {
            value: self.assigned(key, value & !only_hidden, mask),
            hidden: slot.and_then(|slot| slot.hidden).unwrap_or(kind.initial & only_hidden),
            spent: slot.map_or(0, |slot| slot.spent),
        }
    }

    /// The value with what rules assign to the bits under a mask.
    fn assigned(&self, key: Key, mut value: u64, mask: u64) -> u64 {
        let Some(slot) = self.slot(key).filter(|slot| !slot.assigned.is_empty()) else { return value };
        for rule in &slot.assigned {
            for (index, action) in self.rules[*rule].actions.iter().enumerate() {
                if let Action::Set(target, expression) = action {
                    if self::key(target) == key && target.mask() & mask != 0 {
                        if let Some(new) = self.work_out((*rule, index), expression) {
                            value = value & !target.mask() | new << target.lsb & target.mask();
                        }
                    }
                }
            }
        }
        value
    }

    /// What a rule assigns; None where that is asked for while it is worked out.
    fn work_out(&self, place: (usize, usize), expression: &Expression) -> Option<u64> {
        let depth = self.depth.get();
        if let Some(known) = self.assigned.borrow().get(&place) {
            return *known;
        }
        if depth >= DEEPEST {
            return None;
        }
        self.assigned.borrow_mut().insert(place, None);
        self.depth.set(depth + 1);
        let value = self.value(expression, 0, 0);
        self.depth.set(depth);
        match depth {
            0 => self.assigned.borrow_mut().clear(),
            _ => drop(self.assigned.borrow_mut().insert(place, Some(value))),
        }
        Some(value)
    }

    /// What a read of the register gives.
    pub fn shown(&self, key: Key) -> u64 {
        let value = self.visible(key);
        match self.slot(key) {
            Some(slot) => value & !slot.stuck.0 | slot.stuck.1,
            None => value,
        }
    }

    /// What a read of the register gives where nothing is stuck.
    pub fn visible(&self, key: Key) -> u64 {
        let kind = self.kind(key);
        let slot = self.slot(key);
        let value = match (kind.cell.fifo, kind.aliases.first()) {
            (Some(_), _) => slot.and_then(|slot| slot.received.front().copied()).unwrap_or(0),
            (None, None) => self.bits(key).value,
            (None, Some((_, name))) => {
                self.beside(key, name).map_or(0, |target| self.bits(self::key(&target)).value)
            }
        };
        value & kind.cell.shown
    }

    /// Keeps what a register holds, and lets the memory show it.
    pub fn keep(&mut self, key: Key, bits: Bits) {
        self.touched = true;
        let kind = &self.kinds[key.0 as usize];
        let apart = self.slots.get(&key).is_some_and(|slot| slot.apart);
        let (backed, hides) = (kind.backed && !apart, kind.cell.hidden != 0);
        if backed {
            self.memory.set(&kind.shape, key.1, bits.value);
        }
        if !backed || hides || bits.spent != 0 {
            let slot = self.slots.entry(key).or_default();
            if !backed {
                slot.value = Some(bits.value);
            }
            if hides {
                slot.hidden = Some(bits.hidden);
            }
            slot.spent = bits.spent;
        }
    }

    /// What a register or field holds.
    pub fn held(&self, target: &Target) -> u64 {
        let key = key(target);
        let cell = &self.kind(key).cell;
        let bits = self.bits_under(key, target.mask());
        let only_hidden = cell.hidden & !cell.shown;
        let value = match cell.fifo {
            Some(_) => self.shown(key),
            None => bits.value & !only_hidden | bits.hidden & only_hidden,
        };
        target.cut(value)
    }

    /// The device itself changes a register or field. Bits beyond the target are cut off.
    pub fn set(&mut self, target: &Target, value: u64) {
        let key = key(target);
        let cell = &self.kind(key).cell;
        let mask = target.mask();
        let hidden = mask & cell.hidden & !cell.shown;
        let mut bits = self.bits(key);
        let value = value << target.lsb;
        bits.value = bits.value & !(mask & !hidden) | value & mask & !hidden;
        bits.hidden = bits.hidden & !hidden | value & hidden;
        self.keep(key, bits);
    }

    /// A word comes into a FIFO. One that is full loses it.
    pub fn push(&mut self, key: Key, word: u64) -> bool {
        let depth = self.kind(key).cell.fifo.unwrap_or(0);
        let slot = self.slot_mut(key);
        let room = depth == 0 || slot.received.len() < depth;
        match room {
            true => slot.received.push_back(word),
            false => slot.lost += 1,
        }
        self.show(key);
        room
    }

    /// Lets the memory show what a read would give.
    pub fn show(&mut self, key: Key) {
        if self.slot(key).is_some_and(|slot| slot.apart) {
            return self.present_place(key);
        }
        let kind = self.kind(key);
        if kind.cell.shown != 0 {
            self.memory.set(&kind.shape, key.1, self.shown(key));
        }
    }

    /// Software has read a part of a register; `value` is what the access gave.
    pub fn after_read(&mut self, part: &Part, place: &Place, value: u64) {
        self.touched = true;
        let key = part.key;
        let kind = self.kind(key);
        if kind.cell.fifo.is_some() {
            if place.ends() {
                self.slot_mut(key).received.pop_front();
                self.show(key);
            }
        } else if !kind.cell.pure() {
            let mut bits = self.bits(key);
            bits.value = self.kind(key).cell.read(bits.value, part.lanes);
            self.keep(key, bits);
        }
        if !place.ends() {
            return;
        }
        let (value, lanes) = (part.all(value, place), part.meant(place));
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let triggered = slot.on_read.clone();
        let mut ready = Vec::new();
        slot.waiting.retain_mut(|waiting| {
            waiting.left -= 1;
            if waiting.left == 0 {
                ready.push((waiting.rule, waiting.written, waiting.old));
            }
            waiting.left > 0
        });
        for (rule, written, old) in ready {
            let rule = self.rules[rule].clone();
            self.perform(&rule, written, old);
        }
        for index in triggered {
            let rule = self.rules[index].clone();
            let Trigger::Read(parts) = &rule.trigger else { continue };
            let meant = |target: &&Target| self::key(target) == key && target.mask() & lanes != 0;
            for target in parts.iter().filter(meant) {
                self.trigger(index, &rule, 0, target.cut(value));
            }
        }
    }

    /// Software has written to a part of a register; `value` is what the access took.
    pub fn after_write(&mut self, part: &Part, place: &Place, value: u64) {
        self.touched = true;
        let (key, lanes) = (part.key, part.lanes);
        let written = part.all(value, place);
        let old = self.bits(key);
        let kind = self.kind(key);
        let hidden = kind.cell.hidden & !kind.cell.shown;
        let aliased = kind.aliases.clone();
        let reach = kind.cell.writable() & lanes;
        match kind.cell.fifo {
            Some(depth) if place.ends() => {
                let slot = self.slots.entry(key).or_default();
                match depth == 0 || slot.sending() < depth {
                    true => slot.sent.push_back(written & part.meant(place)),
                    false => slot.lost += 1,
                }
            }
            Some(_) => {}
            None => {
                let new = kind.cell.written(old, written, lanes);
                self.keep(key, new);
            }
        }
        for (effect, name) in aliased {
            self.act_on_alias(key, &name, effect, written, reach);
        }
        let before = old.value & !hidden | old.hidden & hidden;
        let Some(slot) = self.slots.get_mut(&key).filter(|slot| !slot.on_write.is_empty()) else { return };
        if place.begins() {
            slot.begun = before;
        }
        if place.ends() {
            let (before, rules) = (slot.begun, slot.on_write.clone());
            self.set_off(key, rules, part.meant(place), written, before);
        }
    }

    /// The world outside has changed a register: `mask` are its bits that may have changed. Of a FIFO, a word came, and
    /// `old` is how many waited before it.
    pub fn after_input(&mut self, key: Key, mask: u64, new: u64, old: u64) {
        let rules = self.slots.get(&key).map_or(Vec::new(), |slot| slot.on_input.clone());
        self.set_off(key, rules, mask, new, old);
    }

    /// Sets those of some rules off that look at the bits under a mask, and at the value that these now have.
    fn set_off(&mut self, key: Key, rules: Vec<usize>, mask: u64, new: u64, old: u64) {
        for index in rules {
            let rule = self.rules[index].clone();
            let (Trigger::Written(parts) | Trigger::Input(parts)) = &rule.trigger else { continue };
            let meant = parts.iter().find(|(target, wanted)| {
                self::key(target) == key
                    && target.mask() & mask != 0
                    && wanted.is_none_or(|wanted| wanted == target.cut(new))
            });
            if let Some((target, _)) = meant {
                self.trigger(index, &rule, target.cut(new), target.cut(old));
            }
        }
    }

    /// A write to an alias acts on the bits of its register.
    fn act_on_alias(&mut self, key: Key, name: &str, effect: OnWrite, written: u64, reach: u64) {
        let Some(target) = self.beside(key, name) else { return };
        let key = self::key(&target);
        let mut bits = self.bits(key);
        let reach = reach & mask(target.width);
        bits.value = bits.value & !reach | effect.apply(bits.value, written, reach);
        self.keep(key, bits);
    }

    /// The register of a name beside another one, and of the same index. The map has checked that they repeat alike.
    fn beside(&self, key: Key, name: &str) -> Option<Target> {
        let path = self.map.path_of(self.kind(key).shape.region, key.0, key.1)?;
        self.map.target(&map::beside(&path, name)).ok()
    }

    /// Everything is as after the device's reset. Rules, hooks and faults stay; what waits is forgotten.
    pub fn reset(&mut self) {
        // It could be filled before, so it can now.
        let _ = self.memory.fill(&self.map);
        self.forget_faces();
        for slot in self.slots.values_mut() {
            (slot.value, slot.hidden, slot.spent) = (None, None, 0);
            slot.received.clear();
            slot.sent.clear();
            slot.left = 0;
            slot.waiting.clear();
        }
        let rules = &self.rules;
        self.timers.retain(|due| matches!(rules[due.0.rule].trigger, Trigger::Every(_)));
    }

    /// Whether a region has registers that are more than memory to one who reads and writes it.
    #[cfg(feature = "python")]
    pub fn behaves(&self, region: usize) -> bool {
        let writable = self.map.regions[region].access.writable();
        let kinds = self.kinds.iter().filter(|kind| kind.shape.region == region);
        kinds.into_iter().any(|kind| !kind.backed || writable && !kind.cell.plain)
            || self.slots.keys().any(|key| self.kind(*key).shape.region == region)
    }

    /// The registers in a span, each with the span's bits in it.
    pub fn keys_in(&self, region: usize, span: Range<u64>) -> Vec<Key> {
        let mut keys = Vec::new();
        self.map.regions[region].each_in(span, &mut |register, offset| keys.push((register.id, offset)));
        keys
    }

    /// The registers that have something beside the memory.
    pub fn slot_keys(&self) -> Vec<Key> {
        self.slots.keys().copied().collect()
    }

    /// How many they are.
    pub fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// All that have something beside the memory.
    pub fn slots_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.touched = true;
        self.slots.values_mut()
    }
}

pub(super) fn key(target: &Target) -> Key {
    (target.register, target.offset)
}
