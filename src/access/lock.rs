//! The lock of a read-modify-write: between threads always, between processes where asked for.
#![allow(unsafe_code)] // fork() and what it leaves behind.

use std::cell::UnsafeCell;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Held for one load and one store: a few instructions and two trips over the bus. So it spins, then yields, and
/// costs an uncontended writer one atomic exchange, which a mutex with a wait queue would double.
#[derive(Debug)]
pub(crate) struct Lock {
    /// 0, or the generation of the process whose thread holds it.
    taken: AtomicU32,
    /// The thread that holds it, where it is one that may take it again.
    owner: AtomicUsize,
    shared: Option<SharedLock>,
}

/// Holds the lock until dropped.
pub(crate) struct Guard<'a> {
    lock: &'a Lock,
    shared: bool,
    /// The same thread holds it further up.
    nested: bool,
}

/// What a thread that waits long does between two tries: the bindings let go of the interpreter here, for the holder may
/// be waiting for it.
pub(crate) static REST: OnceLock<fn()> = OnceLock::new();

/// Counts the forks that led to this process, from 1. A thread that held a lock in the parent is not in the child,
/// so a lock of an older generation is free.
static GENERATION: AtomicU32 = AtomicU32::new(1);

/// Counts forks from now on.
pub(super) fn watch_forks() {
    extern "C" fn forked() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
        #[cfg(traps)]
        super::trap::forked();
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the function does nothing but add to an atomic and protect pages again.
        unsafe { libc::pthread_atfork(None, None, Some(forked)) };
    });
}

/// How many forks led to this process, from 1.
#[cfg(traps)]
pub(super) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

impl Lock {
    /// A lock that is not shared.
    pub const fn new() -> Lock {
        Lock { taken: AtomicU32::new(0), owner: AtomicUsize::new(0), shared: None }
    }

    /// A lock that other processes heed too.
    pub fn shared(lock: SharedLock) -> Lock {
        Lock { shared: Some(lock), ..Lock::new() }
    }

    /// Whether other processes heed it.
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Keeps other threads out; for a lock that is not shared.
    #[inline(always)]
    pub fn hold(&self) -> Guard<'_> {
        let generation = GENERATION.load(Ordering::Relaxed);
        if self.taken.swap(generation, Ordering::Acquire) == generation {
            self.wait(generation);
        }
        Guard { lock: self, shared: false, nested: false }
    }

    /// Keeps other threads out, and other processes if the lock is shared.
    ///
    /// # Errors
    /// What fcntl says of the lock between processes.
    pub fn hold_all(&self) -> io::Result<Guard<'_>> {
        let mut guard = self.hold();
        if let Some(shared) = &self.shared {
            // SAFETY: this thread holds the lock that the shared one lies in.
            unsafe { shared.lock(libc::F_WRLCK)? };
            guard.shared = true;
        }
        Ok(guard)
    }

    /// As [`Lock::hold_all`], for a thread that may hold it already: code of a test that runs in the middle of an access
    /// may make others.
    ///
    /// # Errors
    /// What fcntl says of the lock between processes.
    pub fn hold_again(&self) -> io::Result<Guard<'_>> {
        let me = me();
        if self.owner.load(Ordering::Relaxed) == me && self.taken.load(Ordering::Relaxed) != 0 {
            return Ok(Guard { lock: self, shared: false, nested: true });
        }
        let guard = self.hold_all()?;
        self.owner.store(me, Ordering::Relaxed);
        Ok(guard)
    }

    /// Keeps other threads out for longer than a call: see [`Locked::step`]. False where this thread does so already.
    #[cfg(feature = "python")]
    fn hold_step(&self) -> bool {
        let (me, generation) = (me(), GENERATION.load(Ordering::Relaxed));
        if self.owner.load(Ordering::Relaxed) == me && self.taken.load(Ordering::Relaxed) == generation {
            return false;
        }
        // Nothing but a thread that runs is waited for, so there is nothing to let go of.
        while self.taken.swap(generation, Ordering::Acquire) == generation {
            std::thread::yield_now();
        }
        self.owner.store(me, Ordering::Relaxed);
        true
    }

    #[cold]
    fn wait(&self, generation: u32) {
        let mut spins = 0u64;
        while self.taken.load(Ordering::Relaxed) == generation
            || self.taken.swap(generation, Ordering::Acquire) == generation
        {
            // The holder may have been put to sleep by the scheduler: let it run.
            spins += 1;
            if spins < 100 {
                std::hint::spin_loop();
            } else if spins < 1000 {
                std::thread::yield_now();
            } else {
                REST.get().copied().unwrap_or(std::thread::yield_now)();
            }
        }
    }
}

