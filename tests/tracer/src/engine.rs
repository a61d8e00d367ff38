//! The trace: start, one fault and one step per instruction, stop.
//!
//! The handlers allocate nothing, lock nothing that others hold for long, and touch only this
//! library's own memory. At most one thread steps at a time.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{
    AtomicI32, AtomicPtr, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::{ptr, slice};

use libc::{c_int, siginfo_t, ucontext_t};

use crate::pages::{self, Mapping};
use crate::record::{self, CODE, REGISTERS, Record};
use crate::signals::{self, Mask};
use crate::stack::{self, Stack};

/// No handler slot: nothing is traced.
const IDLE: usize = usize::MAX;
const TRAP_FLAG: i64 = 1 << 8;
const PAGE_FAULT: i64 = 14;
/// `si_code` of an access that the protection forbids, as against one where nothing is mapped.
const SEGV_ACCERR: c_int = 2;

/// The handler slot of the running trace.
static ACTIVE: AtomicUsize = AtomicUsize::new(IDLE);
static LOW: AtomicUsize = AtomicUsize::new(0);
static HIGH: AtomicUsize = AtomicUsize::new(0);
static OWNER: AtomicI32 = AtomicI32::new(0);
/// How many accesses came from other threads.
static STRANGERS: AtomicUsize = AtomicUsize::new(0);

/// The thread that has the pages open for one instruction; 0 is none. It is the lock of what follows.
static STEPPER: AtomicI32 = AtomicI32::new(0);
static CURRENT: AtomicPtr<Record> = AtomicPtr::new(ptr::null_mut());
static MASK: AtomicU64 = AtomicU64::new(0);

/// What `stop` needs from `start`.
struct Running {
    slot: usize,
    mappings: Vec<Mapping>,
    stack: Stack,
}

static RUNNING: Mutex<Option<Running>> = Mutex::new(None);

/// What happened besides the records.
pub struct Ending {
    /// Accesses that other threads made.
    pub strangers: usize,
    /// The tracer's handlers were on top all along.
    pub on_top: bool,
}

fn thread() -> i32 {
    // SAFETY: asks for a number.
    unsafe { libc::gettid() }
}

/// Starts to trace `start..start + size`, in this thread.
///
/// # Errors
/// The reason, for a person.
pub fn start(start: usize, size: usize, capacity: usize) -> Result<(), String> {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if running.is_some() {
        return Err("a trace is running already; one at a time".into());
    }
    if size == 0 || capacity == 0 {
        return Err("nothing to trace: the size and the room for records must not be 0".into());
    }
    // SAFETY: asks for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let end = start.checked_add(size).and_then(|end| end.checked_next_multiple_of(page));
    let (low, Some(high)) = (start & !(page - 1), end) else {
        return Err(format!("{size:#x} bytes at {start:#x} are beyond the end of memory"));
    };
    if (low..high).contains(&(&raw const page as usize)) {
        return Err("the range lies on this thread's stack, which is in use".into());
    }
    let mappings = pages::survey(low, high)?;
    pages::publish(&mappings);
    record::reserve(capacity).map_err(|e| format!("no memory for {capacity} records: {e}"))?;
    let stack = stack::switch().map_err(|e| format!("cannot set a signal stack: {e}"))?;
    let slot = match signals::install() {
        Ok(slot) => slot,
        Err(reason) => {
            stack::restore(&stack);
            return Err(reason);
        }
    };
    LOW.store(low, Relaxed);
    HIGH.store(high, Relaxed);
    OWNER.store(thread(), Relaxed);
    STRANGERS.store(0, Relaxed);
    ACTIVE.store(slot, SeqCst);
    let closed = pages::close();
    *running = Some(Running { slot, mappings, stack });
    drop(running);
    if !closed {
        stop()?;
        return Err("the kernel refuses to change the protection of these pages".into());
    }
    Ok(())
}

/// Ends the trace, and puts back what was there before it.
///
/// # Errors
/// The reason, for a person; the trace goes on only where another thread must end it.
pub fn stop() -> Result<Ending, String> {
    let mut guard = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if guard.is_some() && OWNER.load(Relaxed) != thread() {
        return Err("a trace ends in the thread that started it".into());
    }
    let Some(running) = guard.take() else {
        return Err("no trace is running".into());
    };
    let remaining = pages::remaining(&running.mappings);
    hold(thread());
    let restored = remaining.as_ref().is_ok_and(pages::Remaining::restore);
    ACTIVE.store(IDLE, SeqCst);
    release();
    let on_top = signals::remove(running.slot);
    stack::restore(&running.stack);
    remaining?;
    if !restored {
        return Err("the kernel refuses to give the traced pages their access back".into());
    }
    Ok(Ending { strangers: STRANGERS.load(Relaxed), on_top })
}

/// The process is about to die from a signal: let it see the pages as they were.
pub fn give_up(slot: usize) {
    if ACTIVE.compare_exchange(slot, IDLE, SeqCst, SeqCst).is_ok() {
        // Where that fails, the pages are gone: nothing to see.
        let _ = pages::open();
    }
}

/// Waits until no other thread steps, and keeps it so until `release`.
fn hold(thread: i32) {
    while STEPPER.compare_exchange(0, thread, SeqCst, SeqCst).is_err() {
        // SAFETY: gives the processor away.
        unsafe { libc::sched_yield() };
    }
}

fn release() {
    STEPPER.store(0, SeqCst);
}

