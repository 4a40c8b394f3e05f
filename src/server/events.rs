//! Events of a server.

use std::io;
use std::net::SocketAddr;

use crate::telemetry::events;

events! {
    /// The system could accept no connection. `failures` counts the times since the last event.
    warn accept_failed(error: &io::Error, failures: u64) for "roomcast::server" {
        %error, failures, "connection not accepted"
    }

    /// Few descriptors are left, so clients were refused. `refused` counts them since the last
    /// event.
    warn descriptors_scarce(refused: u64) for "roomcast::server" {
        refused, "few descriptors left: raise the limit (RLIMIT_NOFILE), or lower max_connections"
    }

    /// The system does not let this process listen for a signal.
    warn signal_not_heard(error: &io::Error) for "roomcast::server" {
        %error, "signal not listened for"
    }

    /// A connection was refused or closed, or a request was refused, before it reached a hub.
    debug rejected(remote_addr: Option<SocketAddr>, reason: &str) for "roomcast::server" {
        remote_addr = remote_addr.map(tracing::field::display), reason, "connection rejected"
    }
}
