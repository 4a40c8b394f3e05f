//! What is told of a server.

use std::io;

use crate::telemetry::events;

events! {
    /// The system could accept no connection, as often as this since it was last told.
    warn accept_failed(error: &io::Error, failures: u64) for "roomcast::server" {
        %error, failures, "connection not accepted"
    }
}
