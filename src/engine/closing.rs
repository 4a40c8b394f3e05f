//! How a hub closes its connections: which of them, with which close, and over which time.

use std::hash::BuildHasher;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use foldhash::quality::FixedState;

use super::close::{Close, CloseCode};
use super::link::ConnKey;

/// When clients are to come back if other nodes can serve them at once: within half a second, so
/// that clients that are closed at the same moment do not all arrive at the same moment.
const ELSEWHERE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_millis(500);

/// How the connections of a hub are closed.
#[derive(Debug, Clone)]
pub struct Closing {
    /// The close for the clients.
    pub close: Close,
    /// When clients are to come back: each gets its own time out of this range. `None`: no time is
    /// given.
    pub retry_after: Option<RangeInclusive<Duration>>,
    /// The time over which the closes are spread.
    pub window: Duration,
}

impl Closing {
    /// Closes all connections at once.
    pub fn now() -> Self {
        Self { close: Close::hub_closed(), retry_after: None, window: Duration::ZERO }
    }

    /// Has clients come back within half a second, with 1001: other nodes serve them.
    pub fn elsewhere(mut self) -> Self {
        self.close.code = CloseCode::GOING_AWAY;
        self.retry_after = Some(ELSEWHERE);
        self
    }

    /// The close for one client.
    pub fn close_for(&self, conn: ConnKey) -> Close {
        let close = self.close.clone();
        let Some(range) = &self.retry_after else { return close };
        let span = range.end().saturating_sub(*range.start());
        close.with_retry_after(*range.start() + span.mul_f64(fraction(conn.as_u64())))
    }
}

/// How a share of the connections of a shard is asked to go.
#[derive(Debug, Clone)]
pub struct Shedding {
    /// The close for the clients, and the window over which it is sent.
    pub closing: Arc<Closing>,
    /// The share, from 0 to 1. A number outside counts as the nearer bound, and NaN as 0.
    pub share: f64,
    /// Decides which connections are asked. Each shard needs its own.
    pub seed: u64,
}

impl Shedding {
    /// The number of `connections` to ask: the share, rounded up or down at random, so that the sum
    /// over many small shards is right on average.
    pub(super) fn count(&self, connections: usize) -> usize {
        let exact = connections as f64 * self.share.clamp(0.0, 1.0);
        (exact + fraction(self.seed)) as usize
    }
}

/// Chooses `count` of `items` at random, puts them in random order, and drops the others.
pub(super) fn choose<T>(items: &mut Vec<T>, count: usize, seed: u64) {
    let all = items.len();
    for at in 0..count.min(all) {
        let dice = fraction(seed.wrapping_add(1 + at as u64));
        items.swap(at, at + (dice * (all - at) as f64) as usize);
    }
    items.truncate(count);
}

/// A number from 0 to below 1 that looks random.
pub(super) fn fraction(seed: u64) -> f64 {
    // As many bits as a float holds. With all 64, the largest number would be rounded up to 1.
    const BITS: u32 = f64::MANTISSA_DIGITS;
    (FixedState::default().hash_one(seed) >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_gets_its_own_retry_time_within_the_range() {
        let range = Duration::from_secs(1)..=Duration::from_secs(3);
        let close = Close::new(CloseCode::RESTART, "");
        let closing = Closing { close, retry_after: Some(range.clone()), window: Duration::ZERO };
        let told: std::collections::BTreeSet<_> = (0..1_000)
            .filter_map(|serial| closing.close_for(ConnKey::new(serial, 0)).retry_after())
            .inspect(|wait| assert!(range.contains(wait)))
            .map(|wait| wait.as_millis() / 100)
            .collect();
        assert_eq!(told.len(), 20, "in each tenth of a second");
    }

    fn shedding(share: f64, seed: u64) -> Shedding {
        Shedding { closing: Closing::now().elsewhere().into(), share, seed }
    }

    #[test]
    fn share_is_within_one_of_what_it_should_be_and_right_on_average() {
        for (share, connections, exact) in [(0.5, 19, 9.5), (0.1, 4, 0.4), (0.9, 1, 0.9)] {
            let counts = (0..1_000).map(|seed| shedding(share, seed).count(connections) as f64);
            let counts: Vec<f64> = counts.collect();
            assert!(counts.iter().all(|count| (count - exact).abs() < 1.0), "{share}");
            let average = counts.iter().sum::<f64>() / 1_000.0;
            assert!((average - exact).abs() < 0.05, "{share}: {average}");
        }
    }

    #[test]
    fn shares_of_nothing_and_of_all_are_exact_and_others_are_clamped() {
        let counts = |share: f64| [0, 1, 7].map(|all| shedding(share, 3).count(all));
        for nothing in [0.0, -1.0, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!(counts(nothing), [0, 0, 0], "{nothing}");
        }
        for all in [1.0, 2.0, f64::INFINITY] {
            assert_eq!(counts(all), [0, 1, 7], "{all}");
        }
    }

    #[test]
    fn each_item_is_chosen_as_often_as_any_other_and_never_twice() {
        let mut chosen = [0; 10];
        for seed in 0..2_000 {
            let mut items: Vec<usize> = (0..10).collect();
            choose(&mut items, 3, seed << 8);
            assert_eq!(items.len(), 3);
            assert!(items[0] != items[1] && items[1] != items[2] && items[0] != items[2]);
            items.iter().for_each(|&item| chosen[item] += 1);
        }
        assert!(chosen.iter().all(|times| (500..700).contains(times)), "{chosen:?}");
        let mut all = vec![1, 2];
        choose(&mut all, 2, 0);
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
    }
}
