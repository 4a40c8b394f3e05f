//! How long to wait before the next attempt.

use std::time::Duration;

/// The first wait: a server that restarts is often back within it.
const WAIT_MIN: Duration = Duration::from_millis(100);

/// The longest wait: a fleet that asks a server this rarely does not keep it down.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The longest wait where some of it works, as while one of several servers is down: what goes by the
/// others is held up that long.
const WAIT_MAX_IN_PART: Duration = Duration::from_millis(400);

/// A jittered exponential back-off: each wait is between half and all of a span that doubles.
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

    /// Waits no longer than [`WAIT_MAX_IN_PART`] next, after a success in part.
    pub(crate) fn curb(&mut self) {
        self.span = self.span.min(WAIT_MAX_IN_PART);
    }

    /// The next wait.
    pub(crate) fn wait(&mut self) -> Duration {
        // Without randomness there is no jitter, and nothing else is amiss.
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
