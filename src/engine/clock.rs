//! The shard's clock: it stands still while the process does.

use std::time::Duration;

/// How much later than asked a shard may run before that counts: more than it waits for its turn on a
/// busy machine. So the shard's time goes on even where it is late all the time.
pub(super) const LATENESS_MIN: Duration = Duration::from_millis(100);

/// Turns the caller's time into the shard's, which does not count the time by which the shard ran late.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// How much the shard's time is behind the caller's.
    behind: Duration,
    /// When the shard is to run, in the caller's time; `None` if it may sleep for ever.
    expected: Option<Duration>,
}

impl Clock {
    /// The shard's time, when the caller has `now`.
    pub(super) fn read(&mut self, now: Duration) -> Duration {
        let late = self.expected.map_or(Duration::ZERO, |expected| now.saturating_sub(expected));
        self.behind += late.saturating_sub(LATENESS_MIN);
        now.saturating_sub(self.behind)
    }

    /// How much the shard's time is behind the caller's.
    pub(super) fn behind(&self) -> Duration {
        self.behind
    }

    /// Notes when the shard is to run next, in the caller's time.
    pub(super) fn expect(&mut self, next: Option<Duration>) {
        self.expected = next;
    }

    /// The caller's time for a time of the shard.
    pub(super) fn to_caller(&self, time: Duration) -> Duration {
        time.saturating_add(self.behind)
    }
}
