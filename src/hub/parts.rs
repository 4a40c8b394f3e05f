//! Access to private parts of the hub for models. Compiled only for a model checker.

use super::lifetime::{self, ShutdownPhase};
use crate::net::AdmissionLimits;
use crate::runtime::notify::Notify;

/// The lifetime of a hub: its counted connections, and the phase of its shutdown.
pub struct Lifetime {
    real: lifetime::Lifetime,
    /// Replaces the ends of shards. It is never notified.
    shard_ends: Notify,
}

impl Lifetime {
    /// Makes a hub without limits and connections.
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

    /// Counts a new connection. Returns `false`, and uncounts it, if it is refused because the hub
    /// is closing.
    pub fn enter(&self) -> bool {
        self.real.enter(None).expect("there are no limits");
        let is_refused = self.real.has_reached(ShutdownPhase::Closing);
        self.real.end_handshake();
        if is_refused {
            self.leave();
        }
        !is_refused
    }

    /// Uncounts a connection.
    pub fn leave(&self) {
        self.real.leave(None);
    }

    /// Begins to refuse new connections, and returns the number of open ones.
    pub fn start_closing(&self) -> usize {
        self.real.advance(ShutdownPhase::Closing);
        self.real.connections()
    }

    /// Closes the hub.
    pub fn close(&self) {
        self.real.advance(ShutdownPhase::Closed);
        self.real.notify();
    }

    /// Waits until all connections have ended.
    pub async fn all_ended(&self) {
        self.real.when(&self.shard_ends, || self.real.connections() == 0).await;
    }

    /// Waits until the hub is closed and all connections have ended.
    pub async fn closed(&self) {
        let is_closed =
            || self.real.has_reached(ShutdownPhase::Closed) && self.real.connections() == 0;
        self.real.when(&self.shard_ends, is_closed).await;
    }
}
