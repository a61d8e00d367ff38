//! One access on aarch64: plain `ldr` and `str`, which a hypervisor can carry out for a device it emulates; the compiler's own
//! choice for a volatile access may be one with write-back, which it cannot (rust-lang/rust#131894), and what a signal handler must know to go on after a fault.
#![allow(unsafe_code)] // Inline assembly, and a signal's context.

use std::arch::asm;
use std::ffi::c_void;

use nix::libc;

use super::Packed;

accesses! {
    "x9", u64;
    load_8, store_8, "ldrb {value:w}, [{address}]", "strb {value:w}, [{address}]";
    load_16, store_16, "ldrh {value:w}, [{address}]", "strh {value:w}, [{address}]";
    load_32, store_32, "ldr {value:w}, [{address}]", "str {value:w}, [{address}]";
    load_64, store_64, "ldr {value:x}, [{address}]", "str {value:x}, [{address}]";
}

/// Where the thread was when the signal came.
///
/// # Safety
/// `context` is the third argument of a signal handler.
pub(super) unsafe fn program_counter(context: *mut c_void) -> usize {
    // SAFETY: the caller's promise.
    unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.pc as usize }
}

/// Makes the thread go on at `counter` with `fault` in the register the accesses look at.
///
/// # Safety
/// As for [`program_counter`]; `counter` is the end of the access that faulted.
pub(super) unsafe fn resume(context: *mut c_void, counter: usize, fault: Packed) {
    // SAFETY: the caller's promise.
    unsafe {
        let machine = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext;
        machine.pc = counter as u64;
        machine.regs[9] = fault as u64;
    }
}
