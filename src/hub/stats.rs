//! The counters of a hub, and the snapshot of them that a user gets.

use crate::engine::{Counters, add_counters, live_counters, shard_counters, snapshot};

/// The list of the counters of a hub that belong to no shard, for the macro `$with`. More counters may stand
/// before them.
macro_rules! hub_counters {
    ($with:ident! { $($before:tt)* } $($more:tt)*) => {
        $with! {
            $($before)* $($more)*

            /// Handshakes that came to nothing: the handler took too long, or the client did, or it went.
            upgrades_failed,
            /// Handshakes that were accepted and came to nothing, because the server in front of the hub gave no
            /// stream: it serves its connections without upgrades (`with_upgrades` of hyper).
            upgrades_unsupported,
            /// Requests refused with 400 or 426 because they were no proper handshakes.
            refused_malformed,
            /// Handshakes refused with 500 because a layer in front of the hub had taken the upgrade out of the
            /// request.
            refused_without_upgrade,
            /// Handshakes refused with 403 for their origin.
            refused_origins,
            /// Handshakes that the handler refused.
            refused_by_handler,
            /// Handshakes refused because of the rooms that [`UpgradeRequest::join`](crate::UpgradeRequest::join)
            /// named: with 400 if there were too many or a name was too long, with 503 if the hub had no more rooms.
            refused_for_rooms,
            /// Handshakes refused with 503 because the hub was closing.
            refused_closing,
            /// Handshakes refused with 503 because there were too many connections or handshakes.
            refused_full,
            /// Handshakes refused with 429 because there were too many connections of their address.
            refused_addrs,
            /// Messages that the codec could not decode; see
            /// [`on_decode_error`](crate::Handler::on_decode_error).
            decode_errors,
            /// Joins whose room was not subscribed to within
            /// [`subscribe_timeout`](crate::Builder::subscribe_timeout).
            subscribe_timeouts,
            /// Callbacks that returned an error, which closed the connection with it.
            callback_errors,
            /// Handlers that panicked.
            handler_panics,
            /// Calls of a [`RoomState`](crate::RoomState) that panicked: it may lack that message, or keep that room.
            room_state_panics,
        }
    };
}

hub_counters! {
    live_counters! {
        /// The live counters of a hub. Any thread adds and reads; they order nothing.
        pub(super) HubCounters;
    }
}

shard_counters! {
    hub_counters! {
        snapshot! {
            /// A snapshot of the counters of a hub. All but `connections`, `rooms` and `blocked` only grow.
            ///
            /// The fields are read one after the other while the hub runs, so sums between them may be
            /// off by what happened meanwhile.
            Stats;
        }
    }
}

shard_counters! { add_counters! { pub(super) Stats::add_shard(Counters); } }
hub_counters! { add_counters! { pub(super) Stats::add_hub(HubCounters); } }

impl Stats {
    /// Connections evicted because they did not read.
    pub fn evictions(&self) -> u64 {
        self.evicted_full + self.evicted_stalled + self.evicted_for_memory
    }

    /// Messages dropped after they had been published.
    pub fn dropped(&self) -> u64 {
        self.dropped_oldest + self.dropped_newest + self.dropped_at_end
    }
}
