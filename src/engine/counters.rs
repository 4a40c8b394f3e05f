//! The counters of a shard. Every message that is dropped, every request that is refused and every
//! connection that ends is counted.
//!
//! A list of counters is a macro. From one list come the live counters, where they are counted, and
//! the fields of the snapshot that a user gets, so that neither can miss one.

use std::sync::atomic::{AtomicU64, Ordering};

use super::close::{Eviction, Limit};

/// Defines live counters from a list.
macro_rules! live_counters {
    (
        $(#[$live_doc:meta])+ $vis:vis $live:ident;
        $($(#[doc = $doc:literal])+ $name:ident,)+
    ) => {
        $(#[$live_doc])+
        #[derive(Debug, Default)]
        $vis struct $live {
            $($(#[doc = $doc])+ $vis $name: $crate::engine::Counter,)+
        }
    };
}

/// Defines a snapshot from one or more lists.
#[cfg(feature = "hub")]
macro_rules! snapshot {
    (
        $(#[$snapshot_doc:meta])+ $snapshot:ident;
        $($(#[doc = $doc:literal])+ $name:ident,)+
    ) => {
        $(#[$snapshot_doc])+
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
        #[non_exhaustive]
        pub struct $snapshot {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }
    };
}

/// Defines how the live counters of a list are added to a snapshot.
#[cfg(feature = "hub")]
macro_rules! add_counters {
    (
        $vis:vis $snapshot:ident::$add:ident($live:ty);
        $($(#[doc = $doc:literal])+ $name:ident,)+
    ) => {
        impl $snapshot {
            $vis fn $add(&mut self, counters: &$live) {
                $(self.$name = self.$name.wrapping_add(counters.$name.get());)+
            }
        }
    };
}

/// The list of the counters of a shard. The macro `$with` gets it, after the counters in `$before`.
macro_rules! shard_counters {
    ($with:ident! { $($before:tt)* }) => {
        $with! {
            $($before)*

            /// Open connections now, and connections whose handshake is being answered.
            connections,
            /// Rooms with members now. A room counts once per shard that has members of it.
            rooms,
            /// Connections whose socket takes no more bytes now, so that messages wait for them.
            blocked,
            /// Connections that were opened. A connection counts from just before the response to
            /// its handshake.
            connected,
            /// Connections that have ended, for any reason, and connections whose client never took
            /// the response.
            disconnected,
            /// Data messages received.
            messages_in,
            /// Payload bytes of the data messages received. Those of compressed messages count
            /// inflated.
            bytes_in,
            /// Data messages received that were compressed.
            compressed_in,
            /// Payload bytes of the compressed data messages received, before inflating.
            compressed_bytes_in,
            /// Messages that shards took from their inboxes. A message counts once per shard with
            /// recipients.
            shard_messages,
            /// Messages handed to a connection: written, queued behind a blocked socket, or lost
            /// with the connection.
            deliveries,
            /// Write calls that moved bytes.
            writes,
            /// Writes that left together with others, with one system call
            /// (`Builder::io_uring`).
            batched_writes,
            /// Shards that write with io_uring now.
            rings,
            /// Bytes written, including control frames.
            bytes_out,
            /// Bytes of bursts that left compressed (`Builder::compression`), as they would be
            /// without compression, summed over the clients. A burst may have plain messages, too.
            compressed_bytes_before,
            /// Bytes of the same bursts, as they left.
            compressed_bytes_after,
            /// Bursts that refer to nothing before: the first one to a room, and those that bring
            /// clients in step again.
            key_frames,
            /// Bursts of messages that a client got plain because it was out of step: it had not
            /// received all compressed messages of the room.
            out_of_step,
            /// Compressors in memory now.
            compressors,
            /// Publishes, joins, leaves and actions on targets refused because the inbox of a shard
            /// was full.
            inbox_refusals,
            /// Joins refused because the hub has reached [`max_rooms`](crate::Builder::max_rooms),
            /// and joins by another node refused because the name of the room is too long here.
            room_refusals,
            /// Connections that did not join a room by [`Hub::join`](crate::Hub::join), because
            /// they had reached [`max_rooms_per_conn`](crate::Builder::max_rooms_per_conn).
            join_refusals,
            /// Messages dropped by [`Overflow::DropOldest`](crate::Overflow::DropOldest) and
            /// [`Overflow::KeepNewest`](crate::Overflow::KeepNewest).
            dropped_oldest,
            /// Messages dropped by [`Overflow::DropNewest`](crate::Overflow::DropNewest).
            dropped_newest,
            /// Messages that were lost because they had not left the hub when their connection
            /// ended.
            dropped_at_end,
            /// Connections evicted because their queue was full.
            evicted_full,
            /// Connections evicted because their socket took no bytes for
            /// [`write_timeout`](crate::Builder::write_timeout).
            evicted_stalled,
            /// Connections evicted because the hub had exceeded
            /// [`max_queued_bytes`](crate::Builder::max_queued_bytes).
            evicted_for_memory,
            /// New connections closed with 1013 because the hub had exceeded
            /// [`max_queued_bytes`](crate::Builder::max_queued_bytes).
            closed_overloaded,
            /// Connections that [`Hub::shed`](crate::Hub::shed) asked to connect to another node.
            shed,
            /// Connections closed because their client was silent for too long.
            closed_idle,
            /// Connections closed because the client broke the WebSocket protocol.
            closed_protocol,
            /// Connections closed for a message larger than
            /// [`max_message_bytes`](crate::Builder::max_message_bytes).
            closed_too_big,
            /// Connections closed for a message with more fragments than
            /// [`max_fragments`](crate::Builder::max_fragments).
            closed_fragments,
            /// Connections closed because a message was not complete within
            /// [`message_timeout`](crate::Builder::message_timeout).
            closed_slow_message,
            /// Connections closed because the client exceeded its rate of messages or bytes.
            closed_flooding,
            /// Heartbeats of clients that were answered
            /// ([`Builder::heartbeats`](crate::Builder::heartbeats)).
            heartbeats,
            /// Pings sent to clients.
            pings,
            /// Pongs that a newer pong replaced before they were written. Pongs to pings that
            /// arrived together count as one.
            pongs_replaced,
            /// Panics of streams that the application provides. Each ended only its own connection.
            stream_panics,
            /// Shards that have ended, with their runtime or by a panic. Their connections were
            /// cut, and they get no new ones.
            shards_gone,
        }
    };
}

#[cfg(feature = "hub")]
pub(crate) use {add_counters, live_counters, shard_counters, snapshot};

shard_counters! {
    live_counters! {
        /// The live counters of a shard. Any thread adds and reads; they order nothing.
        pub Counters;
    }
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
