//! Warnings that a client can cause at will: they are counted, and logged at most once a second
//! with their number.

use std::sync::{Mutex, OnceLock, PoisonError};

use crate::telemetry::Throttle;

/// The counters of one hub's warnings.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    /// Requests from which a layer has removed the upgrade.
    pub(super) lost_upgrades: ThrottledCounter,
    /// Handshakes on a server that does not support upgrades.
    pub(super) unsupported: ThrottledCounter,
    /// Headers that belong to the handshake and that a handler has set.
    pub(super) reserved_headers: ThrottledCounter,
    /// Messages that could not be decoded.
    pub(super) undecodable: ThrottledCounter,
    /// Joins for which the subscription did not come in time.
    pub(super) unsubscribed: ThrottledCounter,
    /// Set when a request had no address although there are limits per address. This warning is
    /// logged once.
    pub(super) unknown_addr: OnceLock<()>,
}

/// The number of times that a warning was due since it was last logged. It is logged at most once a
/// second.
#[derive(Debug, Default)]
pub(super) struct ThrottledCounter(Mutex<Throttle>);

impl ThrottledCounter {
    /// Counts one more. Returns the number since the last log if the warning must be logged now.
    pub(super) fn add(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(1)
    }
}
