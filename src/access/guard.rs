//! The fault guard: a SIGBUS or SIGSEGV at one of our accesses becomes an error of that access.
//!
//! Each access leaves a site in a section of its own: where it begins and where it ends. The handler looks the program
//! counter up there; on a hit it lets the thread go on behind the access, with signal and code in a register that the
//! access looks at. No setjmp, no thread-locals, no system call on the way of an access that works.
//!
//! Whatever is not ours goes to the handler that was there before: as if we were not there (see `former.rs`). One that
//! comes later, such as faulthandler's, takes our place. Nobody tells, and to ask at each access would cost more than
//! the access. So [`keep`] looks who is on top, and installs above, wherever that costs nothing: at each open, at each
//! view, in a wait, in a long block; the bindings call it behind the functions of Python that set handlers. A fault
//! whose signal is blocked ends the process whatever the handler, so `keep` lets them through in its thread, too.
//!
//! Trapped pages come first: an access to one is no fault, and SIGTRAP, handled only for them, ends its single step.
#![allow(unsafe_code)] // A signal handler.

#[cfg(feature = "python")]
use std::ffi::CStr;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem::zeroed;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::libc;

use super::former::{Chain, FAULTS, set_mask};
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

static CHAINS: [Chain; 2] = [Chain::new(libc::SIGBUS), Chain::new(libc::SIGSEGV)];
/// The end of a single step, for trapped pages.
#[cfg(traps)]
static STEPS: Chain = Chain::new(libc::SIGTRAP);
/// Free in the child of a fork, whatever another thread of its parent was at.
static INSTALLING: Lock = Lock::new();
/// The disposition that was found in the place of ours last, and was not told to [`displaced`] yet.
static DISPLACED: AtomicUsize = AtomicUsize::new(NOBODY);
/// No disposition.
const NOBODY: usize = usize::MAX;

/// Installs the handler above all others unless it is there, and lets faults through in this thread.
///
/// # Errors
/// What sigaction says.
pub(super) fn keep() -> io::Result<()> {
    for chain in &CHAINS {
        if let Some(displaced) = install(chain)? {
            DISPLACED.store(displaced, Ordering::Relaxed);
        }
    }
    set_mask(libc::SIG_UNBLOCK, FAULTS);
    Ok(())
}

/// Everything that was ever installed.
#[cfg(feature = "python")]
fn begun() -> impl Iterator<Item = &'static Chain> {
    let chains = CHAINS.iter();
    #[cfg(traps)]
    let chains = chains.chain(std::iter::once(&STEPS));
    chains.filter(|chain| chain.begun())
}

/// Puts back what was there before, for a moment in which somebody looks at it and puts something else there.
///
/// # Errors
/// What sigaction says.
#[cfg(feature = "python")]
pub(super) fn step_aside() -> io::Result<()> {
    begun().try_for_each(|chain| {
        let _one = INSTALLING.hold();
        // SAFETY: sigaction with valid pointers; zeroed is a valid disposition to be filled.
        unsafe {
            let mut now: libc::sigaction = zeroed();
            check(libc::sigaction(chain.signal, ptr::null(), &mut now))?;
            match chain.before().filter(|_| now.sa_sigaction == ours()) {
                Some(before) => check(libc::sigaction(chain.signal, &before, ptr::null_mut())),
                None => Ok(()),
            }
        }
    })
}

/// As [`keep`], behind something that was expected to change handlers or masks; nothing where no device was opened yet.
///
/// # Errors
/// What sigaction says.
#[cfg(feature = "python")]
pub(super) fn renew() -> io::Result<()> {
    let mut any = false;
    for chain in begun() {
        install(chain)?;
        any = true;
    }
    if any {
        set_mask(libc::SIG_UNBLOCK, FAULTS);
    }
    Ok(())
}

/// Who took the place of our handler unnoticed until [`keep`] found out, for a message: once.
#[cfg(feature = "python")]
pub(super) fn displaced() -> Option<String> {
    // The usual answer, without a write.
    if DISPLACED.load(Ordering::Relaxed) == NOBODY {
        return None;
    }
    let handler = match DISPLACED.swap(NOBODY, Ordering::Relaxed) {
        NOBODY => return None,
        libc::SIG_DFL | libc::SIG_IGN => return Some("no handler at all".into()),
        handler => handler as *const c_void,
    };
    // SAFETY: dladdr fills what it is given, or says that it did not; a name that it gives stays while the library does.
    let file = unsafe {
        let mut found: libc::Dl_info = zeroed();
        let known = libc::dladdr(handler, &mut found) != 0 && !found.dli_fname.is_null();
        known.then(|| CStr::from_ptr(found.dli_fname).to_string_lossy().into_owned())
    };
    Some(file.map_or("another handler".into(), |file| format!("a handler of {file}")))
}

