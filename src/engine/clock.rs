//! The shard's clock: it stands still while the process does not run.

use std::time::Duration;

/// A shard that runs at most this much later than it asked for is not late: even on a busy
/// machine a shard waits less than this. So the shard's time goes on even if each run is a little
/// late.
pub(crate) const LATENESS_MIN: Duration = Duration::from_millis(100);

/// Turns the caller's time into the shard's time, which leaves out the time by which the shard ran
/// late.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// How far the shard's time is behind the caller's.
    behind: Duration,
    /// When the shard is to run next, in the caller's time; `None` if it may sleep for ever.
    expected: Option<Duration>,
}

impl Clock {
    /// The shard's time at the caller's time `now`. Counts the lateness of this run.
    pub(super) fn read(&mut self, now: Duration) -> Duration {
        let late = self.expected.map_or(Duration::ZERO, |expected| now.saturating_sub(expected));
        self.behind += late.saturating_sub(LATENESS_MIN);
        now.saturating_sub(self.behind)
    }

    /// How far the shard's time is behind the caller's.
    pub(super) fn behind(&self) -> Duration {
        self.behind
    }

    /// Notes when the shard is to run next, in the caller's time.
    pub(super) fn expect(&mut self, next: Option<Duration>) {
        self.expected = next;
    }

    /// Turns a time of the shard into the caller's.
    pub(super) fn to_caller(&self, time: Duration) -> Duration {
        time.saturating_add(self.behind)
    }
}
