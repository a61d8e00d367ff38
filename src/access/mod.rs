//! How one word is touched: exactly one load or store of exactly its width.
//!
//! The rules of device memory, which everything here keeps and nothing above may break:
//!
//! - one call is one access, never repeated, merged, widened or narrowed;
//! - no `&T`, `&[u8]` or slice over device memory outlives a call, and `memcpy` never sees it;
//! - addresses are multiples of the width: the callers check, the functions here only assert.
#![allow(unsafe_code)] // Touching memory that Rust does not own is what this module is for.

mod block;
mod lock;
#[cfg(guarded)]
#[macro_use]
mod site;

// The body of an access: assembly with a fault guard where we have it, a volatile cell elsewhere.
#[cfg_attr(all(target_os = "linux", target_arch = "x86_64"), path = "x86_64.rs")]
#[cfg_attr(all(target_os = "linux", target_arch = "aarch64", target_endian = "little"), path = "aarch64.rs")]
#[cfg_attr(all(target_os = "linux", target_arch = "arm", target_endian = "little"), path = "arm.rs")]
#[cfg_attr(all(target_os = "linux", target_arch = "riscv64"), path = "riscv64.rs")]
#[cfg(guarded)]
mod arch;
#[cfg(not(guarded))]
#[path = "portable.rs"]
mod arch;
#[cfg(guarded)]
mod former;
#[cfg(guarded)]
mod guard;
mod registry;
// Only views are trapped, and they belong to the bindings.
#[cfg_attr(not(all(traps, feature = "python")), allow(dead_code))]
mod trap;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::map::{ByteOrder, Width};

#[cfg(feature = "python")]
pub(crate) use lock::REST;
pub(crate) use lock::{Guard, Held, Lock, Locked, SharedLock};
pub(crate) use registry::{Describe, Line, Registered, enter};
#[cfg(feature = "python")]
pub(crate) use trap::{TRAPS, Trap, Watch};

/// Prepares the process: the fault guard, where there is one, and the watch over forks. Called at each open.
///
/// # Errors
/// What sigaction says.
pub(crate) fn prepare() -> io::Result<()> {
    lock::watch_forks();
    keep_guard()
}

/// Puts the fault guard back where somebody has put a signal handler above it, or blocks its signals in this thread. It
/// costs three system calls: for moments when nobody counts them.
///
/// # Errors
/// What sigaction says.
pub fn keep_guard() -> io::Result<()> {
    #[cfg(guarded)]
    if KEEPING.load(Ordering::Relaxed) {
        guard::keep()?;
    }
    Ok(())
}

/// Whether [`keep_guard`] does anything.
static KEEPING: AtomicBool = AtomicBool::new(true);

/// Leaves the handlers as they are, or no longer: for a tracer, which must see faults before the guard does.
#[cfg(feature = "python")]
pub(crate) fn set_keeping(on: bool) {
    KEEPING.store(on, Ordering::Relaxed);
}

/// Lets a handler that others are about to set know what was there before the guard's, and not the guard's.
///
/// # Errors
/// What sigaction says.
#[cfg(feature = "python")]
pub(crate) fn step_aside() -> io::Result<()> {
    #[cfg(guarded)]
    guard::step_aside()?;
    Ok(())
}

/// As [`keep_guard`], behind a call of which that was to be expected.
///
/// # Errors
/// What sigaction says.
#[cfg(feature = "python")]
pub(crate) fn renew_guard() -> io::Result<()> {
    #[cfg(guarded)]
    guard::renew()?;
    Ok(())
}

/// Who had taken the place of the guard's handler, unnoticed, until [`keep_guard`] found out: for a message, and once.
#[cfg(feature = "python")]
pub(crate) fn displaced() -> Option<String> {
    #[cfg(guarded)]
    return guard::displaced();
    #[cfg(not(guarded))]
    None
}

/// Whether a fault inside an access becomes an error of the access, on this build.
pub const GUARDED: bool = cfg!(guarded);

