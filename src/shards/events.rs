//! Events of shards.

use crate::telemetry::events;

events! {
    /// A shard is gone, and its connections with it.
    error shard_gone(shard: usize, reason: &str) for "roomcast::hub" {
        shard, reason, "shard gone"
    }
}
