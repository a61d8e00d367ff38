//! The trapped spans: a list that a signal handler reads, and their pages.
#![allow(unsafe_code)] // Page protection, and memory mapped twice.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::io;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use nix::libc;

use super::hold::{fatal, locked};
use super::{Watch, stack};
use crate::mapping::page_size;

/// A trapped span, in a list whose entries are never freed, only used again.
pub(in crate::access) struct Entry {
    /// Its pages; 0 and 0 where the entry is free.
    low: AtomicUsize,
    high: AtomicUsize,
    writable: AtomicBool,
    span: UnsafeCell<Option<Span>>,
    next: *const Entry,
}

// SAFETY: `span` belongs to the holder of the lock, `next` does not change once the entry is in the list.
unsafe impl Sync for Entry {}
// SAFETY: as above.
unsafe impl Send for Entry {}

pub(super) struct Span {
    start: usize,
    size: usize,
    pub page: usize,
    /// The second mapping, from the first. A closed page lies before it and one behind it.
    pub shift: usize,
    watch: Arc<dyn Watch>,
}

/// An access as the processor tells of it.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Access {
    pub address: usize,
    pub write: bool,
}

static LIST: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());
/// How many traps are gone.
pub(super) static REMOVED: AtomicUsize = AtomicUsize::new(0);

/// Whether there has been a trap.
pub(super) fn any() -> bool {
    !LIST.load(Acquire).is_null()
}

fn entries() -> impl Iterator<Item = &'static Entry> {
    let mut next: *const Entry = LIST.load(Acquire);
    std::iter::from_fn(move || {
        // SAFETY: entries are leaked, so a pointer to one is good for ever.
        let entry = unsafe { next.as_ref()? };
        next = entry.next;
        Some(entry)
    })
}

impl Entry {
    /// Empty where the entry is free. Without the lock this is a hint: an entry may be used again meanwhile.
    pub(super) fn pages(&self) -> std::ops::Range<usize> {
        self.low.load(Acquire)..self.high.load(Acquire)
    }

    fn clear(&self) {
        REMOVED.fetch_add(1, Release);
        self.high.store(0, Release);
        self.low.store(0, Release);
    }

    /// # Safety
    /// The lock is held as long as what is returned is used.
    pub(super) unsafe fn span(&self) -> &Span {
        // SAFETY: the caller's promise.
        match unsafe { &*self.span.get() } {
            Some(span) => span,
            None => fatal("devregs: a trap is gone while an access to it is under way\n"),
        }
    }
}

/// The trapped span of this access, if its memory allows it at all.
pub(super) fn find(access: Access) -> Option<&'static Entry> {
    let found = entries().find(|entry| entry.pages().contains(&access.address));
    found.filter(|entry| !access.write || entry.writable.load(Relaxed))
}

/// Traps the pages of a span.
///
/// # Safety
/// As for [`super::Trap::new`].
pub(super) unsafe fn insert(
    start: usize,
    size: usize,
    writable: bool,
    watch: Arc<dyn Watch>,
) -> io::Result<&'static Entry> {
    stack::prepare()?;
    let page = page_size();
    let (low, high) = (start - start % page, (start + size).next_multiple_of(page));
    // SAFETY: the caller's promise.
    let second = unsafe { map_again(low, high - low, page)? };
    let span = Span { start, size, page, shift: second.wrapping_sub(low), watch };
    let fresh = Box::new(Entry {
        low: AtomicUsize::new(0),
        high: AtomicUsize::new(0),
        writable: AtomicBool::new(writable),
        span: UnsafeCell::new(None),
        next: ptr::null(),
    });
    let entered = locked(move || {
        let shares = |entry: &Entry| entry.pages().start < high && low < entry.pages().end;
        if entries().any(shares) {
            return None;
        }
        let free = entries().find(|entry| entry.pages().end == 0);
        let entry = free.unwrap_or_else(|| {
            let entry = Box::leak(fresh);
            entry.next = LIST.load(Relaxed);
            LIST.store(entry, Release);
            entry
        });
        // SAFETY: the lock is held.
        unsafe { *entry.span.get() = Some(span) };
        entry.writable.store(writable, Relaxed);
        entry.low.store(low, Release);
        entry.high.store(high, Release);
        // Last, for an access that finds closed pages looks for their entry.
        Some((entry, protect(low, high, libc::PROT_NONE)))
    });
    match entered {
        Some((entry, Ok(()))) => Ok(entry),
        Some((entry, Err(error))) => {
            remove(entry);
            Err(error)
        }
        None => {
            unmap(second, high - low, page);
            Err(io::Error::new(io::ErrorKind::AddrInUse, "a page of this memory is trapped already"))
        }
    }
}

/// Gives the pages of a span back.
pub(super) fn remove(entry: &'static Entry) {
    let span = locked(|| {
        let pages = entry.pages();
        let write = if entry.writable.load(Relaxed) { libc::PROT_WRITE } else { 0 };
        // Where the kernel refuses, the pages stay closed: the next access is a fault that says so.
        let _ = protect(pages.start, pages.end, libc::PROT_READ | write);
        entry.clear();
        // SAFETY: the lock is held.
        let span = unsafe { (*entry.span.get()).take() };
        span.map(|span| (span, pages))
    });
    if let Some((span, pages)) = span {
        unmap(pages.start.wrapping_add(span.shift), pages.len(), span.page);
    }
}

/// A second mapping of shared memory, with the protection of the first and a closed page on each side, so that an
/// access which runs over its end touches nobody else's memory.
///
/// # Safety
/// The pages are those of a live shared mapping.
unsafe fn map_again(low: usize, length: usize, page: usize) -> io::Result<usize> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: new memory, where the kernel likes.
    let room = unsafe { libc::mmap(ptr::null_mut(), length + 2 * page, libc::PROT_NONE, flags, -1, 0) };
    if room == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let second = room as usize + page;
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: an old size of 0 maps shared memory again and leaves the first mapping alone; the place is ours.
    let done = unsafe { libc::mremap(low as *mut c_void, 0, length, flags, second as *mut c_void) };
    if done == libc::MAP_FAILED {
        let error = io::Error::last_os_error();
        unmap(second, length, page);
        return Err(error);
    }
    Ok(second)
}

fn unmap(second: usize, length: usize, page: usize) {
    // SAFETY: the room that `map_again` made, whole; nothing points there any more. That cannot fail.
    unsafe { libc::munmap((second - page) as *mut c_void, length + 2 * page) };
}

pub(super) fn protect(low: usize, high: usize, protection: c_int) -> io::Result<()> {
    // SAFETY: changes what pages of a span allow, never beyond what its maker said they do.
    match unsafe { libc::mprotect(low as *mut c_void, high - low, protection) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// In the child of a fork: a step that was under way in the parent may have left pages open.
pub(in crate::access) fn forked() {
    for entry in entries() {
        let pages = entry.pages();
        if !pages.is_empty() && protect(pages.start, pages.end, libc::PROT_NONE).is_err() {
            fatal("devregs: the kernel refuses to close trapped pages after a fork\n");
        }
    }
}

impl Span {
    /// Tells the watch of what lies in the span.
    ///
    /// # Safety
    /// The lock is held.
    pub(super) unsafe fn tell(&self, access: Access, how: impl Fn(&dyn Watch, usize)) {
        let offset = access.address.wrapping_sub(self.start);
        if offset < self.size {
            // SAFETY: the caller's promise; a span is made after the stack.
            unsafe { stack::run(|| how(&*self.watch, offset)) };
        }
    }
}
