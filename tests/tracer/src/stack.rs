//! A stack for the handlers that shares no page with the range.
//!
//! The one a thread has already may lie on the heap, beside the memory that is traced.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::SeqCst};

use libc::{c_void, stack_t};

/// Room for a vector state, and for a previous handler that prints tracebacks.
const SIZE: usize = 512 * 1024;

static MEMORY: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// The stack that a thread had before.
pub struct Stack(stack_t);

// SAFETY: a description of memory; the pointer in it is only handed back to the kernel.
unsafe impl Send for Stack {}

/// Gives this thread the tracer's signal stack; one thread at a time uses it.
///
/// # Errors
/// No memory, or the thread is on its signal stack now.
pub fn switch() -> io::Result<Stack> {
    if MEMORY.load(SeqCst).is_null() {
        // SAFETY: a new anonymous mapping, at an address the kernel chooses; it is kept for good.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        MEMORY.store(memory, SeqCst);
    }
    let new = stack_t { ss_sp: MEMORY.load(SeqCst), ss_flags: 0, ss_size: SIZE };
    let mut old = MaybeUninit::<stack_t>::zeroed();
    // SAFETY: the memory is kept for good and has this size; the kernel fills `old`.
    match unsafe { libc::sigaltstack(&raw const new, old.as_mut_ptr()) } {
        // SAFETY: filled, and valid as zeros already.
        0 => Ok(Stack(unsafe { old.assume_init() })),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives the same thread its own stack back.
pub fn restore(old: &Stack) {
    // SAFETY: what the kernel said the thread had; its owner has not taken it away meanwhile.
    unsafe { libc::sigaltstack(&raw const old.0, ptr::null_mut()) };
}
