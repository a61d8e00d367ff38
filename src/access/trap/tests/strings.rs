//! String instructions by hand: their bytes, their flags, and runs on trapped memory beside the same on plain memory.

use super::super::string::{Instruction, Kind, Repeat, compare, of};
use super::*;

#[test]
fn the_bytes_of_each() {
    let read = |code: &[u8]| {
        let mut whole = [0x90; 16];
        whole[..code.len()].copy_from_slice(code);
        // SAFETY: an instruction and what follows it.
        unsafe { of(whole.as_ptr()) }
    };
    let is = |kind, repeat, width, length| Some(Instruction { kind, repeat, width, length });
    assert_eq!(read(&[0xa4]), is(Kind::Move, Repeat::Once, 1, 1));
    assert_eq!(read(&[0xf3, 0xa4]), is(Kind::Move, Repeat::Count, 1, 2));
    assert_eq!(read(&[0xf3, 0xa5]), is(Kind::Move, Repeat::Count, 4, 2));
    assert_eq!(read(&[0x66, 0xf3, 0xa5]), is(Kind::Move, Repeat::Count, 2, 3));
    assert_eq!(read(&[0xf3, 0x48, 0xa5]), is(Kind::Move, Repeat::Count, 8, 3));
    // REX.W is stronger than 66, and a byte is a byte.
    assert_eq!(read(&[0x66, 0xf3, 0x48, 0xa5]), is(Kind::Move, Repeat::Count, 8, 4));
    assert_eq!(read(&[0xf3, 0x48, 0xaa]), is(Kind::Store, Repeat::Count, 1, 3));
    assert_eq!(read(&[0x40, 0xab]), is(Kind::Store, Repeat::Once, 4, 2));
    assert_eq!(read(&[0x2e, 0x66, 0xad]), is(Kind::Load, Repeat::Once, 2, 3));
    assert_eq!(read(&[0xf3, 0xa6]), is(Kind::Compare, Repeat::WhileEqual, 1, 2));
    assert_eq!(read(&[0xf2, 0x48, 0xaf]), is(Kind::Scan, Repeat::WhileUnequal, 8, 3));
    // Another segment, half an address, a REX that does not count, a repeat that means nothing; other instructions.
    for code in
        [&[0x64, 0xa4][..], &[0x67, 0xa4], &[0x48, 0x66, 0xa5], &[0xf2, 0xa4], &[0x8b, 7], &[0xf3, 0x0f]]
    {
        assert_eq!(read(code), None, "{code:x?}");
    }
}

#[test]
fn flags_are_the_processors() {
    macro_rules! check {
        ($($word:ty, $register:literal;)*) => {$(
            let words = [0, 1, 2, 0x0f, 0x10, 0x7f, 0x80, 0xff, <$word>::MAX / 2, <$word>::MAX / 2 + 1, <$word>::MAX];
            for first in words {
                for second in words {
                    let flags: u64;
                    // SAFETY: compares two registers and asks for the flags.
                    unsafe {
                        asm!(concat!("cmp ", $register), "pushfq", "pop {2}",
                            in(reg) u64::from(first), in(reg) u64::from(second), out(reg) flags);
                    }
                    let ours = compare(first.into(), second.into(), size_of::<$word>());
                    assert_eq!(ours as u64, flags & 0x8d5, "{first:#x} and {second:#x}");
                }
            }
        )*};
    }
    check! { u16, "{0:x}, {1:x}"; u32, "{0:e}, {1:e}"; u64, "{0:r}, {1:r}"; }
    for first in 0..=u8::MAX {
        for second in 0..=u8::MAX {
            let flags: u64;
            // SAFETY: as above.
            unsafe {
                asm!("cmp {0}, {1}", "pushfq", "pop {2}", in(reg_byte) first, in(reg_byte) second, out(reg) flags);
            }
            assert_eq!(compare(first.into(), second.into(), 1) as u64, flags & 0x8d5);
        }
    }
}

/// What a run leaves: the registers (addresses from where they began) and the status flags.
type Left = (i64, i64, u64, u64, u64);

