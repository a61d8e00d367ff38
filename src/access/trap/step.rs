//! The steps themselves: a fault, one instruction, a trap. See the module above for what it is about.
//!
//! One thread steps at a time, under a lock that it takes in one signal handler and gives back in the next. All that
//! is not atomic here belongs to its holder. Nothing here allocates between.
#![allow(unsafe_code)] // See the module above.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::io;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use nix::libc::{self, siginfo_t, ucontext_t};

use super::super::lock;
use super::{Watch, operand};
use crate::mapping::page_size;

const TRAP_FLAG: i64 = 1 << 8;
const PAGE_FAULT: i64 = 14;
/// Bits of a page fault's error code.
const WRITE: i64 = 1 << 1;
const FETCH: i64 = 1 << 4;

/// As many pages as one instruction can touch: a gather of 16 words, each over the end of a page.
const MOST: usize = 32;

const INSIDE: &str = "devregs: while it was told of an access, a device's behaviour touched trapped memory, or made or dropped a trap\n";

/// A kernel signal set: bit n-1 is signal n.
type Mask = u64;

/// What waits while an instruction is stepped. To block a fault would be to be killed by it.
const STEPPING: Mask = !(1 << (libc::SIGSEGV - 1) | 1 << (libc::SIGBUS - 1) | 1 << (libc::SIGTRAP - 1));

/// The register's place in a signal's context, by its number in instructions.
const PLACES: [c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

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

struct Span {
    start: usize,
    size: usize,
    page: usize,
    /// The second mapping, from the first. A closed page lies before it and one behind it.
    shift: usize,
    watch: Arc<dyn Watch>,
}

/// What the holder of the lock is at.
struct Step {
    /// The instruction runs: between the handler that let it and the one that ends it.
    running: bool,
    /// Of the interrupted program.
    mask: Mask,
    count: usize,
    touches: [Option<Touch>; MOST],
    /// The last fault at no trap: the thread, the address, and how many traps were gone.
    tried: (u64, usize, usize),
}

/// One place that the instruction touches.
#[derive(Clone, Copy)]
struct Touch {
    entry: &'static Entry,
    access: Access,
    way: Way,
}

#[derive(Clone, Copy, PartialEq)]
struct Access {
    address: usize,
    write: bool,
}

/// How it gets there.
#[derive(Clone, Copy)]
enum Way {
    /// The register at this place in the context points to the second mapping.
    Moved { place: usize, overwritten: bool },
    /// The page is open.
    Opened,
}

struct Held(UnsafeCell<Step>);

// SAFETY: belongs to the holder of the lock.
unsafe impl Sync for Held {}

static LIST: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());
static STEP: Held = Held(UnsafeCell::new(Step {
    running: false,
    mask: 0,
    count: 0,
    touches: [None; MOST],
    tried: (0, 0, 0),
}));
/// How many traps are gone.
static REMOVED: AtomicUsize = AtomicUsize::new(0);

/// The lock: 0, or the thread that holds it, with the generation of its process above. After a fork, the holder is
/// not in the child, and its generation is old.
static HOLDER: AtomicU64 = AtomicU64::new(0);

fn me() -> u64 {
    // SAFETY: asks for a number.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) } as u32;
    u64::from(lock::generation()) << 32 | u64::from(thread)
}

/// Waits for the lock. Signals are blocked: a handler in the holder's thread would wait for itself.
fn acquire(me: u64) {
    let mut spins = 0;
    loop {
        let holder = HOLDER.load(Relaxed);
        if holder == me {
            fatal(INSIDE);
        }
        let free = holder >> 32 != me >> 32;
        if free && HOLDER.compare_exchange_weak(holder, me, Acquire, Relaxed).is_ok() {
            return;
        }
        if spins < 100 {
            spins += 1;
            std::hint::spin_loop();
        } else {
            // SAFETY: gives the processor away.
            unsafe { libc::sched_yield() };
        }
    }
}

fn release() {
    HOLDER.store(0, Release);
}

/// Runs with the lock held.
fn locked<T>(run: impl FnOnce() -> T) -> T {
    let mask = set_mask(libc::SIG_BLOCK, STEPPING);
    acquire(me());
    let result = run();
    release();
    set_mask(libc::SIG_SETMASK, mask);
    result
}

