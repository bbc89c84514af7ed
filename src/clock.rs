//! Where time comes from. The only file that asks the machine what time it is;
//! everything else takes a [`Timestamp`] or a [`Clock`] as an argument.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::domain::time::Timestamp;

/// The wall clock as the server sees it. Two implementations: the machine's and the tests'.
pub trait Clock: Send + Sync + 'static {
    /// The time now, in Unix milliseconds.
    fn now(&self) -> Timestamp;
}

/// A clock that can be shared between tasks.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("the machine's clock is after 1970");
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The machine's clock plus the seconds written in a file: lets a test of the built program move
/// time. Only ever used on regtest.
#[derive(Debug)]
pub struct ShiftedClock(std::path::PathBuf);

impl ShiftedClock {
    /// A clock shifted by what `file` says at each question; not at all while it is missing.
    pub fn new(file: std::path::PathBuf) -> Self {
        Self(file)
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        let seconds: i64 = text.trim().parse().unwrap_or(0);
        SystemClock.now().plus_millis(seconds.saturating_mul(1000))
    }
}

/// A clock that stands still until it is moved; for tests beside the code.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `at`.
    pub fn new(at: Timestamp) -> Self {
        Self(AtomicI64::new(at.millis()))
    }

    /// Moves the clock forward by `seconds`.
    pub fn advance_s(&self, seconds: i64) {
        self.0.fetch_add(seconds.saturating_mul(1000), Ordering::SeqCst);
    }

    /// Sets the clock.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}
