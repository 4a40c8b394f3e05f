//! A feed of messages that continues during faults.

use std::time::{Duration, Instant};

use roomcast::Hub;
use serde::{Deserialize, Serialize};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use support::DEADLINE;

/// The room that all messages go to.
pub(crate) const ROOM: &str = "room";

/// The time between two bursts.
const PACE: Duration = Duration::from_millis(5);

/// The most time of a publish: a call that waits for a server takes longer, and other calls hardly ever do, even on a
/// busy machine.
const CALL_MAX: Duration = Duration::from_secs(1);

/// A message with a number, so that missing messages are noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) padding: String,
}

/// Publishes numbered messages to the room, in bursts, while it runs. Checks that no call fails or takes long.
pub(crate) struct Feed {
    hub: Hub<Numbered>,
    pace: Interval,
    burst: u64,
    padding: String,
    /// The number of published messages, which is the number of the next message.
    pub(crate) published: u64,
    /// The most messages that were seen in the outbox.
    pub(crate) queued_max: usize,
}

impl Feed {
    /// A feed of some 2,000 small messages a second.
    pub(crate) fn new(hub: Hub<Numbered>) -> Self {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { hub, pace, burst: 10, padding: String::new(), published: 0, queued_max: 0 }
    }

    /// Turns the feed into a flood of some 12 MB a second.
    pub(crate) fn flood(&mut self) {
        self.burst = 64;
        self.padding = "x".repeat(1_000);
    }

    /// Publishes one message.
    pub(crate) fn publish(&mut self) {
        let message = Numbered { number: self.published, padding: self.padding.clone() };
        let begin = Instant::now();
        self.hub.try_to_room(ROOM, &message).expect("no backplane makes a publish fail");
        let took = begin.elapsed();
        assert!(took < CALL_MAX, "message {} took {took:?}", message.number);
        self.published += 1;
    }

    /// Runs for a time.
    pub(crate) async fn run_for(&mut self, time: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < time {
            self.run_once().await;
        }
    }

    /// Runs until `condition` holds; fails after [`DEADLINE`].
    pub(crate) async fn run_until(&mut self, what: &str, condition: impl FnMut() -> bool) {
        self.run_until_within(DEADLINE, what, condition).await;
    }

    /// Runs until `condition` holds; fails after `limit`.
    pub(crate) async fn run_until_within(
        &mut self,
        limit: Duration,
        what: &str,
        mut condition: impl FnMut() -> bool,
    ) {
        let holds = async {
            while !condition() {
                self.run_once().await;
            }
        };
        let result = timeout(limit, holds).await;
        let health = || self.hub.backplane_health();
        result.unwrap_or_else(|_| panic!("not within {limit:?}: {what}; {:?}", health()));
    }

    async fn run_once(&mut self) {
        self.pace.tick().await;
        for _ in 0..self.burst {
            self.publish();
        }
        let health = self.hub.backplane_health().expect("the hub has a backplane");
        self.queued_max = self.queued_max.max(health.queued);
    }
}
