//! The settings for connected clients: sizes and rates of messages, and rooms.

use std::time::Duration;

use super::Builder;
use crate::net::Rate;

/// # Limits of a client
/// Sizes and rates of its messages, and the number of its rooms.
impl<Out: 'static, In: Send + 'static> Builder<Out, In> {
    /// The largest message that a client may send, in bytes of payload over all its fragments.
    /// Default: 64 KiB; at least 1. A larger message closes the connection with 1009, before the
    /// message is buffered.
    ///
    /// The limit of a compressed message is the same, inflated: inflating stops at the limit. Its
    /// compressed bytes may be an eighth and 1 KiB more, because incompressible messages get
    /// longer.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.read.decode.message_bytes_max = bytes;
        self
    }

    /// The largest number of fragments of a message, including empty fragments. Default: 64; at
    /// least 1. A message with more fragments closes the connection with 1008.
    ///
    /// Raise it along with [`max_message_bytes`](Self::max_message_bytes): Chromium fragments
    /// messages that are larger than 64 KiB, and libraries fragment streamed messages.
    pub fn max_fragments(mut self, fragments: u32) -> Self {
        self.read.decode.fragments_max = fragments;
        self
    }

    /// How long a message may take from its first byte to its last. Default: 10 s; 10 ms to 1 day.
    /// A message that takes longer closes the connection with 1008. Pings between its fragments do
    /// not extend the time.
    ///
    /// The time in which a congested hub does not read does not count. Raise it along with
    /// [`max_message_bytes`](Self::max_message_bytes): the defaults require at least 6.4 KiB a
    /// second.
    pub fn message_timeout(mut self, timeout: Duration) -> Self {
        self.read.message_timeout = timeout;
        self
    }

    /// How many messages a client may send: `per_second` on average, and `burst` at once. Pings,
    /// pongs and [heartbeats](Self::heartbeats) count as messages. Default: no limit; at least 1
    /// each. A client that sends more is closed with 1008.
    ///
    /// The limit is a token bucket: it holds `burst` tokens, and gets `per_second` tokens back in a
    /// second. While a handler runs or the hub is congested, the hub does not read from the client.
    /// The tokens of that time are added even beyond `burst`. If the process does not run for more
    /// than 100 ms, the time beyond 100 ms is added too. Shorter delays must fit into the burst.
    pub fn message_rate(mut self, per_second: u32, burst: u32) -> Self {
        self.read.rates.messages = Some(Rate { per_second, burst });
        self
    }

    /// How many bytes a client may send, with frame headers: `per_second` on average, and `burst`
    /// at once. Default: no limit; at least 1 each. A client that sends more is closed with 1008.
    /// Works as [`message_rate`](Self::message_rate) does.
    ///
    /// A compressed message counts as many bytes as it has inflated, if these are more.
    ///
    /// Make the burst at least as large as the largest message, and at least 64 KiB, which one read
    /// may return.
    pub fn byte_rate(mut self, per_second: u32, burst: u32) -> Self {
        self.read.rates.bytes = Some(Rate { per_second, burst });
        self
    }

    /// Whether an empty text message of a client is a heartbeat. Default: yes, unless the codec
    /// [takes empty text](crate::Codec::takes_empty_text) for a message, as [`Raw`](crate::Raw)
    /// does.
    ///
    /// Web pages cannot send pings, so without heartbeats they cannot distinguish a silent hub from
    /// a dead connection. The hub answers a heartbeat with an empty text message, by itself, also
    /// while a callback runs. Neither the codec nor the handler gets the heartbeat, and
    /// [`Stats::heartbeats`](crate::Stats::heartbeats) counts it. Heartbeats that arrive together
    /// are answered together. If this is `false`, an empty text message goes to the codec: `Json`
    /// cannot decode it, and a codec of your own decides.
    pub fn heartbeats(mut self, are_answered: bool) -> Self {
        self.heartbeats = Some(are_answered);
        self
    }

    /// The longest name of a room, in bytes. Default: 255. A longer name makes a join fail.
    pub fn max_room_name_bytes(mut self, bytes: usize) -> Self {
        self.rooms.name_bytes = bytes;
        self
    }

    /// The largest number of rooms of a connection. Default: 1,024. Further joins fail.
    pub fn max_rooms_per_conn(mut self, rooms: u32) -> Self {
        self.rooms.rooms_per_conn = rooms;
        self
    }

    /// The largest number of rooms of the hub. Default: 1,048,576; at least 1. A room counts once
    /// for each shard that has members of it. At the limit, [`Conn::join`](crate::Conn::join) fails
    /// for rooms that do not exist yet.
    pub fn max_rooms(mut self, rooms: usize) -> Self {
        self.rooms_max = rooms;
        self
    }
}
