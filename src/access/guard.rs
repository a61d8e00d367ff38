//! The fault guard: a SIGBUS or SIGSEGV at one of our accesses becomes an error of that access.
//!
//! Each access leaves a site in a section of its own: where it begins and where it ends. The handler looks the program
//! counter up there; on a hit it lets the thread go on behind the access, with signal and code in a register that the
//! access looks at. No setjmp, no thread-locals, no system call on the way of an access that works.
//!
//! Whatever is not ours goes to the handler that was there before: as if we were not there. One that comes later, such
//! as faulthandler's, takes our place; so every open of a device looks who is on top, and installs above. Then
//! "before" and "after" can form a ring, which re-entry by the same thread shows: the oldest handler ends it.
//!
//! Trapped pages come first: an access to one is no fault, and SIGTRAP, handled only for them, ends its single step.
#![allow(unsafe_code)] // A signal handler.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::libc;

#[cfg(traps)]
use super::trap;
use super::{Lock, arch, registry};

/// Where an access begins and ends, each relative to the place of the number itself.
#[repr(C)]
struct Site {
    start: i32,
    end: i32,
}

// The linker knows where a section begins and ends if its name is an identifier.
unsafe extern "C" {
    #[link_name = "__start_devregs_sites"]
    static FIRST: Site;
    #[link_name = "__stop_devregs_sites"]
    static LAST: Site;
}

/// What was there before us, for one signal.
struct Chain {
    signal: c_int,
    installed: AtomicBool,
    oldest: Previous,
    latest: Previous,
    /// The thread that is in the handler called last, for it may call us.
    within: AtomicI32,
}

/// A disposition, written under [`INSTALLING`] before the handler can read it.
struct Previous(UnsafeCell<MaybeUninit<libc::sigaction>>);

// SAFETY: written with INSTALLING held, before our handler is installed or again while it is: a handler that runs at
// that very moment reads one whole disposition or the other on all our architectures but for its flags and mask, which
// are the same for a handler that stays the same.
unsafe impl Sync for Previous {}

impl Previous {
    const fn new() -> Previous {
        Previous(UnsafeCell::new(MaybeUninit::uninit()))
    }
}

impl Chain {
    const fn new(signal: c_int) -> Chain {
        Chain {
            signal,
            installed: AtomicBool::new(false),
            oldest: Previous::new(),
            latest: Previous::new(),
            within: AtomicI32::new(0),
        }
    }

    fn install(&self) -> io::Result<()> {
        let _one = INSTALLING.hold();
        // SAFETY: sigaction with valid pointers; zeroed is a valid disposition to be filled.
        unsafe {
            let mut before: libc::sigaction = zeroed();
            check(libc::sigaction(self.signal, ptr::null(), &mut before))?;
            if before.sa_sigaction == ours() {
                return Ok(());
            }
            // The handler may run as soon as it is installed, so what was before must be known before.
            (*self.latest.0.get()).write(before);
            if !self.installed.swap(true, Ordering::AcqRel) {
                (*self.oldest.0.get()).write(before);
            }
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = ours();
            // NODEFER: a fault in a handler called from here must not be the end.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            libc::sigemptyset(&mut action.sa_mask);
            check(libc::sigaction(self.signal, &action, ptr::null_mut()))
        }
    }

    /// The one of a signal.
    fn of(signal: c_int) -> Option<&'static Chain> {
        #[cfg(traps)]
        if signal == libc::SIGTRAP {
            return Some(&STEPS);
        }
        CHAINS.iter().find(|chain| chain.signal == signal)
    }
}

static CHAINS: [Chain; 2] = [Chain::new(libc::SIGBUS), Chain::new(libc::SIGSEGV)];
/// The end of a single step, for trapped pages.
#[cfg(traps)]
static STEPS: Chain = Chain::new(libc::SIGTRAP);
/// Free in the child of a fork, whatever another thread of its parent was at.
static INSTALLING: Lock = Lock::new();

/// Installs the handler above all others, unless it is there.
///
/// # Errors
/// What sigaction says.
pub(crate) fn install() -> io::Result<()> {
    CHAINS.iter().try_for_each(Chain::install)
}

/// Installs it for single steps too.
///
/// # Errors
/// What sigaction says.
#[cfg(traps)]
pub(super) fn install_steps() -> io::Result<()> {
    STEPS.install()
}

fn ours() -> usize {
    handler as *const () as usize
}

fn check(done: c_int) -> io::Result<()> {
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

unsafe extern "C" fn handler(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the arguments are the kernel's, or those of a handler that was handed them.
    unsafe {
        let code = (*info).si_code;
        // A code above 0 is the kernel's: a fault, and not somebody's kill().
        if code > 0 {
            #[cfg(traps)]
            if trap::take(signal, info, context) {
                return;
            }
        }
        if code > 0 && signal != libc::SIGTRAP {
            let counter = arch::program_counter(context);
            if let Some(end) = site_end(counter) {
                return arch::resume(context, end, super::Fault { signal, code }.pack());
            }
            registry::tell(signal, (*info).si_addr() as usize);
        }
        pass_on(signal, info, context);
    }
}

/// The end of the access that begins at `counter`, if one does.
fn site_end(counter: usize) -> Option<usize> {
    let mut site = &raw const FIRST;
    let last = &raw const LAST;
    while site < last {
        // SAFETY: `site` lies in the section, which holds nothing but sites.
        let (start, end) = unsafe {
            let (start, end) = (&raw const (*site).start, &raw const (*site).end);
            (
                start.addr().wrapping_add_signed(start.read() as isize),
                end.addr().wrapping_add_signed(end.read() as isize),
            )
        };
        if start == counter {
            return Some(end);
        }
        site = site.wrapping_add(1);
    }
    None
}

/// Hands a signal that is not ours to whoever had it before.
///
/// # Safety
/// The arguments of a signal handler.
unsafe fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(chain) = Chain::of(signal) else { return };
    // SAFETY: gettid has no preconditions. The dispositions were written before the handler was installed.
    unsafe {
        let thread = libc::syscall(libc::SYS_gettid) as i32;
        let again = chain.within.load(Ordering::Relaxed) == thread;
        let previous = if again { &chain.oldest } else { &chain.latest };
        let previous = (*previous.0.get()).assume_init_ref();
        match previous.sa_sigaction {
            libc::SIG_IGN if (*info).si_code <= 0 => {}
            libc::SIG_DFL | libc::SIG_IGN => die(signal, (*info).si_code),
            handler => {
                chain.within.store(thread, Ordering::Relaxed);
                if previous.sa_flags & libc::SA_SIGINFO != 0 {
                    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                        std::mem::transmute(handler);
                    handler(signal, info, context);
                } else {
                    let handler: extern "C" fn(c_int) = std::mem::transmute(handler);
                    handler(signal);
                }
                chain.within.store(0, Ordering::Relaxed);
            }
        }
    }
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
