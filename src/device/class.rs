//! What all registers of one description share, whichever device they are of.

use crate::map::{self, BusAccess, Field};

/// What all registers of one description share: the description, and the rules that follow from it.
#[derive(Debug)]
pub struct RegisterClass {
    info: map::Register,
    pub(super) rules: Rules,
    /// What a read or a write is on the bus, where it is not the one access of the register's width.
    pub(super) plan: Option<Box<[BusAccess]>>,
}

/// What a field write must do, worked out once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Load before the store.
    pub load: bool,
    /// Bits that are written back as they were read, unless they are named.
    pub keep: u64,
    /// What the other bits get, unless they are named: neutral values.
    pub fixed: u64,
    /// Bits that nothing can be written to safely: all of them must be named.
    pub blocked: u64,
    /// Bits of fields that cannot be written. Of two fields that share bits, the one for writes is meant.
    pub locked: u64,
}

impl RegisterClass {
    /// Works out the rules of a register.
    pub fn new(info: map::Register) -> RegisterClass {
        let all = info.width.mask();
        // What is refused when everything else is named is what stands in the way.
        let blocked = info
            .fields
            .iter()
            .map(Field::mask)
            .filter(|mask| info.write_plan(all & !mask).is_err())
            .fold(0, |blocked, mask| blocked | mask);
        let bits = |writable: bool| {
            let fields = info.fields.iter().filter(|field| field.access.writable() == writable);
            fields.fold(0, |all, field| all | field.mask())
        };
        let locked = bits(false) & !bits(true);
        let rules = match info.write_plan(blocked) {
            Ok(plan) => Rules { load: plan.load, keep: plan.keep, fixed: plan.fixed, blocked, locked },
            // Bits no field covers stand in the way: every field write asks the map, which refuses with the reason.
            Err(_) => Rules { load: false, keep: 0, fixed: 0, blocked: all, locked },
        };
        // Alias registers are looked for on the long way.
        let rules = match info.aliases == map::Aliases::default() {
            true => rules,
            false => Rules { blocked: all, ..rules },
        };
        let plan = info.accesses();
        let plan = (plan.len() > 1).then(|| plan.into_boxed_slice());
        RegisterClass { info, rules, plan }
    }

    /// The description.
    pub fn info(&self) -> &map::Register {
        &self.info
    }
}