/// Installs it for single steps too.
///
/// # Errors
/// What sigaction says.
#[cfg(traps)]
pub(super) fn install_steps() -> io::Result<()> {
    install(&STEPS).map(drop)
}

/// Installs the handler for one signal, unless it is there. Gives the disposition that had taken its place, if one had.
fn install(chain: &Chain) -> io::Result<Option<usize>> {
    const FLAGS: c_int = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    let _one = INSTALLING.hold();
    // SAFETY: sigaction with valid pointers; zeroed is a valid disposition to be filled.
    unsafe {
        let mut before: libc::sigaction = zeroed();
        check(libc::sigaction(chain.signal, ptr::null(), &mut before))?;
        let (own, first) = (before.sa_sigaction == ours(), !chain.begun());
        if own && before.sa_flags & FLAGS == FLAGS {
            return Ok(None);
        }
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = ours();
        // NODEFER: a fault in a handler called from here must not be the end. Calls that a sent signal interrupts are
        // restarted where they were before.
        let restart = if before.sa_sigaction == libc::SIG_IGN { libc::SA_RESTART } else { before.sa_flags };
        action.sa_flags = FLAGS | restart & libc::SA_RESTART;
        action.sa_mask = all_but_faults();
        // Somebody may have put it back by signal(), which knows no flags.
        if !own {
            // The handler may run as soon as it is installed, so what was before must be known before.
            chain.remember(&before);
        }
        check(libc::sigaction(chain.signal, &action, ptr::null_mut()))?;
        Ok((!own && !first).then_some(before.sa_sigaction))
    }
}

/// What waits while the handler runs. A signal stack may have room for two frames only, for with AVX-512 each takes
/// 3.6 KB; so no other handler may run on top of ours. To block a fault would be to be killed by it.
fn all_but_faults() -> libc::sigset_t {
    // SAFETY: a signal set is bits, any of which may be set; the calls are given a valid one.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        // The C library's call would leave some of its own signals out.
        ptr::from_mut(&mut set).write_bytes(0xff, 1);
        for fault in (1..=64).filter(|signal| FAULTS >> (signal - 1) & 1 == 1) {
            libc::sigdelset(&mut set, fault);
        }
        set
    }
}

fn ours() -> usize {
    handler as *const () as usize
}

fn check(done: c_int) -> io::Result<()> {
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether a signal with this code is a fault, and not somebody's kill(): the kernel's codes are above 0. But for what
/// the bus of a 32-bit Arm answers, whose code is that of kill(): there only an access of ours, which the program
/// counter shows, decides.
const fn is_fault(signal: c_int, code: c_int, arm: bool) -> bool {
    code > 0 || arm && signal == libc::SIGBUS && code == libc::SI_USER
}

unsafe extern "C" fn handler(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the arguments are the kernel's, or those of a handler that was handed them.
    unsafe {
        let code = (*info).si_code;
        #[cfg(traps)]
        if code > 0 && trap::take(signal, info, context) {
            return;
        }
        if signal != libc::SIGTRAP && is_fault(signal, code, cfg!(target_arch = "arm")) {
            let counter = arch::program_counter(context);
            if let Some(end) = site_end(counter) {
                return arch::resume(context, end, super::Fault { signal, code }.pack());
            }
            registry::tell(signal, (*info).si_addr() as usize);
        }
        if let Some(chain) = of(signal) {
            chain.pass_on(info, context);
        }
    }
}

/// The chain of a signal.
fn of(signal: c_int) -> Option<&'static Chain> {
    #[cfg(traps)]
    if signal == libc::SIGTRAP {
        return Some(&STEPS);
    }
    CHAINS.iter().find(|chain| chain.signal == signal)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kill_sends_is_no_fault_but_for_a_bus_error_of_arm() {
        for arm in [false, true] {
            for signal in [libc::SIGBUS, libc::SIGSEGV] {
                assert!(is_fault(signal, 1, arm) && is_fault(signal, 0x80, arm));
                assert!(!is_fault(signal, libc::SI_TKILL, arm) && !is_fault(signal, libc::SI_QUEUE, arm));
                assert_eq!(is_fault(signal, libc::SI_USER, arm), arm && signal == libc::SIGBUS);
            }
        }
    }
}