/// A number that no other thread has.
fn me() -> usize {
    thread_local!(static ME: u8 = const { 0 });
    ME.with(|me| std::ptr::from_ref(me) as usize)
}

/// A value that one thread touches at a time, for a moment.
pub(crate) struct Locked<T> {
    lock: Lock,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through a guard, which one thread has at a time.
unsafe impl<T: Send> Sync for Locked<T> {}

/// Holds the value until dropped. The same thread must not ask for it again before.
pub(crate) struct Held<'a, T> {
    value: &'a UnsafeCell<T>,
    _guard: Guard<'a>,
}

impl<T> Locked<T> {
    /// Unlocked.
    pub fn new(value: T) -> Locked<T> {
        Locked { lock: Lock::new(), value: UnsafeCell::new(value) }
    }

    /// Keeps other threads out.
    #[inline(always)]
    pub fn lock(&self) -> Held<'_, T> {
        Held { _guard: self.lock.hold(), value: &self.value }
    }

    /// The same, in a signal handler that lets the thread run on for one instruction: by [`Held::keep`] it stays locked,
    /// until the next handler takes it up by this call. With it comes whether it was locked by this call.
    #[cfg(feature = "python")]
    pub fn step(&self) -> (Held<'_, T>, bool) {
        let fresh = self.lock.hold_step();
        let guard = Guard { lock: &self.lock, shared: false, nested: false };
        (Held { _guard: guard, value: &self.value }, fresh)
    }
}

#[cfg(feature = "python")]
impl<T> Held<'_, T> {
    /// Leaves it locked.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the guard keeps every other thread out.
        unsafe { &*self.value.get() }
    }
}

impl<T> DerefMut for Held<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard keeps every other thread out, and this is the only reference made from it.
        unsafe { &mut *self.value.get() }
    }
}

impl Drop for Guard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.nested {
            return;
        }
        if self.shared {
            self.lock.release_shared();
        }
        self.lock.owner.store(0, Ordering::Relaxed);
        self.lock.taken.store(0, Ordering::Release);
    }
}

impl Lock {
    #[cold]
    fn release_shared(&self) {
        if let Some(shared) = &self.shared {
            // Unlocking what is locked cannot fail; if the file is gone, so is the lock.
            // SAFETY: a guard is dropped before it gives the lock free.
            let _ = unsafe { shared.lock(libc::F_UNLCK) };
        }
    }
}

/// A lock on the bytes of a file or device that a region lies in, which the kernel releases when its holder dies.
///
/// It is an open file description lock (fcntl(2)): it excludes other processes and other devices of this process. A
/// child of fork() shares the description and would share the lock, so it opens one of its own first.
#[derive(Debug)]
pub(crate) struct SharedLock {
    /// Touched only by the thread that holds the lock this one lies in.
    file: UnsafeCell<File>,
    generation: AtomicU32,
    start: i64,
    size: i64,
}

// SAFETY: see `file`.
unsafe impl Sync for SharedLock {}

impl SharedLock {
    /// On `size` bytes from `start` of the file, which is open for writing.
    pub fn new(file: File, start: u64, size: u64) -> SharedLock {
        // Beyond the range of a lock, all such regions share one: that is slower, and right.
        let start = i64::try_from(start).unwrap_or(0);
        let size = i64::try_from(size).ok().filter(|size| start.checked_add(*size).is_some());
        SharedLock {
            file: UnsafeCell::new(file),
            generation: AtomicU32::new(GENERATION.load(Ordering::Relaxed)),
            start,
            size: size.unwrap_or(0),
        }
    }

    /// # Safety
    /// The thread holds the lock that this one lies in.
    unsafe fn lock(&self, kind: i32) -> io::Result<()> {
        // SAFETY: the caller's promise: no other thread is here.
        let file = unsafe { &mut *self.file.get() };
        let generation = GENERATION.load(Ordering::Relaxed);
        if self.generation.load(Ordering::Relaxed) != generation {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            *file = OpenOptions::new().read(true).write(true).open(path)?;
            self.generation.store(generation, Ordering::Relaxed);
        }
        let range = libc::flock {
            l_type: kind as _,
            l_whence: libc::SEEK_SET as _,
            l_start: self.start as _,
            l_len: self.size as _,
            l_pid: 0,
        };
        loop {
            match fcntl(&*file, FcntlArg::F_OFD_SETLKW(&range)) {
                Ok(_) => return Ok(()),
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