macro_rules! run {
    ($code:literal, $from:expr, $to:expr, $count:expr, $held:expr, $down:expr) => {{
        let (mut from, mut to, mut count, mut held, flags): (u64, u64, u64, u64, u64);
        (from, to, count, held) = ($from as u64, $to as u64, $count as u64, $held);
        // SAFETY: the callers give memory for the run; the direction is up again when it is through.
        unsafe {
            asm!("test {down}, {down}", "jz 2f", "std", "2:", "cmp {down}, 7", $code, "pushfq", "pop {flags}", "cld",
                inout("rsi") from, inout("rdi") to, inout("rcx") count, inout("rax") held,
                down = in(reg) u64::from($down), flags = lateout(reg) flags);
        }
        assert_eq!(flags & 0x100, 0, "the trap flag is off again");
        let moved = |now: u64, before: u64| now.wrapping_sub(before) as i64;
        (moved(from, $from as u64), moved(to, $to as u64), count, held, flags & 0x8d5)
    }};
}

/// Runs one on trapped memory and on a copy of it; all that is left must be the same, and each item told.
#[test]
fn runs_do_what_they_do_elsewhere() {
    const HELD: u64 = 0x0123_4567_89ab_cdef;
    let size = 3 * PAGE;
    let memory = Memory::writable(3);
    let log = Log::new();
    let _trap = memory.trap(&log);
    macro_rules! check {
        ($($code:literal, $width:literal, $sides:literal;)*) => {$(
            // Within a page, over its end with items that fit, and with one that lies on two pages.
            for (first, second) in [(0x100, 0x900), (PAGE - 4 * $width, PAGE + 0x800), (PAGE - 4 * $width + 1, 2 * PAGE - 3)] {
                for down in [false, true] {
                    memory.fill();
                    let mut plain = vec![0u8; size];
                    for (at, byte) in plain.iter_mut().enumerate() {
                        *byte = (at % 251) as u8;
                    }
                    // Both in trapped memory, for the other combinations have tests of their own.
                    let copy = plain.as_mut_ptr();
                    let expected: Left = run!($code, copy.wrapping_add(first), copy.wrapping_add(second), 9, HELD, down);
                    let found: Left = run!($code, memory.at::<u8>(first), memory.at::<u8>(second), 9, HELD, down);
                    assert_eq!(found, expected, "{} down {down} at {first:#x}", $code);
                    // SAFETY: inside the second mapping.
                    let left = unsafe { std::slice::from_raw_parts(memory.behind::<u8>(0), size) };
                    assert!(left == plain, "{} down {down} at {first:#x}", $code);
                    let items = if $code.starts_with("rep ") { 9 } else { 9 - expected.2 as usize };
                    let told = log.take().iter().filter(|told| matches!(told, LoadAt(_) | StoreAt(_))).count();
                    // One of two places on a page that a step opens is not told.
                    let width: usize = $width;
                    let aligned = |at: usize| at % width == 0;
                    let sure = aligned(first) && aligned(second);
                    assert!(told == items * $sides || !sure && told >= items, "{}: {told}", $code);
                }
            }
        )*};
    }
    check! {
        "rep movsb", 1, 2;
        "rep movsw", 2, 2;
        "rep movsd", 4, 2;
        "rep movsq", 8, 2;
        "rep stosb", 1, 1;
        "rep stosw", 2, 1;
        "rep stosd", 4, 1;
        "rep stosq", 8, 1;
        "rep lodsb", 1, 1;
        "rep lodsw", 2, 1;
        "rep lodsd", 4, 1;
        "rep lodsq", 8, 1;
        "repe cmpsb", 1, 2;
        "repne cmpsw", 2, 2;
        "repne cmpsd", 4, 2;
        "repe cmpsq", 8, 2;
        "repe scasb", 1, 1;
        "repne scasw", 2, 1;
        "repne scasd", 4, 1;
        "repne scasq", 8, 1;
    }
}

