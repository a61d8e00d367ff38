//! What a read and a write do to a register's bits: the one definition of each effect, and what follows from it for
//! writing one field without harm to the others.

use std::fmt;

use super::model::{Access, Field, OnRead, OnWrite, Register, Reserved};

impl OnWrite {
    /// What to write to a bit so that nothing happens to it. None where every write does something.
    pub const fn neutral(self) -> Option<bool> {
        match self {
            OnWrite::OneToClear | OnWrite::OneToSet | OnWrite::OneToToggle => Some(false),
            OnWrite::ZeroToClear | OnWrite::ZeroToSet | OnWrite::ZeroToToggle => Some(true),
            OnWrite::Clear | OnWrite::Set | OnWrite::Modify => None,
        }
    }

    /// The bits under `mask` after `written` was written to them when they were `old`; other bits are 0.
    /// For [`OnWrite::Modify`], whose effect the map does not tell, what was written.
    pub const fn apply(self, old: u64, written: u64, mask: u64) -> u64 {
        mask & match self {
            OnWrite::OneToClear => old & !written,
            OnWrite::OneToSet => old | written,
            OnWrite::OneToToggle => old ^ written,
            OnWrite::ZeroToClear => old & written,
            OnWrite::ZeroToSet => old | !written,
            OnWrite::ZeroToToggle => old ^ !written,
            OnWrite::Clear => 0,
            OnWrite::Set => u64::MAX,
            OnWrite::Modify => written,
        }
    }

    /// As map files spell it.
    pub const fn name(self) -> &'static str {
        match self {
            OnWrite::OneToClear => "one-to-clear",
            OnWrite::OneToSet => "one-to-set",
            OnWrite::OneToToggle => "one-to-toggle",
            OnWrite::ZeroToClear => "zero-to-clear",
            OnWrite::ZeroToSet => "zero-to-set",
            OnWrite::ZeroToToggle => "zero-to-toggle",
            OnWrite::Clear => "clear",
            OnWrite::Set => "set",
            OnWrite::Modify => "modify",
        }
    }
}

impl OnRead {
    /// The bits under `mask` after a read when they were `old`; other bits are 0. Where the map does not tell the
    /// effect, they stay.
    pub const fn apply(self, old: u64, mask: u64) -> u64 {
        mask & match self {
            OnRead::Clear => 0,
            OnRead::Set => u64::MAX,
            OnRead::Modify | OnRead::ModifyExternal => old,
        }
    }

    /// As map files spell it.
    pub const fn name(self) -> &'static str {
        match self {
            OnRead::Clear => "clear",
            OnRead::Set => "set",
            OnRead::Modify => "modify",
            OnRead::ModifyExternal => "modify-external",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            OnRead::Clear => "clears it",
            OnRead::Set => "sets it",
            OnRead::Modify => "changes it",
            OnRead::ModifyExternal => "changes something in the device",
        }
    }
}

/// How a register's fields are written without harm to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WritePlan {
    /// Load the register first.
    pub load: bool,
    /// The bits written back as they were loaded.
    pub keep: u64,
    /// The value of all other bits but the fields': neutral values.
    pub fixed: u64,
}

/// Why some fields of a register cannot be written by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The field in the way; None for bits that no field covers.
    pub field: Option<String>,
    /// What is with it.
    pub reason: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = self.field.as_deref().unwrap_or("the bits that no field covers");
        write!(
            f,
            "this would also write {whom}, {}; name it in modify() too, or write() the whole register: encode() makes its value",
            self.reason
        )
    }
}

/// What becomes of bits that a write does not name.
enum Unnamed {
    Keep,
    Fixed(bool),
    Refused(&'static str),
}

impl Register {
    /// What a read changes: by the register itself, or by the first field that says so.
    pub fn read_effect(&self) -> Option<OnRead> {
        if !self.access.readable() {
            return None;
        }
        self.on_read.or_else(|| self.fields.iter().find_map(|field| field.on_read))
    }

