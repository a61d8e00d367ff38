//! A record as a tape keeps it: less than a cache line, for there may be millions.

use super::{Op, Record};
use crate::access::Fault;
use crate::map::Width;

/// Marks that no register is meant.
const NONE: u32 = u32::MAX;

/// One access.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed {
    /// In ticks.
    pub time: u64,
    /// What was read or written; of a fault, its code.
    value: u64,
    mask: u64,
    offset: u64,
    register: u32,
    region: u16,
    /// [`Op`] in bits 1:0, the width in bytes in bits 7:4.
    how: u8,
    /// The signal of a fault, or 0.
    signal: u8,
}

impl Packed {
    #[inline(always)]
    pub fn new(record: &Record, time: u64) -> Packed {
        let op = match record.op {
            Op::Read => 0,
            Op::Write => 1,
            Op::Interrupt => 2,
        };
        let (value, signal) = match record.fault {
            None => (record.value, 0),
            Some(fault) => (fault.code as u64, fault.signal as u8),
        };
        Packed {
            time,
            value,
            mask: record.mask,
            offset: record.offset,
            register: record.register.unwrap_or(NONE),
            // A device has fewer regions; one of more would be seen at once, by the wrong name.
            region: record.region as u16,
            how: op | (record.width.bytes() as u8) << 4,
            signal,
        }
    }

    pub fn record(&self) -> Record {
        let fault = Fault { signal: self.signal.into(), code: self.value as i32 };
        Record {
            time: self.time,
            op: match self.how & 3 {
                0 => Op::Read,
                1 => Op::Write,
                _ => Op::Interrupt,
            },
            region: self.region.into(),
            offset: self.offset,
            width: Width::from_bits(u64::from(self.how >> 4) * 8).unwrap_or(Width::W32),
            register: (self.register != NONE).then_some(self.register),
            value: if self.signal == 0 { self.value } else { 0 },
            mask: self.mask,
            fault: (self.signal != 0).then_some(fault),
        }
    }
}
