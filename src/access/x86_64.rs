//! One access on x86_64, and what a signal handler must know to go on after a fault.
#![allow(unsafe_code)] // Inline assembly, and a signal's context.

use std::arch::asm;
use std::ffi::c_void;

use nix::libc;

use super::Packed;

accesses! {
    "rdx", u64;
    load_8, store_8, "movzx {value:e}, byte ptr [{address}]", "mov byte ptr [{address}], {value:l}";
    load_16, store_16, "movzx {value:e}, word ptr [{address}]", "mov word ptr [{address}], {value:x}";
    load_32, store_32, "mov {value:e}, dword ptr [{address}]", "mov dword ptr [{address}], {value:e}";
    load_64, store_64, "mov {value}, qword ptr [{address}]", "mov qword ptr [{address}], {value}";
}

/// Where the thread was when the signal came.
///
/// # Safety
/// `context` is the third argument of a signal handler.
pub(super) unsafe fn program_counter(context: *mut c_void) -> usize {
    // SAFETY: the caller's promise.
    unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] as usize }
}

/// Makes the thread go on at `counter` with `fault` in the register the accesses look at.
///
/// # Safety
/// As for [`program_counter`]; `counter` is the end of the access that faulted.
pub(super) unsafe fn resume(context: *mut c_void, counter: usize, fault: Packed) {
    // SAFETY: the caller's promise.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        registers[libc::REG_RIP as usize] = counter as i64;
        registers[libc::REG_RDX as usize] = fault as i64;
    }
}
