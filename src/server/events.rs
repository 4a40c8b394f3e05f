//! What is told of a server.

use std::io;
use std::net::SocketAddr;

use crate::telemetry::events;

events! {
    /// The system could accept no connection, as often as this since it was last told.
    warn accept_failed(error: &io::Error, failures: u64) for "roomcast::server" {
        %error, failures, "connection not accepted"
    }

    /// A connection was refused or ended, or a request refused, before it came to a hub.
    debug rejected(remote_addr: SocketAddr, reason: &str) for "roomcast::server" {
        %remote_addr, reason, "connection rejected"
    }
}
