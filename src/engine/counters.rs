//! What a shard counts. Everything that is dropped, refused or ended is counted here.

use std::sync::atomic::{AtomicU64, Ordering};

use super::close::Limit;

/// Defines the live counters and their snapshot from one list, so that neither can miss a field.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The live counters of a shard. Any thread adds and reads; they order nothing.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: Counter,)+
        }

        /// A snapshot of the counters of a hub, or of one shard. All but `connections` and `rooms`
        /// only grow.
        ///
        /// The fields are read one after the other while the hub runs, so sums between them may be
        /// off by what happened meanwhile.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// Adds these counters to a snapshot.
            pub fn add_to(&self, stats: &mut Stats) {
                $(stats.$name = stats.$name.wrapping_add(self.$name.get());)+
            }
        }
    };
}

counters! {
    /// Connections that are open now.
    connections,
    /// Rooms with members now; a room counts once per shard that has members of it.
    rooms,
    /// Connections that were opened.
    connected,
    /// Connections that have ended, for whatever reason.
    disconnected,
    /// Accepted upgrades that never became a connection: the client went, or took too long.
    upgrades_failed,
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
    /// Publishes, joins and leaves that were refused because an inbox was full.
    refused,
    /// Messages dropped by [`Overflow::DropOldest`](super::Overflow::DropOldest).
    dropped_oldest,
    /// Messages dropped by [`Overflow::DropNewest`](super::Overflow::DropNewest).
    dropped_newest,
    /// Messages that were handed to a connection, had not left when it ended, and are lost.
    dropped_at_end,
    /// Connections evicted because their queue was full.
    evicted_full,
    /// Connections evicted because a blocked socket took nothing for the write timeout.
    evicted_stalled,
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
    /// Pings sent.
    pings,
    /// Pongs that were replaced by a newer one before they could leave.
    pongs_replaced,
    /// Messages that the codec could not decode.
    decode_errors,
    /// Handlers that panicked.
    handler_panics,
}

impl Counters {
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
        self.evicted_full + self.evicted_stalled
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

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
