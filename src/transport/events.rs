//! What is told of shards and streams.

use std::any::Any;

use crate::telemetry::events;
#[cfg(feature = "tracing")]
use crate::telemetry::panic_text;

events! {
    /// A stream of the application panicked, below the connection of this id.
    error stream_panicked(conn: u64, payload: &(dyn Any + Send)) for "roomcast::conn" {
        conn, panic = panic_text(payload), "stream panicked"
    }

    /// A shard is gone, and its connections with it.
    error shard_gone(shard: usize, reason: &str) for "roomcast::hub" {
        shard, reason, "shard gone"
    }
}
