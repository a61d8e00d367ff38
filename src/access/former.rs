//! The handlers that were there before the fault guard's: what is not its own is handed to them, as if it were not there.
//!
//! A disposition never changes once a handler may see it: it is written, and then its address is, in one atomic store.
//! What was written is never freed and is found again when it comes back, so there are as many as there are handlers.
#![allow(unsafe_code)] // Calls handlers of others, from within a signal handler.

use std::ffi::{c_int, c_void};
use std::mem::zeroed;
use std::ptr;
use std::sync::atomic::{
    AtomicI32, AtomicPtr, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use nix::libc;

/// The kernel's signal set: bit n-1 is signal n.
pub(super) type Mask = u64;

/// Signals of faults. Never held back: a fault whose signal is blocked ends the process.
pub(super) const FAULTS: Mask = 1 << (libc::SIGSEGV - 1)
    | 1 << (libc::SIGBUS - 1)
    | 1 << (libc::SIGTRAP - 1)
    | 1 << (libc::SIGILL - 1)
    | 1 << (libc::SIGFPE - 1);

/// Two frames that are further apart than this many bytes are not on one stack.
const STACK: usize = 1 << 20;

/// One disposition of a signal.
struct Former {
    handler: usize,
    flags: c_int,
    mask: Mask,
    next: AtomicPtr<Former>,
}

/// What was there before us, for one signal.
pub(super) struct Chain {
    pub signal: c_int,
    /// All that ever were, for none is freed.
    known: AtomicPtr<Former>,
    /// Null until ours is installed.
    oldest: AtomicPtr<Former>,
    latest: AtomicPtr<Former>,
    /// Where the frame is that called a handler of others, and in which thread: that handler may call ours.
    frame: AtomicUsize,
    thread: AtomicI32,
}

/// Lies on the stack while a handler of others runs.
struct Mark {
    magic: usize,
}

/// What a [`Mark`] holds.
const MARKED: usize = 0x6465_7672;

static DEFAULT: Former =
    Former { handler: libc::SIG_DFL, flags: 0, mask: 0, next: AtomicPtr::new(ptr::null_mut()) };

impl Chain {
    pub const fn new(signal: c_int) -> Chain {
        Chain {
            signal,
            known: AtomicPtr::new(ptr::null_mut()),
            oldest: AtomicPtr::new(ptr::null_mut()),
            latest: AtomicPtr::new(ptr::null_mut()),
            frame: AtomicUsize::new(0),
            thread: AtomicI32::new(0),
        }
    }

    /// Whether ours was ever installed.
    pub fn begun(&self) -> bool {
        !self.oldest.load(Acquire).is_null()
    }

    /// Remembers the disposition that ours is about to replace. One thread does so at a time.
    pub fn remember(&self, before: &libc::sigaction) {
        let (handler, flags) = (before.sa_sigaction, before.sa_flags);
        let mask = word(&before.sa_mask);
        let mut next = self.known.load(Acquire);
        // SAFETY: what is in the list was leaked.
        while let Some(former) = unsafe { next.as_ref() } {
            if (former.handler, former.flags, former.mask) == (handler, flags, mask) {
                break;
            }
            next = former.next.load(Acquire);
        }
        if next.is_null() {
            let before = AtomicPtr::new(self.known.load(Relaxed));
            next = Box::into_raw(Box::new(Former { handler, flags, mask, next: before }));
            self.known.store(next, Release);
        }
        self.latest.store(next, Release);
        let _ = self.oldest.compare_exchange(ptr::null_mut(), next, AcqRel, Relaxed);
    }

    /// The disposition that was there before ours; none where ours was never installed.
    #[cfg(feature = "python")]
    pub fn before(&self) -> Option<libc::sigaction> {
        // SAFETY: dispositions are leaked; zeroed is a valid one to be filled.
        unsafe {
            let former = self.latest.load(Acquire).as_ref()?;
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = former.handler;
            action.sa_flags = former.flags;
            libc::sigemptyset(&mut action.sa_mask);
            for signal in (1..=64).filter(|signal| former.mask >> (signal - 1) & 1 == 1) {
                libc::sigaddset(&mut action.sa_mask, signal);
            }
            Some(action)
        }
    }

    /// Hands a signal that is not ours to whoever had it before.
    ///
    /// # Safety
    /// The arguments of a signal handler, in that handler.
    pub unsafe fn pass_on(&self, info: *mut libc::siginfo_t, context: *mut c_void) {
        let mark = Mark { magic: MARKED };
        let here = (&raw const mark).addr();
        // SAFETY: gettid has no preconditions; the kernel filled `info`.
        let (thread, code) = unsafe { (libc::syscall(libc::SYS_gettid) as i32, (*info).si_code) };
        // One that came after ours may know ours as the one before it, and ours knows it: the oldest ends the ring.
        // SAFETY: the caller's promise.
        let again = unsafe { self.within(here, thread, context) };
        let place = if again { &self.oldest } else { &self.latest };
        // SAFETY: dispositions are leaked, and these were written before ours was installed.
        let Some(former) = (unsafe { place.load(Acquire).as_ref() }) else { return };
        match former.handler {
            libc::SIG_IGN if code <= 0 => {}
            // SAFETY: the caller's promise.
            libc::SIG_DFL | libc::SIG_IGN => unsafe { die(self.signal, code) },
            _ => {
                if former.flags & libc::SA_RESETHAND != 0 {
                    self.forget(former);
                }
                let outer = (self.frame.load(Relaxed), self.thread.load(Relaxed));
                self.frame.store(here, Relaxed);
                self.thread.store(thread, Relaxed);
                // SAFETY: the caller's promise. It may leave by siglongjmp: nothing below is needed then.
                unsafe { former.call(self.signal, info, context) };
                self.frame.store(outer.0, Relaxed);
                self.thread.store(outer.1, Relaxed);
            }
        }
        std::hint::black_box(&mark);
    }

    /// Whether the frame at `here` was called, one way or another, by the handler that was called last. What was noted of
    /// that one proves nothing by itself, for it may have left by siglongjmp.
    ///
    /// # Safety
    /// In a signal handler that got this context.
    unsafe fn within(&self, here: usize, thread: i32, context: *mut c_void) -> bool {
        let frame = self.frame.load(Relaxed);
        if frame <= here || frame - here > STACK || self.thread.load(Relaxed) != thread {
            return false;
        }
        // SAFETY: the caller's promise.
        let stack = unsafe { (*context.cast::<libc::ucontext_t>()).uc_stack };
        let alternate = stack.ss_sp.addr()..stack.ss_sp.addr() + stack.ss_size;
        if alternate.contains(&here) != alternate.contains(&frame) {
            return false;
        }
        // SAFETY: above `here` on the stack of this thread, which is mapped up to its first frame. Volatile, for what
        // lies there may be anything.
        unsafe { (&raw const (*(frame as *const Mark)).magic).read_volatile() == MARKED }
    }

    /// A disposition that is good for one signal has had it.
    fn forget(&self, former: &Former) {
        let (former, default) = (ptr::from_ref(former).cast_mut(), (&raw const DEFAULT).cast_mut());
        for place in [&self.latest, &self.oldest] {
            let _ = place.compare_exchange(former, default, AcqRel, Relaxed);
        }
    }
}

impl Former {
    /// Calls the handler as the kernel would: with its mask, but for faults.
    ///
    /// # Safety
    /// The arguments of a signal handler, in that handler.
    unsafe fn call(&self, signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        // SAFETY: the caller's promise. The kernel's set is one word of the C library's type, which may be longer.
        let interrupted = unsafe {
            (&raw const (*context.cast::<libc::ucontext_t>()).uc_sigmask).cast::<Mask>().read_unaligned()
        };
        let before = set_mask(libc::SIG_SETMASK, (interrupted | self.mask) & !FAULTS);
        // SAFETY: a handler of a disposition with these flags takes these arguments.
        unsafe {
            if self.flags & libc::SA_SIGINFO != 0 {
                let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                    std::mem::transmute(self.handler);
                handler(signal, info, context);
            } else {
                let handler: extern "C" fn(c_int) = std::mem::transmute(self.handler);
                handler(signal);
            }
        }
        set_mask(libc::SIG_SETMASK, before);
    }
}

/// Of this thread; returns the one before. The C library's call would leave some of its own signals out.
pub(super) fn set_mask(how: c_int, mask: Mask) -> Mask {
    let mut before: Mask = 0;
    // SAFETY: two valid sets of the size that the kernel's are.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const mask, &raw mut before, size_of::<Mask>())
    };
    before
}

/// The kernel's part of a set.
fn word(set: &libc::sigset_t) -> Mask {
    (1..=64).fold(0, |mask, signal| {
        // SAFETY: a set that was filled.
        let member = unsafe { libc::sigismember(set, signal) } == 1;
        mask | Mask::from(member) << (signal - 1)
    })
}

/// Lets the default action happen. A fault happens again as soon as the handler returns; what was sent is sent again,
/// and a trap too, which comes behind its instruction.
///
/// # Safety
/// In a signal handler.
unsafe fn die(signal: c_int, code: c_int) {
    // SAFETY: calls that a signal handler may make, with valid arguments.
    unsafe {
        let mut default: libc::sigaction = zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, &default, ptr::null_mut());
        if code <= 0 || signal == libc::SIGTRAP {
            libc::raise(signal);
        }
    }
}
