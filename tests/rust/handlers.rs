//! Handlers that leave by siglongjmp, as cysignals' do: they never return to the one that has called them.
#![allow(unsafe_code)] // Signal handlers, and what they come from.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use devregs::access::{GUARDED, keep_guard};
use devregs::device::{Device, Options};
use devregs::error::Error;
use devregs::map::Map;
use devregs::source::Source;
use nix::libc;

const MAP: &str = r#"
[device]
name = "gone"
[regions.regs]
size = 0x1000
[regions.regs.registers.R]
offset = 0x10
"#;

unsafe extern "C" {
    fn getcontext(context: *mut libc::ucontext_t) -> libc::c_int;
    fn setcontext(context: *const libc::ucontext_t) -> libc::c_int;
}

/// Where the handler goes. One test is at it at a time.
static mut BACK: MaybeUninit<libc::ucontext_t> = MaybeUninit::uninit();
static LEFT: AtomicUsize = AtomicUsize::new(0);

/// What siglongjmp does: it restores the stack, the registers and the signal mask.
extern "C" fn leave(_: libc::c_int) {
    LEFT.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the context was taken by a function that has not returned yet.
    unsafe { setcontext((&raw const BACK).cast()) };
}

fn install(flags: libc::c_int) {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: a valid disposition, whose function takes what such a handler gets.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = leave as *const () as usize;
            action.sa_flags = flags;
            assert_eq!(libc::sigaction(signal, &action, ptr::null_mut()), 0);
        }
    }
}

/// A fault that is none of devregs', so many calls further down.
#[inline(never)]
fn fault(deeper: usize) {
    let filler = black_box([deeper; 64]);
    match deeper {
        // SAFETY: none: it faults, and the handler never comes back here.
        0 => unsafe {
            black_box((8 as *const u8).read_volatile());
        },
        _ => fault(deeper - 1),
    }
    black_box(filler);
}

/// Whether the handler of the program was reached by a fault.
#[inline(never)]
fn reaches(deeper: usize) -> bool {
    let before = black_box(LEFT.load(Ordering::Relaxed));
    // SAFETY: a place to fill. It returns a second time when the handler goes back.
    unsafe { getcontext((&raw mut BACK).cast()) };
    if LEFT.load(Ordering::Relaxed) == before {
        fault(deeper);
    }
    LEFT.load(Ordering::Relaxed) == before + 1
}

fn device(path: &Path) -> Device {
    std::fs::write(path, vec![0; 0x1000]).unwrap();
    let map = Map::parse(MAP, "gone.toml").unwrap().map;
    let device = Device::open(map, &Source::File(path.into()), &Options::default()).unwrap();
    std::fs::File::options().write(true).open(path).unwrap().set_len(0).unwrap();
    device
}

#[test]
fn a_handler_that_never_returns_keeps_its_signals_and_so_do_we() {
    if !GUARDED {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let contained = |device: &Device| matches!(device.register("R").unwrap().read(), Err(Error::Bus(_)));
    let device = device(&folder.path().join("memory"));
    for flags in [libc::SA_NODEFER, libc::SA_ONSTACK, 0] {
        // Above ours, then ours above it: what is called "before" ours is not the oldest.
        install(flags);
        keep_guard().unwrap();
        for stack in [true, false] {
            if !stack {
                let none = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
                // SAFETY: no signal is handled on it now.
                assert_eq!(unsafe { libc::sigaltstack(&none, ptr::null_mut()) }, 0);
            }
            for deeper in [0, 10, 3, 30, 0] {
                assert!(reaches(deeper));
                assert!(contained(&device));
            }
        }
    }
}