/// What the processor answered instead of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `SIGBUS` or `SIGSEGV`.
    pub signal: i32,
    /// The signal's `si_code`.
    pub code: i32,
}

/// A fault as one number in a register; 0 is none.
type Packed = usize;

impl Fault {
    /// Codes are small, so that 32 bits are enough.
    #[cfg(guarded)]
    const fn pack(self) -> Packed {
        (self.code as Packed & 0xff_ffff) << 8 | self.signal as Packed
    }

    #[cold]
    const fn unpack(packed: Packed) -> Fault {
        Fault { signal: (packed & 0xff) as i32, code: (packed >> 8) as i32 }
    }
}

/// Whether this machine has a single access of the width: 64 bits are two accesses on a 32-bit one.
pub(crate) const fn single(width: Width) -> bool {
    width.bytes() <= size_of::<usize>()
}

/// Where one word is and how it is touched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    pub address: *mut u8,
    pub width: Width,
    /// The word's byte order is not the machine's.
    pub swap: bool,
}

impl Word {
    pub fn new(address: *mut u8, width: Width, order: ByteOrder) -> Word {
        Word { address, width, swap: order != ByteOrder::NATIVE }
    }

    /// Reads the word: one load.
    ///
    /// # Safety
    /// `address` is a multiple of the width and lies, whole, in a mapping that stays for the call.
    #[inline(always)]
    pub unsafe fn load(self) -> Result<u64, Fault> {
        // SAFETY: the caller's promise.
        let raw = unsafe { load(self.address, self.width)? };
        Ok(if self.swap { swap(raw, self.width) } else { raw })
    }

    /// Writes the word: one store. `value` fits the width.
    ///
    /// # Safety
    /// As for [`Word::load`], and the mapping is writable.
    #[inline(always)]
    pub unsafe fn store(self, value: u64) -> Result<(), Fault> {
        let raw = if self.swap { swap(value, self.width) } else { value };
        // SAFETY: the caller's promise.
        unsafe { store(self.address, self.width, raw) }
    }
}

/// The bytes of a word of this width in the opposite order.
#[inline(always)]
fn swap(value: u64, width: Width) -> u64 {
    value.swap_bytes() >> (64 - width.bits())
}

/// One load of the width.
///
/// # Safety
/// As for [`Word::load`].
#[inline(always)]
unsafe fn load(address: *const u8, width: Width) -> Result<u64, Fault> {
    debug_assert_eq!(address as usize % width.bytes(), 0);
    let mut fault = 0;
    // SAFETY: the caller's promise.
    let value = unsafe {
        match width {
            Width::W8 => arch::load_8(address, &mut fault),
            Width::W16 => arch::load_16(address, &mut fault),
            Width::W32 => arch::load_32(address, &mut fault),
            #[cfg(target_pointer_width = "64")]
            Width::W64 => arch::load_64(address, &mut fault),
            #[cfg(not(target_pointer_width = "64"))]
            Width::W64 => unreachable!("refused by `single`"),
        }
    };
    if fault == 0 { Ok(value) } else { Err(Fault::unpack(fault)) }
}

/// One store of the width.
///
/// # Safety
/// As for [`Word::store`].
#[inline(always)]
unsafe fn store(address: *mut u8, width: Width, value: u64) -> Result<(), Fault> {
    debug_assert_eq!(address as usize % width.bytes(), 0);
    let mut fault = 0;
    // SAFETY: the caller's promise.
    unsafe {
        match width {
            Width::W8 => arch::store_8(address, value, &mut fault),
            Width::W16 => arch::store_16(address, value, &mut fault),
            Width::W32 => arch::store_32(address, value, &mut fault),
            #[cfg(target_pointer_width = "64")]
            Width::W64 => arch::store_64(address, value, &mut fault),
            #[cfg(not(target_pointer_width = "64"))]
            Width::W64 => unreachable!("refused by `single`"),
        }
    }
    if fault == 0 { Ok(()) } else { Err(Fault::unpack(fault)) }
}
