//! What is told of shards.

use std::any::Any;

use crate::telemetry::events;
#[cfg(feature = "tracing")]
use crate::telemetry::panic_text;

events! {
    /// A shard is gone, and its connections with it.
    error shard_gone(shard: usize, reason: &str) for "roomcast::hub" {
        shard, reason, "shard gone"
    }

    /// The state beside rooms panicked so often, since this was last told; with the last panic.
    error room_state_panicked(panic: &(dyn Any + Send), times: u64) for "roomcast::hub" {
        panic = panic_text(panic), times, "room state panicked"
    }
}
