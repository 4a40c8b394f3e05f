//! How a hub closes its connections: with which words, and over which time.

use std::hash::BuildHasher;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use foldhash::quality::FixedState;

use super::close::Close;
use super::link::ConnKey;

/// How the connections of a hub are closed.
#[derive(Debug, Clone)]
pub struct Closing {
    /// What clients are told.
    pub close: Close,
    /// When they are to come back: each is told a time of its own out of the range.
    pub retry_after: Option<RangeInclusive<Duration>>,
    /// The time over which the closes are spread.
    pub window: Duration,
}

impl Closing {
    /// All at once.
    pub fn now() -> Self {
        Self { close: Close::hub_closed(), retry_after: None, window: Duration::ZERO }
    }

    /// What one client is told.
    pub fn close_for(&self, conn: ConnKey) -> Close {
        let close = self.close.clone();
        let Some(range) = &self.retry_after else { return close };
        let span = range.end().saturating_sub(*range.start());
        close.with_retry_after(*range.start() + span.mul_f64(fraction(conn.as_u64())))
    }
}

/// A number below one that looks random.
fn fraction(seed: u64) -> f64 {
    FixedState::default().hash_one(seed) as f64 / (u64::MAX as f64 + 1.0)
}

/// Connections that are being closed one after the other.
#[derive(Debug)]
pub(super) struct Draining {
    closing: Arc<Closing>,
    since: Duration,
    /// How many there were.
    total: usize,
    picked: u64,
}

impl Draining {
    pub(super) fn new(closing: Arc<Closing>, since: Duration, total: usize) -> Self {
        Self { closing, since, total, picked: 0 }
    }

    pub(super) fn close_for(&self, conn: ConnKey) -> Close {
        self.closing.close_for(conn)
    }

    /// How many connections may be open at `now`: the first goes at once, the last before the end.
    pub(super) fn open_max(&self, now: Duration) -> usize {
        let window = self.closing.window;
        let left = (self.since + window).saturating_sub(now);
        if left.is_zero() {
            return 0;
        }
        (self.total as f64 * left.as_secs_f64() / window.as_secs_f64()) as usize
    }

    /// When one of so many open connections is due, about.
    pub(super) fn next_at(&self, open: usize) -> Duration {
        let closed = self.total.saturating_sub(open);
        self.since
            + self.closing.window.mul_f64((closed as f64 / self.total.max(1) as f64).min(1.0))
    }

    /// Which of so many open connections is next. They are in the order of their arrival, more or less;
    /// closed in another, those that belong together do not all go at once.
    pub(super) fn pick(&mut self, open: usize) -> usize {
        self.picked += 1;
        (fraction(self.picked) * open as f64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::close::CloseCode;

    const WINDOW: Duration = Duration::from_secs(10);

    fn draining(total: usize) -> Draining {
        let closing = Closing { window: WINDOW, ..Closing::now() };
        Draining::new(closing.into(), Duration::from_secs(100), total)
    }

    #[test]
    fn closes_are_spread_evenly_and_over_with_the_window() {
        let draining = draining(1_000);
        let open = |seconds| draining.open_max(Duration::from_secs_f64(seconds));
        assert_eq!([100.0, 101.0, 105.0, 109.0].map(open), [1_000, 900, 500, 100]);
        assert_eq!([110.0, 200.0].map(open), [0, 0]);
    }

    #[test]
    fn next_one_is_due_when_fewer_may_be_open() {
        for total in [1, 3, 1_000] {
            let draining = draining(total);
            for open in 1..=total {
                let at = draining.next_at(open);
                let ms = Duration::from_millis(1);
                assert!(draining.open_max(at + ms) < open, "{open} of {total}");
                let before = (at - ms).max(draining.since);
                assert!(draining.open_max(before) >= open, "{open} of {total}");
            }
        }
    }

    #[test]
    fn each_client_is_told_a_time_of_its_own_within_the_range() {
        let range = Duration::from_secs(1)..=Duration::from_secs(3);
        let close = Close::new(CloseCode::RESTART, "");
        let closing = Closing { close, retry_after: Some(range.clone()), window: WINDOW };
        let told: std::collections::BTreeSet<_> = (0..1_000)
            .filter_map(|serial| closing.close_for(ConnKey::new(serial, 0)).retry_after())
            .inspect(|wait| assert!(range.contains(wait)))
            .map(|wait| wait.as_millis() / 100)
            .collect();
        assert_eq!(told.len(), 20, "in each tenth of a second");
    }

    #[test]
    fn picks_are_within_what_is_open() {
        let mut draining = draining(10);
        assert!((1..1_000).all(|open| draining.pick(open) < open));
    }
}
