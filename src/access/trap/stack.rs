//! A stack for what the watches do: signal stacks are small, as faulthandler's are, and lie beside memory in use.
#![allow(unsafe_code)] // Moves the stack pointer.

use std::arch::asm;
use std::ffi::c_void;
use std::io;
use std::ptr;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Release},
};

use nix::libc;

use crate::mapping::page_size;

/// As much as a main thread has. What is not used takes no memory.
const SIZE: usize = 8 << 20;

/// Its upper end, once there is one; it stays for as long as the process lives.
static TOP: AtomicUsize = AtomicUsize::new(0);

/// Makes the stack, with a closed page below it.
pub(super) fn prepare() -> io::Result<()> {
    if TOP.load(Acquire) != 0 {
        return Ok(());
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
    let (all, open) = (SIZE + page_size(), libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: new memory, where the kernel likes; what is opened and given back is all of it that is ours.
    unsafe {
        let low = libc::mmap(ptr::null_mut(), all, libc::PROT_NONE, flags, -1, 0);
        if low == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let opened = libc::mprotect(low.wrapping_byte_add(page_size()), SIZE, open);
        let failed = (opened != 0).then(io::Error::last_os_error);
        // Another thread may have made one meanwhile.
        let top = low as usize + all;
        if failed.is_some() || TOP.compare_exchange(0, top, Release, Acquire).is_err() {
            libc::munmap(low, all);
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Runs something on that stack.
///
/// # Safety
/// The stack is made, and this thread holds the lock of all traps and is not on the stack yet.
pub(super) unsafe fn run(mut act: impl FnMut()) {
    let mut act: &mut dyn FnMut() = &mut act;
    // SAFETY: the caller's promise: nobody else is on the stack. Its end is aligned as calls need it, `enter` does not
    // unwind, and a register that calls keep has the old stack meanwhile.
    unsafe {
        asm!(
            "mov r12, rsp",
            "mov rsp, {top}",
            "call {enter}",
            "mov rsp, r12",
            top = in(reg) TOP.load(Acquire),
            enter = sym enter,
            inlateout("rdi") &raw mut act => _,
            out("r12") _,
            clobber_abi("C"),
        );
    }
}

extern "C" fn enter(act: *mut c_void) {
    // SAFETY: `run` passes what it has on its own stack.
    unsafe { (*act.cast::<&mut dyn FnMut()>())() }
}
