//! Settings of what clients may do once they are connected.

use std::time::Duration;

use super::Builder;
use crate::net::Rate;

/// # What clients may do
/// Sizes and rates of what they send, and the rooms that they may be in.
impl<Out: 'static, In: Send + 'static> Builder<Out, In> {
    /// The largest message that a client may send, in bytes of payload over all its fragments, at
    /// least 1. Default: 64 KiB. Past it the connection is closed with 1009, before the message is
    /// buffered.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.read.decode.message_bytes_max = bytes;
        self
    }

    /// Of how many fragments a message may be, empty ones counted, at least 1. Default: 64. Past it the
    /// connection is closed with 1008.
    ///
    /// Raise it along with [`max_message_bytes`](Self::max_message_bytes): Chromium sends what is larger
    /// than 64 KiB in pieces, as do libraries what they stream.
    pub fn max_fragments(mut self, fragments: u32) -> Self {
        self.read.decode.fragments_max = fragments;
        self
    }

    /// How long a message may take from its first byte to its last. Default: 10 s; 10 ms to 1 day. Past
    /// it the connection is closed with 1008. Pings between its fragments win no time.
    ///
    /// The time in which a congested hub does not read does not count. Raise it along with
    /// [`max_message_bytes`](Self::max_message_bytes): the defaults ask for 6.4 KiB a second at least.
    pub fn message_timeout(mut self, timeout: Duration) -> Self {
        self.read.message_timeout = timeout;
        self
    }

    /// How many messages a client may send in a second on average, and how many at once; pings, pongs and
    /// [heartbeats](Self::heartbeats) count as messages. At least 1 each. Default: no limit. Past it the connection is closed with
    /// 1008.
    ///
    /// A token bucket: it holds `burst` tokens, and `per_second` come back in a second. While a handler
    /// runs or the hub is congested nobody reads, and what would have come back in that time is there
    /// besides the burst. What else holds up the reading, such as a busy machine, the burst has to cover.
    pub fn message_rate(mut self, per_second: u32, burst: u32) -> Self {
        self.read.rates.messages = Some(Rate { per_second, burst });
        self
    }

    /// How many bytes a client may send in a second on average, and how many at once, with headers. At
    /// least 1 each. Default: no limit. Past it the connection is closed with 1008. Works as
    /// [`message_rate`](Self::message_rate) does.
    ///
    /// The burst should have space for the largest message, and for 64 KiB: that is what one read may
    /// bring.
    pub fn byte_rate(mut self, per_second: u32, burst: u32) -> Self {
        self.read.rates.bytes = Some(Rate { per_second, burst });
        self
    }

    /// Whether an empty text message of a client is a heartbeat. Default: yes, unless the codec
    /// [takes empty text](crate::Codec::takes_empty_text) for a message, as [`Raw`](crate::Raw) does.
    ///
    /// Pages cannot send pings, so they could not tell a silent hub from a dead link. The hub answers a
    /// heartbeat by an empty text message, as it answers a ping by a pong: by itself, also while a callback
    /// runs. Neither the codec nor the handler sees the heartbeat, and
    /// [`Stats::heartbeats`](crate::Stats::heartbeats) counts it. Heartbeats that come together are answered
    /// together. Without this setting, `Json` cannot decode an empty text, and a codec of your
    /// own decides.
    pub fn heartbeats(mut self, are_answered: bool) -> Self {
        self.heartbeats = Some(are_answered);
        self
    }

    /// The longest room name, in bytes. Default: 255.
    pub fn max_room_name_bytes(mut self, bytes: usize) -> Self {
        self.rooms.name_bytes = bytes;
        self
    }

    /// In how many rooms a connection may be. Default: 1,024.
    pub fn max_rooms_per_conn(mut self, rooms: u32) -> Self {
        self.rooms.rooms_per_conn = rooms;
        self
    }

    /// How many rooms the hub may have, at least 1. Default: 1,048,576. A room counts once for each shard
    /// that has members of it. Past it, [`Conn::join`](crate::Conn::join) fails for rooms that are not
    /// there yet.
    pub fn max_rooms(mut self, rooms: usize) -> Self {
        self.rooms_max = rooms;
        self
    }
}
