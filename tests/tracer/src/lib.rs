//! Records every access a process makes to a range of its own memory, on x86_64 Linux.
//!
//! How: the pages of the range lose all access, so each instruction that touches them faults. The
//! handler notes the instruction and the registers, gives the pages their access back, and lets
//! exactly this instruction run by setting the trap flag. The trap that follows takes the access
//! away again. What each instruction did is worked out afterwards, from its bytes and registers.
//!
//! What it cannot say for sure it does not guess: such a trace ends in an error.
//!
//! The C interface below is for `tracer.py`, which has the manual and the limits.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod decode;
mod engine;
mod guard;
mod pages;
mod probes;
mod record;
mod signals;
mod stack;

use std::ffi::{CString, c_char, c_int};
use std::sync::{Mutex, MutexGuard, PoisonError};

use decode::Access;

/// Raised whenever a function or structure of this interface changes.
const INTERFACE: u32 = 1;

/// The range of the last trace, what it saw, and the last text handed out.
struct Last {
    start: usize,
    size: usize,
    accesses: Vec<Access>,
    text: Option<CString>,
}

static LAST: Mutex<Last> = Mutex::new(Last { start: 0, size: 0, accesses: Vec::new(), text: None });

fn last() -> MutexGuard<'static, Last> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Last {
    /// The text for the caller to copy: it is good until the next call.
    fn say(&mut self, text: String) -> *const c_char {
        let text = CString::new(text).unwrap_or_default();
        self.text.insert(text).as_ptr()
    }
}

/// The version of this interface.
#[unsafe(no_mangle)]
pub extern "C" fn devregs_tracer_interface() -> u32 {
    INTERFACE
}

/// Starts a trace of `size` bytes at `start`. Returns NULL, or the reason why not.
#[unsafe(no_mangle)]
pub extern "C" fn devregs_tracer_start(start: usize, size: usize, capacity: usize) -> *const c_char {
    let mut last = last();
    match engine::start(start, size, capacity) {
        Ok(()) => {
            (last.start, last.size) = (start, size);
            last.accesses.clear();
            std::ptr::null()
        }
        Err(reason) => last.say(reason),
    }
}

/// Ends the trace. Returns NULL, or the reason why what it saw is not the whole truth.
/// `strangers` is whether accesses by other threads are welcome.
#[unsafe(no_mangle)]
pub extern "C" fn devregs_tracer_stop(strangers: c_int) -> *const c_char {
    let ending = engine::stop();
    let mut last = last();
    let ending = match ending {
        Ok(ending) => ending,
        Err(reason) => return last.say(reason),
    };
    let range = last.start as u64..(last.start + last.size) as u64;
    let (accesses, unclear) = decode::accesses(record::kept(), &range);
    last.accesses = accesses;
    let lost = record::lost();
    let reason = if lost > 0 {
        format!("{lost} accesses found no room; trace less, or give `capacity` more")
    } else if !ending.on_top {
        "another signal handler was installed during the trace, above the tracer's: \
         install it before"
            .into()
    } else if ending.strangers > 0 && strangers == 0 {
        format!("other threads touched these pages {} times", ending.strangers)
    } else if let Some(unclear) = unclear {
        unclear
    } else {
        return std::ptr::null();
    };
    last.say(reason)
}

/// What the last trace saw: the address of the accesses, and through `count` how many. They are good
/// until the next start.
///
/// # Safety
/// `count` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn devregs_tracer_accesses(count: *mut usize) -> *const Access {
    let last = last();
    // SAFETY: the caller's promise.
    unsafe { count.write(last.accesses.len()) };
    last.accesses.as_ptr()
}

/// The instruction of an access's record, as text.
#[unsafe(no_mangle)]
pub extern "C" fn devregs_tracer_text(record: u32) -> *const c_char {
    let text = record::kept().get(record as usize).map(decode::text).unwrap_or_default();
    last().say(text)
}