/// Of this thread; returns the one before. The C library's call would leave some of its own signals out.
fn set_mask(how: c_int, mask: Mask) -> Mask {
    let mut before: Mask = 0;
    // SAFETY: two valid sets of the size that the kernel's are.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const mask, &raw mut before, size_of::<Mask>())
    };
    before
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
    fn pages(&self) -> std::ops::Range<usize> {
        self.low.load(Acquire)..self.high.load(Acquire)
    }

    fn clear(&self) {
        REMOVED.fetch_add(1, Release);
        self.high.store(0, Release);
        self.low.store(0, Release);
    }

    /// # Safety
    /// The lock is held as long as what is returned is used.
    unsafe fn span(&self) -> &Span {
        // SAFETY: the caller's promise.
        match unsafe { &*self.span.get() } {
            Some(span) => span,
            None => fatal("devregs: a trap is gone while an access to it is under way\n"),
        }
    }
}

/// The trapped span of this access, if its memory allows it at all.
fn find(access: Access) -> Option<&'static Entry> {
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
    let page = page_size();
    let (low, high) = (start - start % page, (start + size).next_multiple_of(page));
    // SAFETY: the caller's promise.
    let second = unsafe { map_again(low, high - low, page)? };
    let span = Span { start, size, page, shift: second.wrapping_sub(low), watch };
    let mut fresh = Some(Box::new(Entry {
        low: AtomicUsize::new(0),
        high: AtomicUsize::new(0),
        writable: AtomicBool::new(writable),
        span: UnsafeCell::new(None),
        next: ptr::null(),
    }));
    let done = locked(|| {
        let shares = |entry: &Entry| entry.pages().start < high && low < entry.pages().end;
        if entries().any(shares) {
            return Err(io::Error::from(io::ErrorKind::AddrInUse));
        }
        let entry = entries().find(|entry| entry.pages().end == 0).or_else(|| {
            let entry = Box::leak(fresh.take()?);
            entry.next = LIST.load(Relaxed);
            LIST.store(entry, Release);
            Some(&*entry)
        });
        let entry = entry.ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: the lock is held.
        unsafe { *entry.span.get() = Some(span) };
        entry.writable.store(writable, Relaxed);
        entry.low.store(low, Release);
        entry.high.store(high, Release);
        // Last, for an access that finds closed pages looks for their entry.
        protect(low, high, libc::PROT_NONE).inspect_err(|_| entry.clear())?;
        Ok(entry)
    });
    if done.is_err() {
        unmap(second, high - low, page);
    }
    done
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