#[test]
fn a_run_longer_than_one_handler_does_is_told_to_its_end() {
    let memory = Memory::writable(2);
    memory.fill();
    let log = Log::new();
    let _trap = memory.trap(&log);
    let mut copy = vec![0u8; 5000];
    let left: Left = run!("rep movsb", memory.at::<u8>(100), copy.as_mut_ptr(), 5000, 0, false);
    assert_eq!((left.0, left.1, left.2), (5000, 5000, 0));
    assert_eq!(log.take(), (100..5100).flat_map(|at| [LoadAt(at), Loaded(at)]).collect::<Vec<_>>());
    assert!(copy.iter().enumerate().all(|(at, byte)| usize::from(*byte) == (at + 100) % 251));
    // From a span into plain memory that begins on the next page of nobody's: what lies outside is not told.
    let inner = Memory::writable(3);
    let log = Log::new();
    // SAFETY: part of a shared, writable mapping that outlives the trap.
    let _trap = unsafe { Trap::new(inner.at(PAGE + 0x10), 0x20, true, log.clone()) }.unwrap();
    let left: Left = run!("rep stosd", 0usize, inner.at::<u8>(0xff8), 2 * PAGE / 4, 0x0403_0201, false);
    assert_eq!((left.1, left.2), (2 * PAGE as i64, 0));
    assert_eq!(log.take(), (0..0x20).step_by(4).flat_map(|at| [StoreAt(at), Stored(at)]).collect::<Vec<_>>());
}

static FIXED: AtomicUsize = AtomicUsize::new(0);
static SEEN: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// Notes rsi, rdi and rcx, and lets the page be used.
extern "C" fn fix(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the arguments are the kernel's; the page is a test's.
    unsafe {
        let registers = &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        for (seen, place) in SEEN.iter().zip([libc::REG_RSI, libc::REG_RDI, libc::REG_RCX]) {
            seen.store(registers[place as usize] as u64, Relaxed);
        }
        libc::mprotect(FIXED.load(Relaxed) as *mut c_void, PAGE, libc::PROT_READ | libc::PROT_WRITE);
    }
}

/// A fault of the other side in the middle of a run is told with the registers as they are there, and the run goes on.
#[test]
fn a_fault_in_the_middle_finds_the_registers_exact() {
    for (read, down) in [(true, false), (true, true), (false, false), (false, true)] {
        let memory = Memory::writable(1);
        memory.fill();
        let other = Memory::writable(2);
        let right = processes::child(|| {
            processes::put(libc::SIGSEGV, fix as *const () as usize);
            let log = Log::new();
            let _trap = memory.trap(&log);
            // Six items are within reach, then comes the closed page.
            let (closed, start) = if down { (0, PAGE + 5) } else { (PAGE, PAGE - 6) };
            FIXED.store(other.at::<u8>(closed) as usize, Relaxed);
            // SAFETY: a page of this test's.
            unsafe { libc::mprotect(other.at(closed), PAGE, libc::PROT_NONE) };
            let here = memory.at::<u8>(if down { 0x80 } else { 0x40 });
            let there = other.at::<u8>(start);
            let (from, to) = if read { (there, here) } else { (here, there) };
            let left: Left = run!("rep movsb", from, to, 16, 0, down);
            let by = if down { -6i64 as u64 } else { 6 };
            let seen = [(from as u64).wrapping_add(by), (to as u64).wrapping_add(by), 10];
            let exact = SEEN.iter().zip(seen).all(|(found, right)| found.load(Relaxed) == right);
            let moved = if down { -16 } else { 16 };
            // The item that met the fault was tried, and is told a second time.
            let told = log.take().iter().filter(|told| matches!(told, LoadAt(_) | StoreAt(_))).count();
            exact && (left.0, left.1, left.2) == (moved, moved, 0) && (16..=17).contains(&told)
        });
        assert_eq!(right, Ok(0), "read {read} down {down}");
    }
}

/// A signal stack as small as Rust gives its threads has room for two frames only where they are as large as with AVX-512.
#[test]
fn no_handler_runs_on_top_of_ours_but_for_faults() {
    let _trap = Memory::writable(1).trap(&Log::new());
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGTRAP] {
        // SAFETY: asks for a disposition and its mask.
        unsafe {
            let mut now: libc::sigaction = std::mem::zeroed();
            assert_eq!(libc::sigaction(signal, ptr::null(), &mut now), 0);
            for other in 1..=64 {
                let fault =
                    [libc::SIGSEGV, libc::SIGBUS, libc::SIGTRAP, libc::SIGILL, libc::SIGFPE].contains(&other);
                // The first word of the set is the kernel's: the C library answers for none of its own signals.
                let waits = (&raw const now.sa_mask).cast::<u64>().read() >> (other - 1) & 1 == 1;
                // Nobody can block these two.
                let never = [libc::SIGKILL, libc::SIGSTOP].contains(&other);
                assert!(never || waits != fault, "{other} during {signal}");
            }
        }
    }
}
