//! Runs of a string instruction (`rep movs` and its like), carried out here item by item.
//!
//! To step each item would cost two signals, and C libraries copy by `rep movsb`: one item a byte. So the whole run is
//! done in one handler, with the same telling: each item is one access, in the order of the run.
//!
//! What is not sure to work is left to the step: an item that lies on two pages, one whose memory the kernel says cannot be
//! reached, an address that hangs on a segment. A run thus ends before a fault, which then comes about as ever, with the
//! registers as the processor would have left them.
#![allow(unsafe_code)] // Reads code where it stands, and does the accesses of the program.

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::AtomicU32;

use nix::libc::{self, ucontext_t};

use super::super::arch;
use super::spans::{Access, Entry, find};
use crate::mapping::page_size;

/// Items done at once. Signals wait meanwhile.
const MOST: usize = 1024;

/// Flags, as bits of their register.
const CARRY: i64 = 1;
const PARITY: i64 = 1 << 2;
const ADJUST: i64 = 1 << 4;
const ZERO: i64 = 1 << 6;
const SIGN: i64 = 1 << 7;
const TRAP: i64 = 1 << 8;
const DIRECTION: i64 = 1 << 10;
const OVERFLOW: i64 = 1 << 11;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Move,
    Store,
    Load,
    Compare,
    Scan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    Once,
    Count,
    WhileEqual,
    WhileUnequal,
}

/// A string instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub kind: Kind,
    pub repeat: Repeat,
    /// Bytes of an item.
    pub width: usize,
    /// Bytes of its code.
    pub length: usize,
}

/// The string instruction at `code`; none where it is another, or one whose addresses are not in rsi and rdi alone.
///
/// # Safety
/// `code` is an instruction that the processor has just fetched.
pub(super) unsafe fn of(code: *const u8) -> Option<Instruction> {
    let mut length = 0;
    let mut next = || {
        // SAFETY: no byte is asked for that does not belong to the instruction.
        let byte = unsafe { code.add(length).read() };
        length += 1;
        byte
    };
    let (mut narrow, mut wide, mut prefix) = (false, false, None);
    let opcode = loop {
        match next() {
            0x66 => narrow = true,
            byte @ (0xf2 | 0xf3) => prefix = Some(byte),
            0x26 | 0x2e | 0x36 | 0x3e => {}
            byte @ 0x40..=0x4f => {
                wide = byte & 8 != 0;
                break next();
            }
            byte => break byte,
        }
    };
    let kind = match opcode {
        0xa4 | 0xa5 => Kind::Move,
        0xa6 | 0xa7 => Kind::Compare,
        0xaa | 0xab => Kind::Store,
        0xac | 0xad => Kind::Load,
        0xae | 0xaf => Kind::Scan,
        _ => return None,
    };
    let compares = matches!(kind, Kind::Compare | Kind::Scan);
    let repeat = match prefix {
        None => Repeat::Once,
        Some(0xf3) if compares => Repeat::WhileEqual,
        Some(_) if compares => Repeat::WhileUnequal,
        Some(0xf3) => Repeat::Count,
        Some(_) => return None,
    };
    let width = match opcode & 1 {
        0 => 1,
        _ if wide => 8,
        _ if narrow => 2,
        _ => 4,
    };
    Some(Instruction { kind, repeat, width, length })
}

/// The flags that a comparison leaves, of items of `width` bytes.
pub(super) fn compare(first: u64, second: u64, width: usize) -> i64 {
    let bits = width * 8;
    let mask = u64::MAX >> (64 - bits);
    let result = first.wrapping_sub(second) & mask;
    let top = |value: u64| value >> (bits - 1) & 1 != 0;
    let flag = |set: bool, bit: i64| if set { bit } else { 0 };
    flag(first < second, CARRY)
        | flag((result as u8).count_ones() % 2 == 0, PARITY)
        | flag((first ^ second ^ result) & 0x10 != 0, ADJUST)
        | flag(result == 0, ZERO)
        | flag(top(result), SIGN)
        | flag(top((first ^ second) & (first ^ result)), OVERFLOW)
}

