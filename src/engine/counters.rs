//! The counters of a shard. Every message that is dropped, every request that is refused and every connection
//! that ends is counted.
//!
//! A list of counters is a macro. From one list come the live counters, where they are counted, and the fields
//! of the snapshot that a user gets, so that neither can miss one.

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

/// The list of the counters of a shard, for the macro `$with`. More counters may stand before them.
macro_rules! shard_counters {
    ($with:ident! { $($before:tt)* }) => {
        $with! {
            $($before)*

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
            /// Messages dropped by [`Overflow::DropOldest`](crate::Overflow::DropOldest) and
            /// [`Overflow::KeepNewest`](crate::Overflow::KeepNewest).
            dropped_oldest,
            /// Messages dropped by [`Overflow::DropNewest`](crate::Overflow::DropNewest).
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
            /// Streams of the application that panicked below a connection; each ended that connection alone.
            stream_panics,
            /// Shards that are gone, with their runtime or by a panic. Their connections were cut, and no new one
            /// goes to them.
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
