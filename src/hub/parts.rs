//! What models see of the hub's private parts, in the builds of a model checker alone.

use super::lifetime::{self, ShutdownPhase};
use crate::net::AdmissionLimits;
use crate::runtime::notify::Notify;

/// Who is in a hub, and how far its end has come.
pub struct Lifetime {
    real: lifetime::Lifetime,
    /// Stands for the ends of shards, and is never rung.
    shard_ends: Notify,
}

impl Lifetime {
    /// A hub without limits and connections.
    #[expect(clippy::new_without_default, reason = "a model makes one")]
    pub fn new() -> Self {
        let limits = AdmissionLimits {
            connections_max: usize::MAX,
            handshakes_max: usize::MAX,
            per_addr_max: None,
            addr_rate: None,
        };
        Self { real: lifetime::Lifetime::new(limits), shard_ends: Notify::new() }
    }

    /// Counts a connection in; `false` if it is refused because the hub is closing, and counted out again.
    pub fn enter(&self) -> bool {
        self.real.enter(None).expect("there are no limits");
        let is_refused = self.real.has_reached(ShutdownPhase::Closing);
        self.real.end_handshake();
        if is_refused {
            self.leave();
        }
        !is_refused
    }

    /// Counts a connection out.
    pub fn leave(&self) {
        self.real.leave(None);
    }

    /// Refuses newcomers from now on, and counts the connections that are there.
    pub fn start_closing(&self) -> usize {
        self.real.advance(ShutdownPhase::Closing);
        self.real.connections()
    }

    /// Closes the hub.
    pub fn close(&self) {
        self.real.advance(ShutdownPhase::Closed);
        self.real.ring();
    }

    /// Waits until no connection is left.
    pub async fn all_ended(&self) {
        self.real.when(&self.shard_ends, || self.real.connections() == 0).await;
    }

    /// Waits until the hub is closed and no connection is left.
    pub async fn closed(&self) {
        let is_closed =
            || self.real.has_reached(ShutdownPhase::Closed) && self.real.connections() == 0;
        self.real.when(&self.shard_ends, is_closed).await;
    }
}
