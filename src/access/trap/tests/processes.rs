//! What ends a process, changes its handlers or makes another: in children.

use std::time::Duration;

use super::*;

/// What became of a child that runs this: its exit code, or the signal that ended it.
pub(super) fn child(run: impl FnOnce() -> bool) -> Result<i32, i32> {
    // SAFETY: the child runs this thread alone and ends without anything of its parent's.
    unsafe {
        match libc::fork() {
            0 => {
                let nothing = libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY);
                libc::dup2(nothing, 2);
                libc::_exit(if run() { 0 } else { 1 })
            }
            child => {
                assert!(child > 0);
                let mut status = 0;
                // One that waits for ever has its signals blocked: only this ends it.
                for _ in 0..60_000 {
                    if libc::waitpid(child, &mut status, libc::WNOHANG) == child {
                        return ended(status);
                    }
                    thread::sleep(Duration::from_millis(1));
                }
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, &mut status, 0);
                ended(status)
            }
        }
    }
}

fn ended(status: c_int) -> Result<i32, i32> {
    if libc::WIFSIGNALED(status) { Err(libc::WTERMSIG(status)) } else { Ok(libc::WEXITSTATUS(status)) }
}

#[test]
fn a_store_to_a_read_only_span_is_a_fault() {
    let memory = Memory::new(1, libc::PROT_READ);
    memory.fill();
    let log = Log::new();
    // SAFETY: a shared, read-only mapping that outlives the trap.
    let trap = unsafe { Trap::new(memory.here, memory.size, false, log.clone()) }.unwrap();
    // SAFETY: inside the mapping.
    unsafe {
        assert_eq!(memory.at::<u8>(7).read_volatile(), 7);
        assert_eq!(log.take(), [LoadAt(7), Loaded(7)]);
        // Ours is an error of the access, a raw one ends the process; as without a trap.
        let denied = Fault { signal: libc::SIGSEGV, code: 2 };
        assert_eq!(store(memory.at(8), Width::W32, 1), Err(denied));
        let raw = || {
            memory.at::<u8>(7).write_volatile(1);
            true
        };
        assert_eq!(child(raw), Err(libc::SIGSEGV));
        // Also where the instruction has read trapped memory before.
        let copy = || {
            asm!("movsb", inout("rsi") memory.at::<u8>(1) => _, inout("rdi") memory.at::<u8>(2) => _);
            true
        };
        assert_eq!(child(copy), Err(libc::SIGSEGV));
        drop(trap);
        assert_eq!(child(raw), Err(libc::SIGSEGV));
        assert_eq!(memory.at::<u8>(7).read_volatile(), 7);
    }
    assert_eq!(log.take(), []);
}

#[test]
fn a_child_goes_on_whatever_other_threads_did_in_its_parent() {
    let memory = Memory::writable(2);
    memory.fill();
    let count = Arc::new(Count::default());
    let _trap = memory.trap(&count);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (memory, stop) = (&memory, &stop);
        scope.spawn(move || {
            while !stop.load(Relaxed) {
                // A page-crossing exchange with itself: opens pages as well as moving addresses.
                // SAFETY: inside the mapping.
                unsafe {
                    asm!("mov [rax], rax", in("rax") memory.at::<u64>(0x800), options(nostack));
                    memory.at::<u64>(0x900).read_volatile();
                }
            }
        });
        let run = || {
            child(|| {
                count.loads.store(0, Relaxed);
                // SAFETY: inside the mapping.
                let right = (0..20).all(|at| unsafe { memory.at::<u8>(PAGE * (at % 2) + at).read_volatile() } as usize == (PAGE * (at % 2) + at) % 251);
                // A trap of the child's own, too.
                let own = Memory::writable(1);
                let log = Log::new();
                let trap = own.trap(&log);
                // SAFETY: inside the mapping.
                unsafe { own.at::<u8>(5).write_volatile(5) };
                drop(trap);
                right && count.loads.load(Relaxed) == 20 && log.take() == [StoreAt(5), Stored(5)]
            })
        };
        let failed = (0..200).map(|_| run()).find(|ended| *ended != Ok(0));
        stop.store(true, Relaxed);
        assert_eq!(failed, None);
    });
}

static ABOVE: AtomicUsize = AtomicUsize::new(0);
static BELOW: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

extern "C" fn above(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    ABOVE.fetch_add(1, Relaxed);
    let below = &BELOW[usize::from(signal == libc::SIGTRAP)];
    type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
    // SAFETY: the handler that was there, which has this type.
    let below = unsafe { std::mem::transmute::<usize, Handler>(below.load(Relaxed)) };
    below(signal, info, context);
}

/// Puts a handler on top; returns the one that was there.
pub(super) fn put(signal: c_int, handler: usize) -> usize {
    // SAFETY: valid dispositions.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        let mut before: libc::sigaction = std::mem::zeroed();
        assert_eq!(libc::sigaction(signal, &action, &mut before), 0);
        before.sa_sigaction
    }
}

