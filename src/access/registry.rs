//! Which addresses are ours, for the last words of a process that faulted on one of them through a raw view.
//!
//! A signal handler reads this: no locks, no allocation. Entries are never freed, only used again.
#![allow(unsafe_code)] // Read in a signal handler.
#![cfg_attr(not(guarded), allow(dead_code))] // Without a guard there is no handler to read it.

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use nix::libc;

/// Something that can say what is at an offset of a mapping, in a signal handler.
pub(crate) trait Describe: Sync {
    /// Writes the name of what is at `offset` bytes, without allocating or locking.
    fn describe(&self, offset: u64, out: &mut Line);
}

struct Entry {
    /// 0 where the entry is free.
    start: AtomicUsize,
    size: AtomicUsize,
    owner: AtomicPtr<&'static dyn Describe>,
    next: *const Entry,
}

// SAFETY: `next` does not change once the entry is in the list; all else is atomic.
unsafe impl Sync for Entry {}

static LIST: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());

/// A place in the registry, given back when dropped.
#[derive(Debug)]
pub(crate) struct Registered(*const ());

// SAFETY: it names an entry that is never freed.
unsafe impl Send for Registered {}
// SAFETY: as above.
unsafe impl Sync for Registered {}

fn entries() -> impl Iterator<Item = &'static Entry> {
    let mut next: *const Entry = LIST.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: entries are leaked, so a pointer to one is good for ever.
        let entry = unsafe { next.as_ref()? };
        next = entry.next;
        Some(entry)
    })
}

/// Enters `size` bytes from `start`.
///
/// # Safety
/// `owner` lives until what is returned is dropped.
pub(crate) unsafe fn enter(start: usize, size: usize, owner: &(dyn Describe + 'static)) -> Registered {
    // SAFETY: the caller's promise makes it live long enough.
    let owner: &'static dyn Describe = unsafe { &*ptr::from_ref(owner) };
    let owner = Box::into_raw(Box::new(owner));
    let free = entries().find(|entry| {
        entry.owner.compare_exchange(ptr::null_mut(), owner, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    });
    let entry = free.unwrap_or_else(|| {
        let entry = Box::leak(Box::new(Entry {
            start: AtomicUsize::new(0),
            size: AtomicUsize::new(0),
            owner: AtomicPtr::new(owner),
            next: ptr::null(),
        }));
        let mut head = LIST.load(Ordering::Acquire);
        loop {
            entry.next = head;
            match LIST.compare_exchange_weak(head, entry, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break entry,
                Err(now) => head = now,
            }
        }
    });
    entry.size.store(size, Ordering::Relaxed);
    entry.start.store(start, Ordering::Release);
    Registered(ptr::from_ref(entry).cast())
}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: made from an entry, which is never freed; the owner was boxed by `enter`.
        unsafe {
            let entry = &*self.0.cast::<Entry>();
            entry.start.store(0, Ordering::Release);
            let owner = entry.owner.swap(ptr::null_mut(), Ordering::AcqRel);
            drop(Box::from_raw(owner));
        }
    }
}

/// One line on standard error if the address is ours: which register a raw view has hit.
pub(super) fn tell(signal: c_int, address: usize) {
    for entry in entries() {
        let (start, size) = (entry.start.load(Ordering::Acquire), entry.size.load(Ordering::Relaxed));
        if start == 0 || address < start || address - start >= size {
            continue;
        }
        let owner = entry.owner.load(Ordering::Acquire);
        if owner.is_null() {
            continue;
        }
        let mut line = Line::default();
        line.text("devregs: ");
        // SAFETY: the owner lives while its entry is taken.
        unsafe { (*owner).describe((address - start) as u64, &mut line) };
        line.text(match signal {
            libc::SIGBUS => ": SIGBUS",
            _ => ": SIGSEGV",
        });
        line.text(" in an access that devregs did not make, such as one through a memoryview; only registers and regions turn faults into BusError\n");
        // SAFETY: a system call with a valid buffer, which a signal handler may make.
        unsafe { libc::write(2, line.bytes.as_ptr().cast(), line.length) };
        return;
    }
}

/// A line of text on the stack; what does not fit is left out.
pub(crate) struct Line {
    bytes: [u8; 512],
    length: usize,
}

impl Default for Line {
    fn default() -> Line {
        Line { bytes: [0; 512], length: 0 }
    }
}

impl Line {
    pub fn text(&mut self, text: &str) {
        for byte in text.bytes() {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
        }
    }

    /// How much is written, to come back to.
    pub fn mark(&self) -> usize {
        self.length
    }

    pub fn back_to(&mut self, mark: usize) {
        self.length = mark.min(self.length);
    }

    pub fn number(&mut self, number: u64, radix: u64) {
        let mut digits = [0; 20];
        let mut start = digits.len();
        let mut rest = number;
        loop {
            start -= 1;
            digits[start] = b"0123456789abcdef"[(rest % radix) as usize];
            rest /= radix;
            if rest == 0 {
                break;
            }
        }
        self.text(std::str::from_utf8(&digits[start..]).unwrap_or("?"));
    }
}
