//! How a hub closes its connections: with which words, and over which time.

use std::hash::BuildHasher;
use std::ops::RangeInclusive;
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
pub(super) fn fraction(seed: u64) -> f64 {
    // So many bits as a float has: of all 64, the largest would round up to one.
    const BITS: u32 = f64::MANTISSA_DIGITS;
    (FixedState::default().hash_one(seed) >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::close::CloseCode;

    #[test]
    fn each_client_is_told_a_time_of_its_own_within_the_range() {
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
}
