//! Sums of what could happen too often to be told each time.

#[cfg(feature = "tracing")]
use std::time::{Duration, Instant};

/// The time from one sum to the next.
#[cfg(feature = "tracing")]
const PAUSE: Duration = Duration::from_secs(1);

/// A sum that is told once a second at most.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    #[cfg(feature = "tracing")]
    told: Option<Instant>,
    #[cfg(feature = "tracing")]
    sum: u64,
}

#[cfg(feature = "tracing")]
impl Throttle {
    /// Adds to the sum, and takes it if it is to be told.
    pub(crate) fn add(&mut self, n: u64) -> Option<u64> {
        if n == 0 {
            return None;
        }
        self.sum += n;
        let now = Instant::now();
        let is_due = self.told.is_none_or(|told| now - told >= PAUSE);
        is_due.then(|| {
            self.told = Some(now);
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
