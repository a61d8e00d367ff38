//! Trapped memory: somebody is told of each access to it, also of those that are no call of ours but an index into a
//! memoryview.
//!
//! The pages allow nothing, so an access faults. The handler of the fault guard says that it begins, lets the one
//! instruction run by itself (the processor's trap flag), and says that it is done. Meanwhile the pages stay closed, for
//! other threads may be at them: the instruction runs over a second mapping of the same memory, to which the register
//! that its address hangs on is moved. An instruction whose address cannot be moved so (see `operand.rs`: a register
//! stored at the place it points to, a gather, one that touches two spans with one operand) has its pages opened for the
//! step; an access that another thread makes to that page within that microsecond or two is not told of.
//!
//! An access costs two signals, about 5 microseconds; twice that where a page is opened.
//!
//! What is not told exactly: an instruction that reads and writes at one place (`add [m], 1`) is one write; one wider
//! than a register, as memcpy's, is one access at its first byte; one that begins outside the span on the same page is
//! let through untold, as is all on those pages that lies outside. Where a page is opened, an access that crosses its end
//! is told per page, and a second one by the same instruction to the same page (a gather) is not told. A masked vector
//! store is one access at the address that the processor tells, whichever of its items are stored.
//!
//! `rep movs` and its like are told item by item, and carried out in the handler, for C libraries copy by them (see
//! `string.rs`).
//!
//! A system call over trapped memory, such as read(2) into a view, is no access by an instruction: it fails with EFAULT.
//! An instruction that reads or sets the trap flag itself, or holds it back, while its operand is trapped memory (`pushf`,
//! `popf`, `pop ss`) takes a stack there, and nobody has one.
//!
//! A handler of SIGSEGV or SIGTRAP put above ours must hand on what is not its own; each new trap goes back on top.
//!
//! aarch64 has no single step from user space. There the handler would carry out the load or store itself: decode the
//! instruction (ESR_EL1's syndrome is in the context), do it over the second mapping, set the register, step over it.
#![allow(unsafe_code)] // Page protection, signal contexts, and memory that Rust does not own.

use std::fmt;
use std::io;
use std::sync::Arc;

#[cfg(traps)]
mod hold;
#[cfg(traps)]
mod operand;
#[cfg(traps)]
mod spans;
#[cfg(traps)]
mod stack;
#[cfg(traps)]
mod step;
#[cfg(traps)]
mod string;
#[cfg(all(test, traps))]
mod tests;

#[cfg(traps)]
pub(super) use {spans::forked, step::take};

/// Told of each access to trapped memory, in the thread that makes it, from inside a signal handler.
///
/// Between `before` and `after` the thread holds the one lock of all traps, with signals blocked. So neither may touch
/// trapped memory of any span, make or drop a [`Trap`] (each ends the process with a message), allocate, unwind, or wait
/// for a lock whose holder may touch trapped memory. They run on a stack of their own, of 8 MiB.
pub(crate) trait Watch: Send + Sync {
    /// An access is about to begin at this offset (bytes from the start of the trapped span).
    fn before(&self, offset: usize, write: bool);
    /// It is done. So is one that had begun when its instruction met a fault of its own elsewhere.
    fn after(&self, offset: usize, write: bool);
}

/// Whether this build and machine can trap.
pub(crate) const TRAPS: bool = cfg!(traps);

/// Memory whose every access is trapped, until dropped.
///
/// When it is dropped, the pages have their protection back (`PROT_READ | PROT_WRITE` or `PROT_READ`), and no step is
/// under way. Accesses that wait for their turn then are made, untold.
pub(crate) struct Trap {
    #[cfg(traps)]
    entry: &'static spans::Entry,
}

impl Trap {
    /// Traps all pages that `size` bytes from `start` touch. With `writable` a store is let through; else it is a
    /// fault, as in any read-only mapping.
    ///
    /// # Errors
    /// `Unsupported` where [`TRAPS`] is false; `InvalidInput` without any bytes; `AddrInUse` where one of the pages
    /// is trapped already; what mmap, mremap, mprotect and sigaction say.
    ///
    /// # Safety
    /// The bytes are (part of) one live shared mapping with the protection that `writable` says, which stays, as it is,
    /// until the trap is dropped.
    #[cfg(traps)]
    pub(crate) unsafe fn new(
        start: *mut u8,
        size: usize,
        writable: bool,
        watch: Arc<dyn Watch>,
    ) -> io::Result<Trap> {
        if size == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no bytes to trap"));
        }
        super::prepare()?;
        super::guard::install_steps()?;
        // SAFETY: the caller's promise.
        Ok(Trap { entry: unsafe { spans::insert(start as usize, size, writable, watch)? } })
    }

    /// # Errors
    /// `Unsupported`, always: this build or machine cannot trap.
    ///
    /// # Safety
    /// None is needed.
    #[cfg(not(traps))]
    pub(crate) unsafe fn new(_: *mut u8, _: usize, _: bool, _: Arc<dyn Watch>) -> io::Result<Trap> {
        let reason = "accesses through a view are seen only on x86_64 Linux, in a build with the fault guard";
        Err(io::Error::new(io::ErrorKind::Unsupported, reason))
    }
}

impl fmt::Debug for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trap")
    }
}

#[cfg(traps)]
impl Drop for Trap {
    fn drop(&mut self) {
        spans::remove(self.entry);
    }
}
