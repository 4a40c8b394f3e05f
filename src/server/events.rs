//! What is told of a server.

use std::io;
use std::net::SocketAddr;

use crate::telemetry::events;

events! {
    /// The system could accept no connection, as often as this since it was last told.
    warn accept_failed(error: &io::Error, failures: u64) for "roomcast::server" {
        %error, failures, "connection not accepted"
    }

    /// Few descriptors are left, so clients were refused: as many as this since it was last told.
    warn descriptors_scarce(refused: u64) for "roomcast::server" {
        refused, "few descriptors left: raise the limit (RLIMIT_NOFILE), or lower max_connections"
    }

    /// The system does not let this process listen for a signal.
    warn signal_not_heard(error: &io::Error) for "roomcast::server" {
        %error, "signal not listened for"
    }

    /// A connection was refused or ended, or a request refused, before it came to a hub.
    debug rejected(remote_addr: Option<SocketAddr>, reason: &str) for "roomcast::server" {
        remote_addr = remote_addr.map(tracing::field::display), reason, "connection rejected"
    }
}