/// Takes a signal if it belongs to the trace of this slot; false hands it on.
///
/// # Safety
/// `info` and `context` are what the kernel passed to a handler of `signal`.
pub unsafe fn handle(slot: usize, signal: c_int, info: *const siginfo_t, context: *mut ucontext_t) -> bool {
    // SAFETY: the kernel filled it.
    let sent = unsafe { (*info).si_code } <= 0;
    if sent || ACTIVE.load(SeqCst) != slot {
        return false;
    }
    let thread = thread();
    // Only this thread itself sets the stepper to this thread, so the answer cannot change.
    let stepping = STEPPER.load(SeqCst) == thread;
    if stepping {
        // SAFETY: the caller's promise; this thread has the step.
        unsafe { end_step(context, signal != libc::SIGTRAP) };
        // A fault with the pages open is the program's own, a trap is ours.
        return signal == libc::SIGTRAP;
    }
    // SAFETY: the caller's promise.
    signal == libc::SIGSEGV && unsafe { begin_step(slot, thread, info, context) }
}

/// A fault in the traced pages: notes the instruction and lets it run alone.
///
/// # Safety
/// As for [`handle`].
unsafe fn begin_step(slot: usize, thread: i32, info: *const siginfo_t, context: *mut ucontext_t) -> bool {
    // SAFETY: the caller's promise.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    // SAFETY: as above. A raw pointer, as the kernel's structure is shorter than the library's.
    let registers = unsafe { &raw mut (*context).uc_mcontext.gregs };
    // SAFETY: as above; the index is inside the array.
    let register = |index: c_int| unsafe { (&raw mut (*registers)[index as usize]).read() };
    if code != SEGV_ACCERR
        || register(libc::REG_TRAPNO) != PAGE_FAULT
        || !(LOW.load(Relaxed)..HIGH.load(Relaxed)).contains(&address)
    {
        return false;
    }
    hold(thread);
    if ACTIVE.load(SeqCst) != slot {
        // The trace ended while this thread waited: the pages are open, the access can be tried.
        release();
        return true;
    }
    if thread != OWNER.load(Relaxed) {
        STRANGERS.fetch_add(1, Relaxed);
    }
    let mut note = Record {
        registers: [0; REGISTERS],
        after: 0,
        address: address as u64,
        error: register(libc::REG_ERR) as u64,
        thread,
        failed: false,
        length: 0,
        code: [0; CODE],
    };
    for (index, to) in (0..).zip(&mut note.registers) {
        *to = register(index) as u64;
    }
    // SAFETY: the instruction at `rip` was just fetched.
    unsafe { copy_code(&mut note, false) };
    CURRENT.store(record::push(note).unwrap_or(ptr::null_mut()), Relaxed);

    if !pages::open() {
        fatal("devregs-tracer: the traced range was unmapped or replaced while it was in use\n");
    }
    // SAFETY: the caller's promise.
    let mask = unsafe { signals::mask_of(context) };
    // SAFETY: inside the kernel's structure. What waits is let through again after the step.
    unsafe {
        MASK.store(mask.read(), Relaxed);
        mask.write(signals::STEPPING);
        (*registers)[libc::REG_EFL as usize] |= TRAP_FLAG;
    }
    true
}

/// After the instruction, or after its own fault: takes the access away again.
///
/// # Safety
/// As for [`handle`]; this thread has the step.
unsafe fn end_step(context: *mut ucontext_t, failed: bool) {
    if !pages::close() {
        fatal("devregs-tracer: the traced range was unmapped or replaced while it was in use\n");
    }
    // SAFETY: the caller's promise; inside the kernel's structure.
    let rip = unsafe {
        let registers = &raw mut (*context).uc_mcontext.gregs;
        (*registers)[libc::REG_EFL as usize] &= !TRAP_FLAG;
        signals::mask_of(context).write(MASK.load(Relaxed) as Mask);
        (*registers)[libc::REG_RIP as usize]
    };
    let record = CURRENT.swap(ptr::null_mut(), Relaxed);
    if !record.is_null() {
        // SAFETY: a place in the records, used by one thread at a time: this one has the step.
        let record = unsafe { &mut *record };
        record.after = rip as u64;
        record.failed = failed;
        let ran = record.after.wrapping_sub(record.rip());
        if !failed && (1..=CODE as u64).contains(&ran) {
            // SAFETY: the instruction ran, and this is its length: all of it is mapped.
            unsafe { copy_code(record, true) };
        }
    }
    release();
}

/// Copies the code at `rip`: to the end of its page, since the next may not be mapped; or, when the
/// instruction `ran` and its end is known, to that end.
///
/// # Safety
/// The page of `rip` is readable, and if it `ran`, so is all the code up to `after`.
unsafe fn copy_code(record: &mut Record, ran: bool) {
    const SMALLEST_PAGE: usize = 4096;
    let rip = record.rip() as usize;
    let here = (SMALLEST_PAGE - rip % SMALLEST_PAGE).min(CODE);
    let length = if ran { here.max((record.after as usize).wrapping_sub(rip)) } else { here };
    let length = length.min(CODE);
    // SAFETY: the caller's promise.
    let code = unsafe { slice::from_raw_parts(rip as *const u8, length) };
    for (to, from) in record.code.iter_mut().zip(code) {
        *to = *from;
    }
    record.length = length as u8;
}

/// Says why, and ends the process: going on would give wrong answers.
fn fatal(reason: &str) -> ! {
    // SAFETY: writes bytes that are there, and ends.
    unsafe {
        libc::write(2, reason.as_ptr().cast(), reason.len());
        libc::abort()
    }
}