/// One of the two places that a run goes along.
struct Side {
    write: bool,
    /// The page that was last looked at, the trap that it belongs to, and where it can be reached, from here.
    page: Option<usize>,
    entry: Option<&'static Entry>,
    shift: usize,
}

impl Side {
    fn new(write: bool) -> Side {
        Side { write, page: None, entry: None, shift: 0 }
    }

    /// Where the bytes of an item are reached; none where that is not sure.
    ///
    /// # Safety
    /// The lock of all traps is held.
    unsafe fn reach(&mut self, address: usize, width: usize) -> Option<*mut u8> {
        let page = page_size();
        let low = address - address % page;
        if address - low + width > page {
            return None;
        }
        if self.page != Some(low) {
            self.entry = find(Access { address, write: self.write });
            // SAFETY: the caller's promise.
            self.shift = self.entry.map_or(0, |entry| unsafe { entry.span().shift });
            if !reachable(low.wrapping_add(self.shift), self.write) {
                return None;
            }
            self.page = Some(low);
        }
        Some(address.wrapping_add(self.shift) as *mut u8)
    }

    /// Tells the watch of the item at `address` that its access begins, or is `done`.
    ///
    /// # Safety
    /// The lock of all traps is held, and `reach` was asked for this item.
    unsafe fn tell(&self, address: usize, done: bool) {
        let Some(entry) = self.entry else { return };
        let write = self.write;
        // SAFETY: the caller's promise.
        unsafe {
            entry.span().tell(Access { address, write }, |watch, offset| match done {
                false => watch.before(offset, write),
                true => watch.after(offset, write),
            });
        }
    }
}

/// Whether memory can be read or written. The kernel is asked, by calls that look at a word of it and do nothing: an
/// access would be a second signal on a stack that may have no room for it.
fn reachable(address: usize, write: bool) -> bool {
    static NOBODY: AtomicU32 = AtomicU32::new(0);
    /// `*word |= 0`. Somebody who waits for the word may wake by it, which all who use such words are ready for.
    const OR_NOTHING: c_int = libc::FUTEX_OP_OR << 28;
    let (word, ours) = (address as *const u32, NOBODY.as_ptr());
    // SAFETY: neither call changes or waits for anything, and an address that is none is an error of the call.
    let answer = unsafe {
        if write {
            let operation = libc::FUTEX_WAKE_OP | libc::FUTEX_PRIVATE_FLAG;
            libc::syscall(libc::SYS_futex, ours, operation, 0, 0usize, word, OR_NOTHING)
        } else {
            let operation = libc::FUTEX_CMP_REQUEUE | libc::FUTEX_PRIVATE_FLAG;
            libc::syscall(libc::SYS_futex, word, operation, 0, 0usize, ours, 0)
        }
    };
    // SAFETY: this thread's own.
    answer >= 0 || !write && unsafe { *libc::__errno_location() } == libc::EAGAIN
}

/// # Safety
/// As for [`arch::load_8`]: the address may be read, or the access is an error.
unsafe fn load(address: *mut u8, width: usize) -> Option<u64> {
    let mut fault = 0;
    // SAFETY: the caller's promise. The processor does unaligned accesses.
    let value = unsafe {
        match width {
            1 => arch::load_8(address, &mut fault),
            2 => arch::load_16(address, &mut fault),
            4 => arch::load_32(address, &mut fault),
            _ => arch::load_64(address, &mut fault),
        }
    };
    (fault == 0).then_some(value)
}

/// # Safety
/// As for [`load`], for a store.
unsafe fn store(address: *mut u8, width: usize, value: u64) -> Option<()> {
    let mut fault = 0;
    // SAFETY: the caller's promise.
    unsafe {
        match width {
            1 => arch::store_8(address, value, &mut fault),
            2 => arch::store_16(address, value, &mut fault),
            4 => arch::store_32(address, value, &mut fault),
            _ => arch::store_64(address, value, &mut fault),
        }
    }
    (fault == 0).then_some(())
}

