//! Events of streams.

use std::any::Any;
use std::io;

use crate::telemetry::events;
#[cfg(feature = "tracing")]
use crate::telemetry::panic_text;

events! {
    /// This process cannot use io_uring. Each write is a system call of its own.
    debug no_ring(error: &io::Error) for "roomcast::hub" {
        %error, "io_uring is not available"
    }

    /// A ring of io_uring has failed. The shard goes on without it.
    warn ring_failed(error: &io::Error) for "roomcast::hub" {
        %error, "io_uring failed, a shard goes on without it"
    }

    /// A stream of the application panicked. The connection of this id used it.
    error stream_panicked(conn: u64, payload: &(dyn Any + Send)) for "roomcast::conn" {
        conn, panic = panic_text(payload), "stream panicked"
    }
}