fn protect(low: usize, high: usize, protection: c_int) -> io::Result<()> {
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

/// Takes a fault or a trap that belongs to a step; false leaves it to the others.
///
/// # Safety
/// The arguments of a signal handler, with a code of the kernel's.
pub(in crate::access) unsafe fn take(signal: c_int, info: *mut siginfo_t, context: *mut c_void) -> bool {
    if LIST.load(Acquire).is_null() {
        return false;
    }
    let me = me();
    // Only this thread itself makes itself the holder, so the answer cannot change.
    let holds = HOLDER.load(Relaxed) == me;
    // SAFETY: the caller's promise; what the lock guards is looked at by its holder.
    unsafe {
        let errno = *libc::__errno_location();
        let context = context.cast::<ucontext_t>();
        let access = (signal == libc::SIGSEGV).then(|| access(info, context)).flatten();
        let taken = match (holds, access) {
            (false, Some(access)) => begin(me, access, context),
            (true, _) if (*STEP.0.get()).running => {
                (*STEP.0.get()).running = false;
                if signal == libc::SIGTRAP {
                    end(context, true);
                    true
                } else {
                    go_on(access, info, context)
                }
            }
            (true, Some(access)) if find(access).is_some() => fatal(INSIDE),
            _ => false,
        };
        *libc::__errno_location() = errno;
        taken
    }
}

/// What the processor says of a page fault at data.
///
/// # Safety
/// As for [`take`].
unsafe fn access(info: *mut siginfo_t, context: *mut ucontext_t) -> Option<Access> {
    // SAFETY: the caller's promise.
    let (kind, error, address) = unsafe {
        let registers = &(*context).uc_mcontext.gregs;
        (registers[libc::REG_TRAPNO as usize], registers[libc::REG_ERR as usize], (*info).si_addr() as usize)
    };
    (kind == PAGE_FAULT && error & FETCH == 0).then_some(Access { address, write: error & WRITE != 0 })
}

/// A fault of a thread that does not step: if it is at trapped memory, its instruction runs by itself next.
///
/// # Safety
/// As for [`take`].
unsafe fn begin(me: u64, access: Access, context: *mut ucontext_t) -> bool {
    if find(access).is_none() && REMOVED.load(Acquire) == 0 {
        return false;
    }
    let mask = set_mask(libc::SIG_BLOCK, STEPPING);
    acquire(me);
    // SAFETY: the lock is held; the caller's promise.
    unsafe {
        let step = &mut *STEP.0.get();
        let Some(entry) = find(access) else {
            // A trap that was there when the access faulted may be gone by now: so it is tried again, once.
            let last = (me, access.address, REMOVED.load(Relaxed));
            let again = step.tried != last;
            step.tried = last;
            release();
            set_mask(libc::SIG_SETMASK, mask);
            return again;
        };
        step.mask = mask_of(context).read();
        step.count = 0;
        touch(step, entry, access, context);
        mask_of(context).write(STEPPING);
        (*context).uc_mcontext.gregs[libc::REG_EFL as usize] |= TRAP_FLAG;
        step.running = true;
    }
    true
}

/// A fault of the instruction that is stepped: it touches another trapped place, or its operand cannot be moved; else
/// the fault is its own, the step is over, and false leaves it to the others.
///
/// # Safety
/// As for [`take`], and this thread holds the lock.
unsafe fn go_on(access: Option<Access>, info: *mut siginfo_t, context: *mut ucontext_t) -> bool {
    // SAFETY: the lock is held; the caller's promise.
    unsafe {
        let step = &mut *STEP.0.get();
        let Some(access) = access else {
            return fail(info, context);
        };
        let failed = step.touches[..step.count].iter_mut().flatten().find(|touch| {
            matches!(touch.way, Way::Moved { .. }) && (touch.access == access || touch.runs_over(access))
        });
        if let Some(touch) = failed {
            touch.undo(context, false);
            touch.open();
        } else {
            let known = step.touches[..step.count].iter().flatten().any(|touch| touch.access == access);
            match find(access) {
                Some(entry) if !known => touch(step, entry, access, context),
                _ => return fail(info, context),
            }
        }
        step.running = true;
    }
    true
}

/// Adds a place to the step: tells the watch, then moves the address or opens the page.
///
/// # Safety
/// As for [`go_on`].
unsafe fn touch(step: &mut Step, entry: &'static Entry, access: Access, context: *mut ucontext_t) {
    // SAFETY: the caller's promise; the instruction has faulted at its data.
    unsafe {
        entry.span().tell(access, |watch, offset| watch.before(offset, access.write));
        let registers = &raw mut (*context).uc_mcontext.gregs;
        let code = (*registers)[libc::REG_RIP as usize] as *const u8;
        let mut touch = Touch { entry, access, way: Way::Opened };
        let (before, rest) = step.touches.split_at_mut(step.count);
        let twice = |place: usize| before.iter().flatten().any(|touch| touch.moves(place));
        match operand::of(code, access.write).map(|found| (PLACES[found.register] as usize, found)) {
            Some((place, found)) if !twice(place) => {
                touch.way = Way::Moved { place, overwritten: found.overwritten };
                let register = &raw mut (*registers)[place];
                *register = (*register).wrapping_add(entry.span().shift as i64);
            }
            _ => touch.open(),
        }
        match rest.first_mut() {
            Some(free) => *free = Some(touch),
            None => fatal("devregs: one instruction touches more than 32 trapped pages\n"),
        }
        step.count += 1;
    }
}

impl Span {
    /// Tells the watch of what lies in the span.
    fn tell(&self, access: Access, how: impl FnOnce(&dyn Watch, usize)) {
        let offset = access.address.wrapping_sub(self.start);
        if offset < self.size {
            how(&*self.watch, offset);
        }
    }
}

impl Touch {
    fn moves(&self, register: usize) -> bool {
        matches!(self.way, Way::Moved { place, .. } if place == register)
    }

    /// Whether this is a fault on a closed page beside the second mapping.
    ///
    /// # Safety
    /// The lock is held.
    unsafe fn runs_over(&self, access: Access) -> bool {
        // SAFETY: the caller's promise.
        let span = unsafe { self.entry.span() };
        let (pages, address) = (self.entry.pages(), access.address.wrapping_sub(span.shift));
        !pages.contains(&address) && (pages.start - span.page..pages.end + span.page).contains(&address)
    }

    /// Opens the page for what is done there and no more: a store to what is read comes as another fault.
    ///
    /// # Safety
    /// The lock is held.
    unsafe fn open(&mut self) {
        self.way = Way::Opened;
        let write = if self.access.write { libc::PROT_WRITE } else { 0 };
        // SAFETY: the caller's promise.
        unsafe { self.protect_page(libc::PROT_READ | write) };
    }

    /// # Safety
    /// The lock is held.
    unsafe fn protect_page(&self, protection: c_int) {
        // SAFETY: the caller's promise.
        let page = unsafe { self.entry.span().page };
        let low = self.access.address - self.access.address % page;
        if protect(low, low + page, protection).is_err() {
            fatal(
                "devregs: the kernel refuses to open or close a trapped page: was it unmapped while in use?\n",
            );
        }
    }

    /// Puts the register or the page back. An instruction that is `done` has loaded what it `overwrote`.
    ///
    /// # Safety
    /// As for [`go_on`].
    unsafe fn undo(&self, context: *mut ucontext_t, done: bool) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.way {
                Way::Moved { overwritten: true, .. } if done => {}
                Way::Moved { place, .. } => {
                    let register = &raw mut (*context).uc_mcontext.gregs[place];
                    *register = (*register).wrapping_sub(self.entry.span().shift as i64);
                }
                Way::Opened => self.protect_page(libc::PROT_NONE),
            }
        }
    }
}

