//! The clock of the shards of a hub.
//!
//! A shard that is a task is late whenever its runtime is blocked, and a shard does not blame
//! clients for its own lateness. A shard on a thread of its own is never late with the runtime. But
//! a blocked runtime reads from no client, and does not notice that a full socket takes bytes again.
//! So the clock of such shards stands still while the runtime is blocked. A task of the runtime
//! [beats](Beat::keep) for that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::engine::LATENESS_MIN;

/// The time between two beats. A shorter block of the runtime is not noticed.
const BEAT: Duration = Duration::from_millis(100);

/// The clock. Clones show the same time.
#[derive(Clone)]
pub(super) struct HubClock {
    epoch: Instant,
    /// `None` if the shards are tasks of the runtime.
    beat: Option<Arc<Beat>>,
}

impl HubClock {
    /// Begins at zero.
    pub(super) fn new(beat: Option<Arc<Beat>>) -> Self {
        Self { epoch: Instant::now(), beat }
    }

    /// The time since the beginning, without the time in which the runtime was blocked.
    pub(super) fn now(&self) -> Duration {
        let elapsed = self.epoch.elapsed();
        elapsed.saturating_sub(self.blocked_at(self.epoch + elapsed))
    }

    /// The total time in which the runtime was blocked. Zero if the shards are tasks.
    pub(super) fn blocked(&self) -> Duration {
        self.blocked_at(Instant::now())
    }

    /// When the clock will show this time, if the runtime is not blocked until then.
    pub(super) fn instant(&self, time: Duration) -> Instant {
        self.epoch + time + self.blocked()
    }

    fn blocked_at(&self, now: Instant) -> Duration {
        self.beat.as_ref().map_or(Duration::ZERO, |beat| beat.lock().blocked_at(now))
    }
}

/// The beat of a runtime.
pub(super) struct Beat(Mutex<Beats>);

struct Beats {
    /// When the next beat should come.
    due: Instant,
    /// The total lateness of the beats before: of each, the part above [`LATENESS_MIN`].
    blocked: Duration,
}

impl Beats {
    fn blocked_at(&self, now: Instant) -> Duration {
        self.blocked + now.saturating_duration_since(self.due).saturating_sub(LATENESS_MIN)
    }
}

impl Default for Beat {
    fn default() -> Self {
        Self(Mutex::new(Beats { due: Instant::now() + BEAT, blocked: Duration::ZERO }))
    }
}

impl Beat {
    /// Beats for ever, in a task of the runtime.
    ///
    /// # Cancel safety
    /// Dropping the future ends the beat: from then on, the clock stands still.
    pub(super) async fn keep(&self) {
        loop {
            self.beat_at(Instant::now());
            sleep(BEAT).await;
        }
    }

    fn beat_at(&self, now: Instant) {
        let mut beats = self.lock();
        *beats = Beats { blocked: beats.blocked_at(now), due: now + BEAT };
    }

    fn lock(&self) -> MutexGuard<'_, Beats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn clock_without_a_beat_shows_all_time() {
        let clock = HubClock::new(None);
        advance(SECOND).await;
        assert_eq!((clock.now(), clock.blocked()), (SECOND, Duration::ZERO));
        assert_eq!(clock.instant(2 * SECOND), Instant::now() + SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn clock_stands_still_while_no_beat_comes_and_then_goes_on() {
        let beat = Arc::new(Beat::default());
        let clock = HubClock::new(Some(beat.clone()));
        let until_it_stands = BEAT + LATENESS_MIN;
        advance(until_it_stands).await;
        assert_eq!((clock.now(), clock.blocked()), (until_it_stands, Duration::ZERO));
        for blocked in 1..=3 {
            advance(SECOND).await;
            assert_eq!((clock.now(), clock.blocked()), (until_it_stands, blocked * SECOND));
        }
        beat.beat_at(Instant::now());
        advance(BEAT).await;
        assert_eq!((clock.now(), clock.blocked()), (until_it_stands + BEAT, 3 * SECOND));
        assert_eq!(clock.instant(clock.now() + SECOND), Instant::now() + SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn beats_that_come_in_time_leave_no_time_out() {
        let beat = Arc::new(Beat::default());
        let clock = HubClock::new(Some(beat.clone()));
        let keeping = beat.clone();
        let task = tokio::spawn(async move { keeping.keep().await });
        for _ in 0..100 {
            sleep(BEAT).await;
        }
        assert_eq!((clock.now(), clock.blocked()), (100 * BEAT, Duration::ZERO));
        task.abort();
    }
}
