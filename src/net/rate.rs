//! Rate limits: token buckets. The caller passes the time.

use std::time::Duration;

/// A rate limit: the tokens that a bucket gains in a second, and the tokens that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Tokens that come back in a second.
    pub(crate) per_second: u32,
    /// Tokens of a full bucket: the most that may be taken at once.
    pub(crate) burst: u32,
}

impl Rate {
    /// Returns how long it takes until so many tokens have come back.
    pub(crate) fn time_for(&self, tokens: u64) -> Duration {
        let nanos = u128::from(tokens) * 1_000_000_000 / u128::from(self.per_second.max(1));
        Duration::from_nanos(nanos.min(u64::MAX.into()) as u64)
    }
}

/// A token bucket, full at first. It keeps one number: the time at which it will be full again.
/// This is the virtual scheduling form of the generic cell rate algorithm (ITU-T I.371, annex A).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TokenBucket {
    full_at: Duration,
}

impl TokenBucket {
    /// Takes tokens at `now`. If there are too few, takes none and returns `false`.
    ///
    /// A full bucket gains no tokens, except in the last `grace` before `now`: the tokens of that
    /// time are added to the burst.
    pub(crate) fn take(
        &mut self,
        tokens: u64,
        now: Duration,
        grace: Duration,
        rate: &Rate,
    ) -> bool {
        let full_at = self.full_at.max(now.saturating_sub(grace)) + rate.time_for(tokens);
        let is_there = full_at <= now + rate.time_for(rate.burst.into());
        if is_there {
            self.full_at = full_at;
        }
        is_there
    }

    /// Adds the tokens that come back in `time`. With an equal grace, tokens that were taken too
    /// early are added to the burst.
    pub(crate) fn credit(&mut self, time: Duration) {
        self.full_at = self.full_at.saturating_sub(time);
    }

    /// Returns how long it takes until the bucket is full again.
    pub(crate) fn fills_in(&self, now: Duration) -> Duration {
        self.full_at.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 5 };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn taken(bucket: &mut TokenBucket, now: Duration, grace: Duration) -> usize {
        (0..1_000).take_while(|_| bucket.take(1, now, grace, &RATE)).count()
    }

    #[test]
    fn burst_is_there_at_once_and_comes_back_at_the_rate() {
        let mut bucket = TokenBucket::default();
        let start = ms(7_000);
        assert_eq!(taken(&mut bucket, start, Duration::ZERO), 5);
        assert_eq!(taken(&mut bucket, start + ms(99), Duration::ZERO), 0);
        assert_eq!(taken(&mut bucket, start + ms(100), Duration::ZERO), 1);
        assert_eq!(taken(&mut bucket, start + ms(450), Duration::ZERO), 3);
        assert_eq!(
            taken(&mut bucket, start + ms(60_000), Duration::ZERO),
            5,
            "no more than a burst"
        );
    }

    #[test]
    fn refused_take_takes_no_tokens() {
        let mut bucket = TokenBucket::default();
        assert!(!bucket.take(6, ms(0), Duration::ZERO, &RATE));
        assert!(bucket.take(5, ms(0), Duration::ZERO, &RATE));
        assert!(!bucket.take(1, ms(0), Duration::ZERO, &RATE));
        assert_eq!(bucket.fills_in(ms(0)), ms(500));
        assert_eq!(bucket.fills_in(ms(900)), ms(0));
    }

    #[test]
    fn grace_gives_what_came_back_meanwhile_besides_the_burst() {
        let mut bucket = TokenBucket::default();
        assert_eq!(taken(&mut bucket, ms(10_000), ms(2_000)), 25);
        assert_eq!(taken(&mut bucket, ms(10_000), ms(2_000)), 0, "once");
        assert_eq!(taken(&mut bucket, ms(10_100), Duration::ZERO), 1);
    }

    #[test]
    fn rates_of_bytes_neither_round_to_nothing_nor_overflow() {
        let fast = Rate { per_second: u32::MAX, burst: u32::MAX };
        let mut bucket = TokenBucket::default();
        assert!(bucket.take(u32::MAX.into(), ms(0), Duration::ZERO, &fast));
        assert!(!bucket.take(1_000, ms(0), Duration::ZERO, &fast));
        assert!(!bucket.take(u64::MAX, ms(0), Duration::ZERO, &fast));
        assert!(bucket.take(1_000, ms(1), Duration::ZERO, &fast));
    }

    #[test]
    fn time_that_is_credited_late_brings_as_many_tokens_as_in_time() {
        let mut bucket = TokenBucket::default();
        let now = ms(10_000);
        assert_eq!(taken(&mut bucket, now, Duration::ZERO), 5, "the burst");
        bucket.credit(ms(2_000));
        assert_eq!(taken(&mut bucket, now, ms(2_000)), 20, "what comes back in two seconds");
        assert_eq!(taken(&mut bucket, now + ms(100), Duration::ZERO), 1);
    }
}
