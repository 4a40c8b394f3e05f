//! The back-off: how long to wait before the next attempt to connect.

use std::time::Duration;

/// The first wait. A server that restarts is often back within this time.
const WAIT_MIN: Duration = Duration::from_millis(100);

/// The longest wait. Even many nodes that ask a server this rarely do not keep it down.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The longest wait while a part works, for example while one of several servers is down: it also
/// delays recovery of the channels of that server.
const WAIT_MAX_IN_PART: Duration = Duration::from_millis(400);

/// An exponential back-off with jitter: each wait is between a half and the whole of a span that
/// doubles.
#[derive(Debug)]
pub(crate) struct Backoff {
    span: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { span: WAIT_MIN }
    }

    /// Starts over, after a success.
    pub(crate) fn reset(&mut self) {
        self.span = WAIT_MIN;
    }

    /// Limits the next wait to [`WAIT_MAX_IN_PART`], after a partial success.
    pub(crate) fn curb(&mut self) {
        self.span = self.span.min(WAIT_MAX_IN_PART);
    }

    /// Returns the next wait, and doubles the span.
    pub(crate) fn wait(&mut self) -> Duration {
        // Without a source of randomness there is no jitter, and everything else works.
        let random = getrandom::u32().unwrap_or(u32::MAX);
        let wait = self.span.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX));
        self.span = (self.span * 2).min(WAIT_MAX);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_over() {
        let mut backoff = Backoff::new();
        for span_ms in [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000] {
            let span = Duration::from_millis(span_ms);
            let wait = backoff.wait();
            assert!((span / 2..=span).contains(&wait), "{wait:?} of {span:?}");
        }
        backoff.curb();
        assert!(backoff.wait() <= WAIT_MAX_IN_PART);
        backoff.reset();
        assert!(backoff.wait() <= WAIT_MIN);
    }
}
