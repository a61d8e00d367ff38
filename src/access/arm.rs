//! One access on 32-bit Arm, which has no single access of 64 bits, and what a signal handler must know to go on after a fault.
#![allow(unsafe_code)] // Inline assembly, and a signal's context.

use std::arch::asm;
use std::ffi::c_void;

use nix::libc;

use super::Packed;

accesses! {
    "r3", u32;
    load_8, store_8, "ldrb {value}, [{address}]", "strb {value}, [{address}]";
    load_16, store_16, "ldrh {value}, [{address}]", "strh {value}, [{address}]";
    load_32, store_32, "ldr {value}, [{address}]", "str {value}, [{address}]";
}

/// Where the thread was when the signal came.
///
/// # Safety
/// `context` is the third argument of a signal handler.
pub(super) unsafe fn program_counter(context: *mut c_void) -> usize {
    // SAFETY: the caller's promise.
    unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.arm_pc as usize }
}

/// Makes the thread go on at `counter` with `fault` in the register the accesses look at.
///
/// # Safety
/// As for [`program_counter`]; `counter` is the end of the access that faulted.
pub(super) unsafe fn resume(context: *mut c_void, counter: usize, fault: Packed) {
    // SAFETY: the caller's promise.
    unsafe {
        let machine = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext;
        machine.arm_pc = counter as _;
        machine.arm_r3 = fault as _;
    }
}
