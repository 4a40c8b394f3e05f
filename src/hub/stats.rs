//! The counters of a hub, and [`Stats`], the public snapshot of all counters.

use crate::engine::{Counters, add_counters, live_counters, shard_counters, snapshot};

/// The list of the hub's own counters. The macro `$with` gets it, after the counters in `$before`
/// and `$more`.
macro_rules! hub_counters {
    ($with:ident! { $($before:tt)* } $($more:tt)*) => {
        $with! {
            $($before)* $($more)*

            /// Handshakes that failed: the handler or the client took too long, or the client went
            /// away.
            upgrades_failed,
            /// Handshakes that were accepted and then failed, because the server in front of the
            /// hub does not support upgrades (`with_upgrades` of hyper).
            upgrades_unsupported,
            /// Requests refused with 400 or 426 because they were not valid handshakes.
            refused_malformed,
            /// Handshakes refused with 500 because a layer in front of the hub had removed the
            /// upgrade from the request.
            refused_without_upgrade,
            /// Handshakes refused with 403 because their origin is not allowed.
            refused_origins,
            /// Handshakes refused by `on_upgrade`.
            refused_by_handler,
            /// Handshakes refused because of the rooms that
            /// [`UpgradeRequest::join`](crate::UpgradeRequest::join) named: with 400 for too many
            /// rooms or a name that is too long, with 503 if the hub had reached
            /// [`max_rooms`](crate::Builder::max_rooms).
            refused_for_rooms,
            /// Handshakes refused with 503 because the hub was closing.
            refused_closing,
            /// Handshakes refused with 503 because the hub had too many connections or handshakes.
            refused_full,
            /// Handshakes refused with 429 because their address had too many connections, or
            /// opened them too fast.
            refused_addrs,
            /// Messages that the codec could not decode; see
            /// [`on_decode_error`](crate::Handler::on_decode_error).
            decode_errors,
            /// Processor time of compressing, in nanoseconds, estimated from a sample.
            compressing_ns,
            /// Joins whose room was not subscribed to within
            /// [`subscribe_timeout`](crate::Builder::subscribe_timeout).
            subscribe_timeouts,
            /// Errors that callbacks returned. Each closed its connection, except the errors of
            /// `on_disconnect`.
            callback_errors,
            /// Panics of callbacks, of the codec, and of the checks of origins and of compression.
            handler_panics,
            /// Calls of a [`RoomState`](crate::RoomState) that panicked. After a panic, the state
            /// may lack a message, or still contain a room that is empty.
            room_state_panics,
        }
    };
}

hub_counters! {
    live_counters! {
        /// The live counters of a hub. Any thread adds to them and reads them; they order no other
        /// memory accesses.
        pub(super) HubCounters;
    }
}

shard_counters! {
    hub_counters! {
        snapshot! {
            /// A snapshot of the counters of a hub, from [`Hub::stats`](crate::Hub::stats).
            ///
            /// All counters only grow, except `connections`, `rooms`, `blocked`,
            /// `rings` and `compressors`. The fields
            /// `refused_*` count refused handshakes. The fields `*_refusals` count refused
            /// publishes, joins, leaves and actions. The fields are read one after the other while
            /// the hub runs, so sums over several fields may be slightly off.
            Stats;
        }
    }
}

shard_counters! { add_counters! { pub(super) Stats::add_shard(Counters); } }
hub_counters! { add_counters! { pub(super) Stats::add_hub(HubCounters); } }

impl Stats {
    /// Connections evicted for any reason: the sum of the fields `evicted_*`.
    pub fn evictions(&self) -> u64 {
        self.evicted_full + self.evicted_stalled + self.evicted_for_memory
    }

    /// Messages dropped after they had been published: the sum of the fields `dropped_*`.
    pub fn dropped(&self) -> u64 {
        self.dropped_oldest + self.dropped_newest + self.dropped_at_end
    }
}