/// Carries out as much as is sure of the string instruction that faulted; false where that is nothing.
///
/// # Safety
/// The context is a signal handler's, and this thread holds the lock of all traps.
pub(super) unsafe fn carry(context: *mut ucontext_t) -> bool {
    // SAFETY: the caller's promise; the instruction has faulted at its data.
    unsafe {
        let registers = &mut (*context).uc_mcontext.gregs;
        let Some(instruction) = of(registers[libc::REG_RIP as usize] as *const u8) else { return false };
        // Who steps the program himself wants to see each item.
        if registers[libc::REG_EFL as usize] & TRAP != 0 {
            return false;
        }
        let mut run = Run { instruction, first: Side::new(false), second: Side::new(instruction.writes()) };
        let mut done = 0;
        while done < MOST {
            match run.item(registers) {
                None => break,
                Some(true) => return true,
                Some(false) => done += 1,
            }
        }
        done > 0
    }
}

impl Instruction {
    /// Whether it stores at rdi; the others load there, or nothing.
    fn writes(self) -> bool {
        matches!(self.kind, Kind::Move | Kind::Store)
    }
}

struct Run {
    instruction: Instruction,
    /// At rsi and at rdi.
    first: Side,
    second: Side,
}

impl Run {
    /// Does the next item; returns whether the instruction is through, or none where nothing was done.
    ///
    /// # Safety
    /// As for [`carry`]; the registers are the context's.
    unsafe fn item(&mut self, registers: &mut [i64; 23]) -> Option<bool> {
        const RSI: usize = libc::REG_RSI as usize;
        const RDI: usize = libc::REG_RDI as usize;
        let Instruction { kind, repeat, width, length } = self.instruction;
        let (from, to) = (registers[RSI] as usize, registers[RDI] as usize);
        let at_first = matches!(kind, Kind::Move | Kind::Load | Kind::Compare);
        let at_second = kind != Kind::Load;
        let mask = u64::MAX >> (64 - width * 8);
        let held = registers[libc::REG_RAX as usize] as u64;

        // SAFETY: the lock is held; both places were found to be within reach before they are told of.
        let (read, other) = unsafe {
            let source = if at_first { self.first.reach(from, width)? } else { ptr::null_mut() };
            let target = if at_second { self.second.reach(to, width)? } else { ptr::null_mut() };
            // Beyond the trapped memory the processor goes on by itself.
            if !(at_first && self.first.entry.is_some() || at_second && self.second.entry.is_some()) {
                return None;
            }
            let told = |done: bool| {
                if at_first {
                    self.first.tell(from, done);
                }
                if at_second {
                    self.second.tell(to, done);
                }
            };
            told(false);
            let read = if at_first { load(source, width) } else { Some(held & mask) };
            let other = match read {
                Some(value) if self.instruction.writes() => store(target, width, value).map(|()| 0),
                Some(_) if at_second => load(target, width),
                read => read,
            };
            told(true);
            (read?, other?)
        };

        let by =
            if registers[libc::REG_EFL as usize] & DIRECTION == 0 { width as i64 } else { -(width as i64) };
        if at_first {
            registers[RSI] = registers[RSI].wrapping_add(by);
        }
        if at_second {
            registers[RDI] = registers[RDI].wrapping_add(by);
        }
        if kind == Kind::Load {
            // 32 bits clear those above, narrower ones leave them.
            let kept = if width < 4 { held & !mask } else { 0 };
            registers[libc::REG_RAX as usize] = (kept | read) as i64;
        }
        let flags = compare(read, other, width);
        let equal = flags & ZERO != 0;
        let through = repeat == Repeat::Once || {
            let count = &mut registers[libc::REG_RCX as usize];
            *count = count.wrapping_sub(1);
            *count == 0 || repeat == Repeat::WhileEqual && !equal || repeat == Repeat::WhileUnequal && equal
        };
        if through {
            if matches!(kind, Kind::Compare | Kind::Scan) {
                let all = CARRY | PARITY | ADJUST | ZERO | SIGN | OVERFLOW;
                let register = &mut registers[libc::REG_EFL as usize];
                *register = *register & !all | flags;
            }
            registers[libc::REG_RIP as usize] = registers[libc::REG_RIP as usize].wrapping_add(length as i64);
        }
        Some(through)
    }
}
