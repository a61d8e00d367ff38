//! The time of a record: a counter that costs less to read than the access it stands beside.
#![allow(unsafe_code)] // Reading the processor's counter.

use std::sync::OnceLock;
use std::time::Instant;

/// Where the counter stood when it was first looked at.
struct First {
    ticks: u64,
    instant: Instant,
}

static FIRST: OnceLock<First> = OnceLock::new();

fn first() -> &'static First {
    FIRST.get_or_init(|| First { instant: Instant::now(), ticks: if counted() { counter() } else { 0 } })
}

/// The time now, in ticks of some length.
#[inline(always)]
pub(super) fn now() -> u64 {
    if counted() {
        return counter();
    }
    first().instant.elapsed().as_nanos() as u64
}

/// The time between two moments in nanoseconds.
pub(super) fn nanoseconds(from: u64, to: u64) -> u64 {
    let ticks = to.saturating_sub(from);
    if !counted() {
        return ticks;
    }
    // The longer the process has run, the better the length of a tick is known.
    let first = first();
    let (passed, elapsed) = (now().saturating_sub(first.ticks), first.instant.elapsed());
    match passed {
        0 => 0,
        passed => (ticks as f64 * elapsed.as_nanos() as f64 / passed as f64) as u64,
    }
}

/// Begins to measure the length of a tick.
pub(super) fn begin() -> u64 {
    first();
    now()
}

/// Whether the processor's counter runs evenly on all cores. The kernel has tried it out, and tells by using it itself.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn counted() -> bool {
    static TRUSTED: OnceLock<bool> = OnceLock::new();
    const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    *TRUSTED.get_or_init(|| std::fs::read_to_string(SOURCE).is_ok_and(|name| name.trim() == "tsc"))
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn counter() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and Linux lets user space use it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
const fn counted() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
const fn counter() -> u64 {
    0
}
