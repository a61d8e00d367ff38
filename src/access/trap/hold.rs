//! The one lock of all traps: taken in one signal handler and given back in the next.
#![allow(unsafe_code)] // Signal masks, and the end of the process.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use nix::libc;

use super::super::former::FAULTS;
pub(super) use super::super::former::{Mask, set_mask};
use super::super::lock;

pub(super) const INSIDE: &str = "devregs: while it was told of an access, a device's behaviour touched trapped memory, or made or dropped a trap\n";

/// What waits while an instruction is stepped. To block a fault would be to be killed by it.
pub(super) const STEPPING: Mask = !FAULTS;

/// The lock: 0, or the thread that holds it, with the generation of its process above. After a fork, the holder is
/// not in the child, and its generation is old.
static HOLDER: AtomicU64 = AtomicU64::new(0);

/// This thread, as the lock names it.
pub(super) fn me() -> u64 {
    // SAFETY: asks for a number.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) } as u32;
    u64::from(lock::generation()) << 32 | u64::from(thread)
}

/// Waits for the lock. Signals are blocked: a handler in the holder's thread would wait for itself.
pub(super) fn acquire(me: u64) {
    let mut spins = 0;
    loop {
        let holder = HOLDER.load(Relaxed);
        if holder == me {
            fatal(INSIDE);
        }
        let free = holder >> 32 != me >> 32;
        if free && HOLDER.compare_exchange_weak(holder, me, Acquire, Relaxed).is_ok() {
            return;
        }
        if spins < 100 {
            spins += 1;
            std::hint::spin_loop();
        } else {
            // SAFETY: gives the processor away.
            unsafe { libc::sched_yield() };
        }
    }
}

/// Whether this thread holds the lock. Only it makes itself the holder, so the answer stays.
pub(super) fn holds(me: u64) -> bool {
    HOLDER.load(Relaxed) == me
}

pub(super) fn release() {
    HOLDER.store(0, Release);
}

/// Runs with the lock held.
pub(super) fn locked<T>(run: impl FnOnce() -> T) -> T {
    let mask = set_mask(libc::SIG_BLOCK, STEPPING);
    acquire(me());
    let result = run();
    release();
    set_mask(libc::SIG_SETMASK, mask);
    result
}

/// Says why, and ends the process: to go on would be to wait for ever, or to miss accesses.
pub(super) fn fatal(reason: &str) -> ! {
    // SAFETY: writes bytes that are there, and ends.
    unsafe {
        libc::write(2, reason.as_ptr().cast(), reason.len());
        libc::abort()
    }
}
