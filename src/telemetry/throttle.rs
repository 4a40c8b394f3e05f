//! A throttle for events: what happens often is summed up and logged at most once a second.

#[cfg(feature = "tracing")]
use std::time::{Duration, Instant};

/// The minimum time between two sums.
#[cfg(feature = "tracing")]
const PAUSE: Duration = Duration::from_secs(1);

/// A sum that is logged at most once a second.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    #[cfg(feature = "tracing")]
    logged_at: Option<Instant>,
    #[cfg(feature = "tracing")]
    sum: u64,
}

#[cfg(feature = "tracing")]
impl Throttle {
    /// Adds to the sum. If a log is due, returns the sum and resets it.
    pub(crate) fn add(&mut self, n: u64) -> Option<u64> {
        if n == 0 {
            return None;
        }
        self.sum += n;
        let now = Instant::now();
        let is_due = self.logged_at.is_none_or(|at| now - at >= PAUSE);
        is_due.then(|| {
            self.logged_at = Some(now);
            std::mem::take(&mut self.sum)
        })
    }
}

#[cfg(not(feature = "tracing"))]
impl Throttle {
    pub(crate) fn add(&mut self, _: u64) -> Option<u64> {
        None
    }
}