#[test]
fn a_handler_put_above_ours_hands_on_and_a_new_trap_goes_back_on_top() {
    let memory = Memory::writable(1);
    let log = Log::new();
    let _trap = memory.trap(&log);
    let works = child(|| {
        for (signal, below) in [libc::SIGSEGV, libc::SIGTRAP].into_iter().zip(&BELOW) {
            below.store(put(signal, above as *const () as usize), Relaxed);
        }
        // SAFETY: inside the mapping.
        unsafe { memory.at::<u32>(4).write_volatile(9) };
        let one = log.take() == [StoreAt(4), Stored(4)] && ABOVE.load(Relaxed) == 2;
        let other = Memory::writable(1);
        let _trap = other.trap(&log);
        // SAFETY: inside the mapping.
        let value = unsafe { memory.at::<u32>(4).read_volatile() };
        one && value == 9 && log.take() == [LoadAt(4), Loaded(4)] && ABOVE.load(Relaxed) == 2
    });
    assert_eq!(works, Ok(0));
}

#[test]
fn a_trap_that_is_not_ours_is_as_before() {
    let memory = Memory::writable(1);
    let _trap = memory.trap(&Log::new());
    // SAFETY: ends the child, unless it is handled.
    let breakpoint = || unsafe {
        asm!("int3");
        true
    };
    assert_eq!(child(breakpoint), Err(libc::SIGTRAP));
    // SAFETY: as above.
    assert_eq!(child(|| unsafe { libc::raise(libc::SIGTRAP) } == 0), Err(libc::SIGTRAP));
    extern "C" fn count(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
        ABOVE.fetch_add(1, Relaxed);
    }
    // One that was there before us gets it, and the thread goes on behind the breakpoint.
    let handled = child(|| {
        put(libc::SIGTRAP, count as *const () as usize);
        let other = Memory::writable(1);
        let _trap = other.trap(&Log::new());
        breakpoint() && ABOVE.load(Relaxed) == 1
    });
    assert_eq!(handled, Ok(0));
}

/// Touches trapped memory when told of an access to it.
struct Bites(Memory);

impl Watch for Bites {
    fn before(&self, _: usize, _: bool) {
        // SAFETY: inside the mapping.
        unsafe { self.0.at::<u8>(0).read_volatile() };
    }

    fn after(&self, _: usize, _: bool) {}
}

#[test]
fn a_watch_that_touches_trapped_memory_ends_the_process() {
    let bites = Arc::new(Bites(Memory::writable(1)));
    let _trap = bites.0.trap(&bites);
    // SAFETY: inside the mapping.
    let ended = child(|| unsafe { bites.0.at::<u8>(1).read_volatile() } == 0);
    assert_eq!(ended, Err(libc::SIGABRT));
}

static SIGNALLED: AtomicUsize = AtomicUsize::new(0);
static TOUCHED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn touch(_: c_int) {
    // SAFETY: the address of a word in trapped memory.
    unsafe { (TOUCHED.load(Relaxed) as *mut u32).write_volatile(1) };
    SIGNALLED.fetch_add(1, Relaxed);
}

#[test]
fn signals_wait_for_the_step_and_may_touch_trapped_memory_themselves() {
    let memory = Memory::writable(1);
    let count = Arc::new(Count::default());
    let _trap = memory.trap(&count);
    let works = child(|| {
        TOUCHED.store(memory.at::<u32>(0x40) as usize, Relaxed);
        // SAFETY: valid arguments; a signal each 50 microseconds.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = touch as *const () as usize;
            libc::sigaction(libc::SIGALRM, &action, ptr::null_mut());
            let often = libc::timeval { tv_sec: 0, tv_usec: 50 };
            let often = libc::itimerval { it_interval: often, it_value: often };
            libc::setitimer(libc::ITIMER_REAL, &often, ptr::null_mut());
        }
        let mut rounds = 0;
        while SIGNALLED.load(Relaxed) < 500 {
            // SAFETY: inside the mapping.
            unsafe { memory.at::<u32>(0).read_volatile() };
            rounds += 1;
        }
        // SAFETY: as above; asks for the mask, in which the signal must be let through again.
        unsafe {
            let never: libc::itimerval = std::mem::zeroed();
            libc::setitimer(libc::ITIMER_REAL, &never, ptr::null_mut());
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &mut mask);
            let open = (1..32).all(|signal| libc::sigismember(&mask, signal) == 0);
            let all = (count.loads.load(Relaxed), count.stores.load(Relaxed), count.mixed.load(Relaxed));
            open && all == (rounds, SIGNALLED.load(Relaxed), 0)
        }
    });
    assert_eq!(works, Ok(0));
}