/// Ends a step whose instruction has a fault of its own, which is then told with the address that the program meant.
///
/// # Safety
/// As for [`go_on`].
unsafe fn fail(info: *mut siginfo_t, context: *mut ucontext_t) -> bool {
    // SAFETY: the lock is held; the caller's promise. The address is the first of siginfo's union, at 16 bytes.
    unsafe {
        let address = (*info).si_addr() as usize;
        let step = &*STEP.0.get();
        for touch in step.touches[..step.count].iter().flatten() {
            let meant = address.wrapping_sub(touch.entry.span().shift);
            if touch.entry.pages().contains(&meant) {
                info.cast::<usize>().add(2).write(meant);
            }
        }
        end(context, false);
    }
    false
}

/// Ends a step: all is as it was but for what the instruction has done.
///
/// # Safety
/// As for [`go_on`].
unsafe fn end(context: *mut ucontext_t, done: bool) {
    // SAFETY: the lock is held; the caller's promise.
    unsafe {
        let step = &*STEP.0.get();
        let touches = || step.touches[..step.count].iter().flatten();
        touches().for_each(|touch| touch.undo(context, done));
        (*context).uc_mcontext.gregs[libc::REG_EFL as usize] &= !TRAP_FLAG;
        mask_of(context).write(step.mask);
        for touch in touches() {
            let write = touch.access.write;
            touch.entry.span().tell(touch.access, |watch, offset| watch.after(offset, write));
        }
    }
    release();
}

/// Where the interrupted thread's mask is kept: one word, for the kernel's set is shorter than the C library's type.
///
/// # Safety
/// As for [`take`].
unsafe fn mask_of(context: *mut ucontext_t) -> *mut Mask {
    // SAFETY: inside the structure, by the caller's promise.
    unsafe { (&raw mut (*context).uc_sigmask).cast() }
}

/// Says why, and ends the process: to go on would be to wait for ever, or to miss accesses.
fn fatal(reason: &str) -> ! {
    // SAFETY: writes bytes that are there, and ends.
    unsafe {
        libc::write(2, reason.as_ptr().cast(), reason.len());
        libc::abort()
    }
}
