//! A fault guard like the one a register library has, for the tests of the tracer itself: it turns a
//! fault of its own load or store into a result, and hands on every other.

use std::arch::global_asm;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicPtr, Ordering::SeqCst};

use libc::{c_int, c_void, sigaction, siginfo_t, ucontext_t};

global_asm!(
    ".hidden devregs_tracer_guarded_load, devregs_tracer_guarded_store",
    ".globl devregs_tracer_guarded_load, devregs_tracer_guarded_store",
    "devregs_tracer_guarded_load:",
    "mov eax, [rdi]",
    "xor edx, edx",
    "ret",
    "devregs_tracer_guarded_store:",
    "mov [rdi], esi",
    "xor edx, edx",
    "ret",
    ".hidden devregs_tracer_guard_fixed",
    ".globl devregs_tracer_guard_fixed",
    "devregs_tracer_guard_fixed:",
    "ret",
);

/// What a guarded access gives, in RAX and RDX.
#[repr(C)]
struct Outcome {
    value: u64,
    /// 0, or the signal of the fault.
    signal: u64,
}

unsafe extern "C" {
    fn devregs_tracer_guarded_load(address: usize) -> Outcome;
    fn devregs_tracer_guarded_store(address: usize, value: u32) -> Outcome;
    fn devregs_tracer_guard_fixed();
}

const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];
static PREVIOUS: [AtomicPtr<sigaction>; 2] = [const { AtomicPtr::new(ptr::null_mut()) }; 2];
static INSTALLING: Mutex<()> = Mutex::new(());

/// Puts the guard on top, remembering what was there.
#[unsafe(no_mangle)]
extern "C" fn guard_install() {
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
        // SAFETY: zeros are a valid sigaction, and the kernel fills `old`.
        unsafe {
            let mut old: sigaction = MaybeUninit::zeroed().assume_init();
            libc::sigaction(signal, ptr::null(), &mut old);
            previous.store(Box::into_raw(Box::new(old)), SeqCst);
            let mut new: sigaction = MaybeUninit::zeroed().assume_init();
            new.sa_sigaction = on_fault as *const () as usize;
            new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            libc::sigaction(signal, &new, ptr::null_mut());
        }
    }
}

/// Puts back what was there before the guard.
#[unsafe(no_mangle)]
extern "C" fn guard_remove() {
    for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
        // SAFETY: stored by `guard_install`, and never freed.
        unsafe { libc::sigaction(signal, previous.load(SeqCst), ptr::null_mut()) };
    }
}

/// Loads a 32-bit word; -1 less the signal where that faults.
#[unsafe(no_mangle)]
extern "C" fn guard_load(address: usize) -> i64 {
    // SAFETY: a fault of this instruction is caught, whatever the address; it only reads.
    result(unsafe { devregs_tracer_guarded_load(address) })
}

/// Stores a 32-bit word; -1 less the signal where that faults.
///
/// # Safety
/// If the address can be written, it may be.
#[unsafe(no_mangle)]
unsafe extern "C" fn guard_store(address: usize, value: u32) -> i64 {
    // SAFETY: a fault of this instruction is caught; else the caller's promise.
    let mut outcome = unsafe { devregs_tracer_guarded_store(address, value) };
    outcome.value = 0;
    result(outcome)
}

fn result(outcome: Outcome) -> i64 {
    match outcome.signal {
        0 => i64::from(outcome.value as u32),
        signal => -1 - signal as i64,
    }
}

unsafe extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let machine = context.cast::<ucontext_t>();
    // SAFETY: the kernel passed both; the indexes are inside the array.
    unsafe {
        let registers = &raw mut (*machine).uc_mcontext.gregs;
        let rip = (*registers)[libc::REG_RIP as usize] as usize;
        let own = [
            devregs_tracer_guarded_load as *const () as usize,
            devregs_tracer_guarded_store as *const () as usize,
        ];
        if (*info).si_code > 0 && own.contains(&rip) {
            (*registers)[libc::REG_RDX as usize] = signal.into();
            let fixed = devregs_tracer_guard_fixed as *const () as usize;
            (*registers)[libc::REG_RIP as usize] = fixed as i64;
            return;
        }
    }
    let which = usize::from(signal == libc::SIGBUS);
    // SAFETY: stored by `guard_install`, and never freed.
    let previous = unsafe { &*PREVIOUS[which].load(SeqCst) };
    if previous.sa_flags & libc::SA_SIGINFO != 0 {
        type Handler = unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
        // SAFETY: a function of this type, by its flag, called with what the kernel passed.
        unsafe { std::mem::transmute::<usize, Handler>(previous.sa_sigaction)(signal, info, context) };
    } else if previous.sa_sigaction > libc::SIG_IGN {
        // SAFETY: a function of this type, by its flag.
        unsafe { std::mem::transmute::<usize, unsafe extern "C" fn(c_int)>(previous.sa_sigaction)(signal) };
    } else {
        // SAFETY: what the kernel gave out; the fault comes again.
        unsafe { libc::sigaction(signal, previous, ptr::null_mut()) };
    }
}
