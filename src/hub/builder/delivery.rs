//! Settings of what is sent: shards, queues, and clients that do not read.

use std::time::Duration;

use super::Builder;
use crate::codec::Codec;
use crate::engine::Overflow;

impl<T: Send + 'static, C: Codec<T>> Builder<T, C> {
    /// How many shards the connections are spread over, 1 to 1,024. Default: the number of cores.
    ///
    /// Each shard is a task that writes its own connections. More shards use more cores; each one
    /// makes a publish dearer by a push.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// The time between pings to a client, and half the time that a client may be silent.
    /// Default: 30 s; 10 ms to 1 day. Zero sends none and lets clients be silent for ever.
    ///
    /// Shorter finds dead clients sooner, and costs a write per client and interval.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval;
        self
    }

    /// How many deliveries may wait for one client that is slower than its messages, 1 to 65,536.
    /// Default: 16. What is published in one burst to the same members is one delivery.
    ///
    /// More survives longer stalls, and holds more memory for clients that have stalled.
    pub fn send_buffer(mut self, deliveries: usize) -> Self {
        self.queue.slots = deliveries;
        self
    }

    /// How many bytes may wait for one client, at least 1. Default: 1 MiB. A message that is larger
    /// reaches only a client whose socket takes some of it at once; the rest then waits, whatever its
    /// size.
    pub fn send_buffer_bytes(mut self, bytes: usize) -> Self {
        self.queue.bytes = bytes;
        self
    }

    /// How many bytes may wait for all clients together, at least 1. Default: 1 GiB. A message that waits
    /// for several counts for each, though they share its memory.
    ///
    /// Past it, those that have the most waiting are evicted, and new connections are closed with 1013,
    /// until there is room again.
    pub fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.queued_bytes_max = bytes;
        self
    }

    /// The size of the kernel's send buffer of a connection (`SO_SNDBUF`), at least 1 byte. Default: that
    /// of the system, which lets it grow to megabytes. Linux doubles what it is given.
    ///
    /// Less bounds what the kernel holds for clients that do not read; more lets a burst leave at once.
    /// Only where the hub has the TCP socket itself: not under TLS.
    pub fn socket_send_buffer(mut self, bytes: usize) -> Self {
        self.socket_send_buffer = Some(bytes);
        self
    }

    /// What happens to a message for a client whose send buffer is full. Default:
    /// [`Overflow::Evict`].
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.queue.overflow = overflow;
        self
    }

    /// How long a client whose socket is full may take nothing before it is evicted, and how long a
    /// closing one has to take what was sent before. Default: 5 s; 10 ms to 1 day.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// How many messages, joins and leaves may wait for one shard, at least 2. Default: 65,536.
    ///
    /// At half of it the hub stops reading from clients, so that TCP slows them down; past it,
    /// publishers get [`PublishError::Overloaded`](crate::PublishError::Overloaded).
    pub fn inbox_messages(mut self, messages: usize) -> Self {
        self.inbox.messages = messages;
        self
    }

    /// How many bytes of frames may wait for one shard, at least 1. Default: 64 MiB. It acts as
    /// [`inbox_messages`](Self::inbox_messages) does.
    pub fn inbox_bytes(mut self, bytes: usize) -> Self {
        self.inbox.bytes = bytes;
        self
    }
}
