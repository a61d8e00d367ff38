//! The steps themselves: a fault, one instruction, a trap. See the module above for what it is about.
//!
//! One thread steps at a time, under a lock that it takes in one signal handler and gives back in the next. All that
//! is not atomic here belongs to its holder. Nothing here allocates between.
#![allow(unsafe_code)] // See the module above.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use nix::libc::{self, siginfo_t, ucontext_t};

use super::hold::{INSIDE, Mask, STEPPING, acquire, fatal, holds, me, release, set_mask};
use super::operand;
use super::spans::{Access, Entry, REMOVED, any, find, protect};
use super::string;

const TRAP_FLAG: i64 = 1 << 8;
const PAGE_FAULT: i64 = 14;
/// Bits of a page fault's error code.
const WRITE: i64 = 1 << 1;
const FETCH: i64 = 1 << 4;

/// As many pages as one instruction can touch: a gather of 16 words, each over the end of a page.
const MOST: usize = 32;

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

static STEP: Held = Held(UnsafeCell::new(Step {
    running: false,
    mask: 0,
    count: 0,
    touches: [None; MOST],
    tried: (0, 0, 0),
}));

/// Takes a fault or a trap that belongs to a step; false leaves it to the others.
///
/// # Safety
/// The arguments of a signal handler, with a code of the kernel's.
pub(in crate::access) unsafe fn take(signal: c_int, info: *mut siginfo_t, context: *mut c_void) -> bool {
    if !any() {
        return false;
    }
    let me = me();
    // SAFETY: the caller's promise; what the lock guards is looked at by its holder.
    unsafe {
        let errno = *libc::__errno_location();
        let context = context.cast::<ucontext_t>();
        let access = (signal == libc::SIGSEGV).then(|| access(info, context)).flatten();
        let taken = match (holds(me), access) {
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
        if string::carry(context) {
            release();
            set_mask(libc::SIG_SETMASK, mask);
            return true;
        }
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
