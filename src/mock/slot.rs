//! What a mock keeps of one register beside the memory.

use std::collections::VecDeque;
use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;

use crate::map::Target;

/// A register by its number in the map and its offset in its region, in bytes.
pub(super) type Key = (u32, u64);

/// Kept only for registers that have something to keep.
#[derive(Default)]
pub(super) struct Slot {
    /// What it holds, where the memory cannot tell.
    pub value: Option<u64>,
    /// What was written to bits that cannot be read.
    pub hidden: Option<u64>,
    pub spent: u64,
    /// What it held before the last write of it began, which takes several accesses perhaps.
    pub begun: u64,
    /// The memory only shows what it holds: another process may write there.
    pub apart: bool,
    /// Words for software to read.
    pub received: VecDeque<u64>,
    /// Words that software has written.
    pub sent: VecDeque<u64>,
    /// How many of those, the oldest, have left the FIFO.
    pub left: usize,
    /// Words that found a FIFO full.
    pub lost: u64,
    pub read_hooks: Vec<Attached>,
    pub write_hooks: Vec<Attached>,
    /// Rules, by their place in the list of them.
    pub assigned: Vec<usize>,
    pub on_write: Vec<usize>,
    pub on_read: Vec<usize>,
    pub on_input: Vec<usize>,
    /// Rules that wait for reads of this register.
    pub waiting: Vec<Waiting>,
    /// Bits that do not change, and what they are.
    pub stuck: (u64, u64),
    pub broken: Option<Broken>,
}

impl Slot {
    /// How many words that software has written are still in the FIFO.
    pub fn sending(&self) -> usize {
        self.sent.len() - self.left
    }

    /// The oldest word that software has written and nobody has taken yet.
    pub fn take(&mut self) -> Option<u64> {
        self.left = self.left.saturating_sub(1);
        self.sent.pop_front()
    }
}

/// A rule that acts after so many more reads.
pub(super) struct Waiting {
    pub left: u64,
    pub rule: usize,
    pub written: u64,
    pub old: u64,
}

/// How an access fails, instead of what it would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// How many more accesses; None for all.
    pub left: Option<u64>,
    /// Those that reach one of these bits.
    pub mask: u64,
}

/// Why a hook failed: whatever its own language has for it.
pub type HookError = Box<dyn std::error::Error + Send + Sync>;

/// Code of the test, run at an access: it gets the value read or written, and may give the value to hold instead.
pub type Hook = Arc<dyn Fn(u64) -> Result<Option<u64>, HookError> + Send + Sync>;

/// A hook, and the register or field it looks at.
#[derive(Clone)]
pub(super) struct Attached {
    pub target: Target,
    pub hook: Hook,
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a hook at {}", self.target.path)
    }
}

/// Mixes a register's number and offset: they are small and ours, and each access looks one up.
#[derive(Default)]
pub(super) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
