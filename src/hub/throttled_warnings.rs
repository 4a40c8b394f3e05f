//! Faults of the program around a hub. A client can bring them about at will, so they are told in sums.

use std::sync::{Mutex, OnceLock, PoisonError};

use crate::telemetry::Throttle;

/// Those of one hub.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    /// Requests without their upgrade.
    pub(super) lost_upgrades: ThrottledCounter,
    /// Handshakes under a server without upgrades.
    pub(super) unsupported: ThrottledCounter,
    /// Headers of the handshake that a handler has set.
    pub(super) reserved_headers: ThrottledCounter,
    /// Messages that could not be decoded.
    pub(super) undecodable: ThrottledCounter,
    /// Joins whose room was not subscribed to in time.
    pub(super) unsubscribed: ThrottledCounter,
    /// Requests without an address, where addresses are limited. Told once.
    pub(super) unknown_addr: OnceLock<()>,
}

/// How often something has happened since it was last told. It is told once a second at most.
#[derive(Debug, Default)]
pub(super) struct ThrottledCounter(Mutex<Throttle>);

impl ThrottledCounter {
    /// Counts one more, and returns the sum if it is to be told now.
    pub(super) fn add(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(1)
    }
}
