//! The time of a mock: the real one, or one that passes only when the test says so.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::Mock;

/// Where a virtual clock stops: after a thousand years.
pub const LONGEST: Duration = Duration::from_secs(1000 * 365 * 86_400);

/// How a mock's time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As on the wall.
    Real,
    /// Only by [`super::Mock::advance`], by waits, which take no real time, and by so much for each access.
    Virtual(Duration),
}

/// The time since the mock was made.
#[derive(Debug)]
pub(super) struct Clock {
    pace: Pace,
    start: Instant,
    /// Of a real clock, what was advanced; of a virtual one, all of it.
    passed: Duration,
}

impl Clock {
    pub fn new(pace: Pace) -> Clock {
        Clock { pace, start: Instant::now(), passed: Duration::ZERO }
    }

    pub fn now(&self) -> Duration {
        match self.pace {
            Pace::Real => self.start.elapsed().saturating_add(self.passed),
            Pace::Virtual(_) => self.passed,
        }
    }

    pub fn advance(&mut self, time: Duration) {
        self.passed = self.passed.saturating_add(time).min(LONGEST);
    }

    pub fn is_virtual(&self) -> bool {
        self.pace != Pace::Real
    }

    /// An access is made.
    pub fn step(&mut self) {
        if let Pace::Virtual(step) = self.pace {
            self.advance(step);
        }
    }
}

/// The time that waits go by: the mock's, where there is one.
pub(crate) fn now(mock: Option<&Mock>) -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    match mock {
        Some(mock) => mock.now(),
        None => START.get_or_init(Instant::now).elapsed(),
    }
}