    /// What a read changes, in words.
    pub fn describe_read_effect(&self) -> Option<String> {
        let effect = self.read_effect()?;
        if self.fifo.is_some() {
            return Some("reading takes a word from the FIFO".into());
        }
        let fields: Vec<_> = self.fields.iter().filter(|field| field.on_read.is_some()).collect();
        match (fields.as_slice(), self.on_read) {
            ([], _) | (_, Some(_)) => Some(format!("reading {}", effect.words())),
            (some, None) => {
                let names: Vec<_> = some.iter().map(|field| field.name.as_str()).collect();
                Some(format!("reading {} ({})", effect.words(), names.join(", ")))
            }
        }
    }

    /// How to write the fields under `named` and spare all others.
    ///
    /// A register that can be read without a side effect is loaded, always: one load and one store. One that cannot is
    /// only stored to, which needs a neutral value for every bit that is not named.
    ///
    /// # Errors
    /// Some bit that is not named has no neutral value.
    pub fn write_plan(&self, named: u64) -> Result<WritePlan, Refusal> {
        let load = self.access.readable() && self.read_effect().is_none();
        let mut plan = WritePlan { load, keep: 0, fixed: 0 };
        let mut covered = 0;
        for field in &self.fields {
            let mask = field.mask();
            // Two fields share bits only if one is for reads and one for writes: the latter decides.
            let shadowed = !field.access.writable()
                && self.fields.iter().any(|other| other.access.writable() && other.mask() & mask != 0);
            covered |= mask;
            if mask & !named == 0 || shadowed {
                continue;
            }
            plan.add(self.unnamed(field, load), mask, Some(field))?;
        }
        let rest = self.width.mask() & !covered & !named;
        if rest != 0 {
            let unnamed = match (self.reserved, self.on_write) {
                (Reserved::Zero, _) => Unnamed::Fixed(false),
                (Reserved::One, _) => Unnamed::Fixed(true),
                // They act like their neighbours, where they act at all. Where every write has an effect there is
                // nothing to spare: the write that is asked for has it too.
                (Reserved::Preserve, Some(effect)) => Unnamed::Fixed(matches!(effect.neutral(), Some(true))),
                (Reserved::Preserve, None) if load => Unnamed::Keep,
                (Reserved::Preserve, None) => Unnamed::Fixed(false),
            };
            plan.add(unnamed, rest, None)?;
        }
        plan.fixed &= !named;
        plan.keep &= !named;
        Ok(plan)
    }

    fn unnamed(&self, field: &Field, load: bool) -> Unnamed {
        if !field.access.writable() || !self.access.writable() {
            // The device ignores what is written to it.
            return if load { Unnamed::Keep } else { Unnamed::Fixed(false) };
        }
        if matches!(field.access, Access::ReadWriteOnce | Access::WriteOnce) {
            // Even the value that does nothing would be the one write.
            return Unnamed::Refused("which can be written only once");
        }
        if let Some(effect) = field.on_write {
            return match effect.neutral() {
                Some(neutral) => Unnamed::Fixed(neutral),
                None => Unnamed::Refused("and any write to it has an effect"),
            };
        }
        if field.self_clear {
            return Unnamed::Fixed(false);
        }
        match field.access {
            Access::WriteOnly => Unnamed::Refused("which cannot be read, so what it holds is not known"),
            _ if !self.access.readable() => {
                Unnamed::Refused("which cannot be read, so what it holds is not known")
            }
            _ if !load => {
                Unnamed::Refused("which would have to be read first, and a read has a side effect here")
            }
            _ => Unnamed::Keep,
        }
    }
}

impl WritePlan {
    fn add(&mut self, unnamed: Unnamed, mask: u64, field: Option<&Field>) -> Result<(), Refusal> {
        match unnamed {
            Unnamed::Keep => self.keep |= mask,
            Unnamed::Fixed(true) => self.fixed |= mask,
            Unnamed::Fixed(false) => {}
            Unnamed::Refused(reason) => {
                return Err(Refusal { field: field.map(|field| field.name.clone()), reason });
            }
        }
        Ok(())
    }
}
