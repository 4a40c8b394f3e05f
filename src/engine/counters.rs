//! What a shard counts. Everything that is dropped, refused or ended is counted here.

use std::sync::atomic::{AtomicU64, Ordering};

use super::close::{Eviction, Limit};

/// Defines live counters and their snapshot from one list, so that neither can miss a field.
macro_rules! counters {
    (
        $(#[$live_doc:meta])+ $live_vis:vis $live:ident;
        $(#[$snapshot_doc:meta])+ $snapshot:ident;
        $($(#[doc = $doc:literal])+ $name:ident,)+
    ) => {
        $(#[$live_doc])+
        #[derive(Debug, Default)]
        $live_vis struct $live {
            $($(#[doc = $doc])+ $live_vis $name: $crate::engine::Counter,)+
        }

        $(#[$snapshot_doc])+
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
        #[non_exhaustive]
        pub struct $snapshot {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl $live {
            /// Adds these counters to a snapshot.
            $live_vis fn add_to(&self, stats: &mut $snapshot) {
                $(stats.$name = stats.$name.wrapping_add(self.$name.get());)+
            }
        }
    };
}

#[cfg(feature = "server")]
pub(crate) use counters;

counters! {
    /// The live counters of a shard. Any thread adds and reads; they order nothing.
    pub Counters;

    /// A snapshot of the counters of a hub, or of one shard. All but `connections`, `rooms` and
    /// `blocked` only grow.
    ///
    /// The fields are read one after the other while the hub runs, so sums between them may be
    /// off by what happened meanwhile.
    Stats;

    /// Connections that are open now, and those whose handshake is just being answered.
    connections,
    /// Rooms with members now; a room counts once per shard that has members of it.
    rooms,
    /// Connections for which something waits now, because their socket takes no more.
    blocked,
    /// Connections that were opened. One counts from just before its client is told.
    connected,
    /// Connections that have ended, for whatever reason, and those whose client never took the answer.
    disconnected,
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
    /// Data messages received.
    messages_in,
    /// Bytes of their payloads.
    bytes_in,
    /// Deliveries taken from the inboxes: a publish counts once per shard that it concerned.
    published,
    /// Messages handed to a connection: written, queued behind a blocked socket, or lost with it.
    deliveries,
    /// Write calls that moved bytes.
    writes,
    /// Bytes written, control frames included.
    bytes_out,
    /// Publishes, joins, leaves and actions on targets that were refused because an inbox was full.
    refused,
    /// Joins that were refused because the hub had as many rooms as it may have, and those that another
    /// node asked for and whose name is too long here.
    refused_rooms,
    /// Connections that did not enter a room by [`Hub::join`](crate::Hub::join), because they were in as
    /// many rooms as they may be.
    refused_joins,
    /// Messages dropped by [`Overflow::DropOldest`](super::Overflow::DropOldest) and
    /// [`Overflow::KeepNewest`](super::Overflow::KeepNewest).
    dropped_oldest,
    /// Messages dropped by [`Overflow::DropNewest`](super::Overflow::DropNewest).
    dropped_newest,
    /// Messages that were handed to a connection, had not left when it ended, and are lost.
    dropped_at_end,
    /// Connections evicted because their queue was full.
    evicted_full,
    /// Connections evicted because a blocked socket took nothing for the write timeout.
    evicted_stalled,
    /// Connections evicted because the hub had more bytes queued than it may.
    evicted_for_memory,
    /// New connections closed with 1013 because the hub had more bytes queued than it may.
    closed_overloaded,
    /// Connections that were asked to come back elsewhere ([`Hub::shed`](crate::Hub::shed)).
    shed,
    /// Connections closed because they were silent.
    closed_idle,
    /// Connections closed for a breach of the protocol.
    closed_protocol,
    /// Connections closed for a message over the size limit.
    closed_too_big,
    /// Connections closed for a message in too many fragments.
    closed_fragments,
    /// Connections closed because a message had begun and did not end in time.
    closed_slow_message,
    /// Connections closed because they sent more messages or bytes than their rate allows.
    closed_flooding,
    /// Heartbeats of clients that were answered ([`Builder::heartbeats`](crate::Builder::heartbeats)).
    heartbeats,
    /// Pings sent.
    pings,
    /// Pongs that were replaced by a newer one before they could leave; those of pings that came together
    /// count as one.
    pongs_replaced,
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
    /// Streams of the application that panicked below a connection; each ended that connection alone.
    stream_panics,
    /// Shards that are gone, with their runtime or by a panic. Their connections were cut, and no new one
    /// goes to them.
    shards_gone,
}

impl Counters {
    /// The connections that were evicted for this.
    pub(super) fn evicted(&self, cause: Eviction) -> &Counter {
        match cause {
            Eviction::Full => &self.evicted_full,
            Eviction::Stalled => &self.evicted_stalled,
            Eviction::Memory => &self.evicted_for_memory,
        }
    }

    /// The connections that were closed for going past a limit.
    pub(super) fn closed_over(&self, limit: Limit) -> &Counter {
        match limit {
            Limit::MessageBytes => &self.closed_too_big,
            Limit::Fragments => &self.closed_fragments,
            Limit::MessageTime => &self.closed_slow_message,
            Limit::MessageRate | Limit::ByteRate => &self.closed_flooding,
        }
    }
}

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

/// A relaxed counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes `n` off.
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// Takes all off, and returns it.
    pub fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
