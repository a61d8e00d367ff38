//! The lock of a read-modify-write.

use std::sync::atomic::{AtomicBool, Ordering};

/// Held for one load and one store: a few instructions and two trips over the bus. So it spins, then yields, and
/// costs an uncontended writer one atomic exchange, which a mutex with a wait queue would double.
#[derive(Debug, Default)]
pub(crate) struct Lock(AtomicBool);

/// Holds the lock until dropped.
pub(crate) struct Guard<'a>(&'a AtomicBool);

impl Lock {
    #[inline(always)]
    pub fn hold(&self) -> Guard<'_> {
        if self.0.swap(true, Ordering::Acquire) {
            self.wait();
        }
        Guard(&self.0)
    }

    #[cold]
    fn wait(&self) {
        let mut spins = 0;
        while self.0.load(Ordering::Relaxed) || self.0.swap(true, Ordering::Acquire) {
            // The holder may have been put to sleep by the scheduler: let it run.
            if spins < 100 {
                spins += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

impl Drop for Guard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
