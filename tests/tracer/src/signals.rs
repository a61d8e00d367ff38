//! Being on top of the signal handlers, and passing on what is not for the tracer.
//!
//! Someone may install a handler above the tracer's and keep calling it as "the previous one". It
//! then cannot be taken out, so every trace uses a handler function of its own: an old one only
//! passes on, to what was below it, and no circle can form.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::SeqCst};

use libc::{c_int, c_void, sigaction, siginfo_t, ucontext_t};

use crate::engine;

/// What a fault or a step can raise.
const SIGNALS: [c_int; 3] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGTRAP];

/// A kernel signal set: bit n-1 is signal n.
pub type Mask = u64;

/// Signals that an instruction raises by itself; to block them is to be killed by them.
const SYNCHRONOUS: Mask =
    bit(libc::SIGSEGV) | bit(libc::SIGBUS) | bit(libc::SIGTRAP) | bit(libc::SIGILL) | bit(libc::SIGFPE);

/// What waits while an instruction is stepped: another handler must not run with the pages open.
pub const STEPPING: Mask = !SYNCHRONOUS;

const fn bit(signal: c_int) -> Mask {
    1 << (signal - 1)
}

type Handler = unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// A handler function and what was there before it.
struct Slot {
    handler: Handler,
    /// Installed, or still called by someone who installed himself above.
    taken: AtomicBool,
    previous: [AtomicPtr<sigaction>; SIGNALS.len()],
}

const fn slot(handler: Handler) -> Slot {
    Slot {
        handler,
        taken: AtomicBool::new(false),
        previous: [const { AtomicPtr::new(ptr::null_mut()) }; SIGNALS.len()],
    }
}

static SLOTS: [Slot; 16] = [
    slot(handler::<0>),
    slot(handler::<1>),
    slot(handler::<2>),
    slot(handler::<3>),
    slot(handler::<4>),
    slot(handler::<5>),
    slot(handler::<6>),
    slot(handler::<7>),
    slot(handler::<8>),
    slot(handler::<9>),
    slot(handler::<10>),
    slot(handler::<11>),
    slot(handler::<12>),
    slot(handler::<13>),
    slot(handler::<14>),
    slot(handler::<15>),
];

/// Puts the tracer's handlers on top; returns which slot they use.
///
/// # Errors
/// The reason, for a person.
pub fn install() -> Result<usize, String> {
    let free = SLOTS.iter().position(|slot| !slot.taken.swap(true, SeqCst));
    let index = free.ok_or("handlers were installed above the tracer's in too many traces")?;
    let slot = &SLOTS[index];
    for (signal, previous) in SIGNALS.into_iter().zip(&slot.previous) {
        // Kept before ours is called, and never freed: a handler may be reading it at any time.
        previous.store(Box::into_raw(Box::new(action_of(signal))), SeqCst);
        // SAFETY: all zeros is a valid sigaction.
        let mut action: sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = slot.handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        // SAFETY: a sigset_t is at least a kernel mask, which is its first word.
        unsafe { (&raw mut action.sa_mask).cast::<Mask>().write(STEPPING) };
        set_action(signal, &action);
    }
    Ok(index)
}

/// Puts back what was there. False where someone sits above by now: then the slot stays, inert.
#[must_use]
pub fn remove(index: usize) -> bool {
    let slot = &SLOTS[index];
    let mut on_top = true;
    for (signal, previous) in SIGNALS.into_iter().zip(&slot.previous) {
        if action_of(signal).sa_sigaction == slot.handler as usize {
            // SAFETY: `install` stored a sigaction that is never freed.
            set_action(signal, unsafe { &*previous.load(SeqCst) });
        } else {
            on_top = false;
        }
    }
    if on_top {
        slot.taken.store(false, SeqCst);
    }
    on_top
}

fn action_of(signal: c_int) -> sigaction {
    let mut action = MaybeUninit::zeroed();
    // SAFETY: asks only; the kernel fills the structure, which is valid as zeros already.
    unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
        action.assume_init()
    }
}

fn set_action(signal: c_int, action: &sigaction) {
    // SAFETY: a complete action: the tracer's own, or one the kernel gave out before.
    unsafe { libc::sigaction(signal, action, ptr::null_mut()) };
}

/// What the kernel calls.
unsafe extern "C" fn handler<const SLOT: usize>(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let context = context.cast::<ucontext_t>();
    // SAFETY: the kernel passes both for SA_SIGINFO.
    let handled = unsafe { engine::handle(SLOT, signal, info, context) };
    if !handled {
        // SAFETY: as above.
        unsafe { pass_on(SLOT, signal, info, context) };
    }
}

/// Does what would have happened without the tracer.
///
/// # Safety
/// `info` and `context` are what the kernel passed to the handler.
unsafe fn pass_on(index: usize, signal: c_int, info: *mut siginfo_t, context: *mut ucontext_t) {
    let which = SIGNALS.iter().position(|s| *s == signal);
    let Some(previous) = which.and_then(|which| SLOTS.get(index)?.previous.get(which)) else {
        return;
    };
    // SAFETY: `install` stored a sigaction before the handler, and it is never freed.
    let previous = unsafe { &*previous.load(SeqCst) };
    // SAFETY: the kernel filled it.
    let sent = unsafe { (*info).si_code } <= 0;
    match previous.sa_sigaction {
        libc::SIG_IGN if sent => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            engine::give_up(index);
            let mut default = *previous;
            default.sa_sigaction = libc::SIG_DFL;
            set_action(signal, &default);
            // A fault comes again by itself when the instruction is tried again.
            if sent {
                // SAFETY: sends a signal to this thread.
                unsafe { libc::raise(signal) };
            }
        }
        function => {
            // SAFETY: the first word of a sigset_t is the kernel's mask.
            let own = unsafe { (&raw const previous.sa_mask).cast::<Mask>().read() };
            let itself = if previous.sa_flags & libc::SA_NODEFER == 0 { bit(signal) } else { 0 };
            // SAFETY: `context` is the kernel's.
            set_mask(unsafe { mask_of(context).read() } | own | itself);
            if previous.sa_flags & libc::SA_SIGINFO != 0 {
                // SAFETY: whoever set SA_SIGINFO gave a function of this type.
                let call = unsafe { std::mem::transmute::<usize, Handler>(function) };
                // SAFETY: called with what the kernel would have passed.
                unsafe { call(signal, info, context.cast()) };
            } else {
                // SAFETY: without SA_SIGINFO it is a function of this type.
                let call: unsafe extern "C" fn(c_int) = unsafe { std::mem::transmute(function) };
                // SAFETY: called with what the kernel would have passed.
                unsafe { call(signal) };
            }
        }
    }
}

/// Where the interrupted thread's mask is kept. It is one word: the kernel's set is shorter than the
/// C library's type, and what follows it in the frame is not ours.
///
/// # Safety
/// `context` is what the kernel passed to a handler.
pub unsafe fn mask_of(context: *mut ucontext_t) -> *mut Mask {
    // SAFETY: inside the structure, by the caller's promise.
    unsafe { (&raw mut (*context).uc_sigmask).cast() }
}

fn set_mask(mask: Mask) {
    // SAFETY: sets this thread's mask from one word; the end of the handler restores it.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            ptr::null_mut::<Mask>(),
            size_of::<Mask>(),
        )
    };
}
