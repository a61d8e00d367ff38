//! One access on riscv64, and what a signal handler must know to go on after a fault.
#![allow(unsafe_code)] // Inline assembly, and a signal's context.

use std::arch::asm;
use std::ffi::c_void;

use nix::libc;

use super::Packed;

accesses! {
    "a5", u64;
    load_8, store_8, "lbu {value}, 0({address})", "sb {value}, 0({address})";
    load_16, store_16, "lhu {value}, 0({address})", "sh {value}, 0({address})";
    load_32, store_32, "lwu {value}, 0({address})", "sw {value}, 0({address})";
    load_64, store_64, "ld {value}, 0({address})", "sd {value}, 0({address})";
}

/// Where the thread was when the signal came.
///
/// # Safety
/// `context` is the third argument of a signal handler.
pub(super) unsafe fn program_counter(context: *mut c_void) -> usize {
    // SAFETY: the caller's promise.
    unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.__gregs[0] as usize }
}

/// Makes the thread go on at `counter` with `fault` in the register the accesses look at.
///
/// # Safety
/// As for [`program_counter`]; `counter` is the end of the access that faulted.
pub(super) unsafe fn resume(context: *mut c_void, counter: usize, fault: Packed) {
    // SAFETY: the caller's promise.
    unsafe {
        let machine = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext;
        // Element 0 is the program counter, element N register xN; a5 is x15.
        machine.__gregs[0] = counter as _;
        machine.__gregs[15] = fault as _;
    }
}
