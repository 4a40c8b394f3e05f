//! Events of rings.

use std::io;

use crate::telemetry::events;

events! {
    /// This process cannot use io_uring. Each write is a system call of its own.
    debug no_ring(error: &io::Error) for "roomcast::hub" {
        %error, "io_uring is not available"
    }

    /// A ring of io_uring has failed. The shard goes on without it.
    warn ring_failed(error: &io::Error) for "roomcast::hub" {
        %error, "io_uring failed, a shard goes on without it"
    }
}
