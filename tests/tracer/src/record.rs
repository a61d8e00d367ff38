//! What the fault handler writes down: plain numbers, into memory that was set aside before.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

/// No instruction is longer.
pub const CODE: usize = 15;

/// The general registers, in the order of the kernel's `gregs`: R8..R15, RDI, RSI, RBP, RBX, RDX,
/// RAX, RCX, RSP, RIP.
pub const REGISTERS: usize = 17;

/// One instruction that touched the traced pages, as it was before it ran.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Record {
    pub registers: [u64; REGISTERS],
    /// Where the instruction pointer was after the step: shows that one instruction ran.
    pub after: u64,
    /// The address whose access faulted.
    pub address: u64,
    /// The processor's page fault error code: bit 1 is a write.
    pub error: u64,
    pub thread: i32,
    /// The instruction faulted again with the pages open: the fault is the program's own.
    pub failed: bool,
    pub length: u8,
    pub code: [u8; CODE],
}

impl Record {
    pub fn rip(&self) -> u64 {
        self.registers[libc::REG_RIP as usize]
    }
}

static RECORDS: AtomicPtr<Record> = AtomicPtr::new(ptr::null_mut());
static CAPACITY: AtomicUsize = AtomicUsize::new(0);
static COUNT: AtomicUsize = AtomicUsize::new(0);
static LOST: AtomicUsize = AtomicUsize::new(0);

/// Sets memory aside for `capacity` records, and forgets the old ones. No trace is running.
///
/// # Errors
/// The kernel has no memory for them.
pub fn reserve(capacity: usize) -> io::Result<()> {
    COUNT.store(0, Relaxed);
    LOST.store(0, Relaxed);
    if CAPACITY.load(Relaxed) == capacity {
        return Ok(());
    }
    let bytes = capacity.checked_mul(size_of::<Record>()).ok_or(io::ErrorKind::OutOfMemory)?;
    // Pages of its own: the heap may share pages with the range. They cost nothing until written.
    // SAFETY: a new anonymous mapping, at an address the kernel chooses.
    let new = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if new == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let old = RECORDS.swap(new.cast(), Relaxed);
    let old_bytes = CAPACITY.swap(capacity, Relaxed) * size_of::<Record>();
    if !old.is_null() {
        // SAFETY: mapped here with this size, and no reader is left: no trace is running.
        unsafe { libc::munmap(old.cast(), old_bytes) };
    }
    Ok(())
}

/// Keeps a record and returns its place; counts it as lost where there is none. Called by one thread
/// at a time: the one that holds the step.
pub fn push(record: Record) -> Option<*mut Record> {
    let index = COUNT.load(Relaxed);
    if index >= CAPACITY.load(Relaxed) {
        LOST.fetch_add(1, Relaxed);
        return None;
    }
    // SAFETY: the array has CAPACITY places, and index is below it.
    let place = unsafe { RECORDS.load(Relaxed).add(index) };
    // SAFETY: the place is ours: one thread at a time pushes.
    unsafe { place.write(record) };
    COUNT.store(index + 1, Relaxed);
    Some(place)
}

/// The records of the last trace. None is running.
pub fn kept() -> &'static [Record] {
    let records = RECORDS.load(Relaxed);
    if records.is_null() {
        return &[];
    }
    // SAFETY: the first COUNT places were written by `push`; the callers drop the slice before the
    // next trace starts.
    unsafe { std::slice::from_raw_parts(records, COUNT.load(Relaxed)) }
}

/// How many records had no place.
pub fn lost() -> usize {
    LOST.load(Relaxed)
}
