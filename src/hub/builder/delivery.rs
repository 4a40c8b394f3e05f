//! Settings of what is sent: shards, queues, and clients that do not read.

use std::time::Duration;

use super::Builder;
use crate::engine::Overflow;

/// # Delivery, memory and keep-alive
/// How much may wait for a client and for a shard, when a client is slow, and how an end of a connection is noticed.
impl<Out: 'static, In: Send + 'static> Builder<Out, In> {
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

    /// How many bursts may wait for one client as they are, 1 to 65,536. Default: 16. Further ones are
    /// joined to the last one, so this setting neither evicts a client nor drops a message: only
    /// [`send_buffer_bytes`](Self::send_buffer_bytes) does.
    ///
    /// A burst is what was published to the same members at about the same time. Its bytes are shared
    /// by all clients for which it waits, and joining copies them. More means fewer copies, and 40
    /// bytes of memory for each burst that waits.
    pub fn send_buffer(mut self, bursts: usize) -> Self {
        self.queue.slots = bursts;
        self
    }

    /// How many bytes may wait for one client, at least 1. Default: 1 MiB. Past it,
    /// [`overflow`](Self::overflow) says what happens.
    ///
    /// If nothing waits for a client, one message of any size may. Keep the bound above the largest
    /// messages all the same: a second large message finds no space until the first has left.
    ///
    /// More survives longer stalls and slower links. Less finds slow clients sooner, and for
    /// [`Overflow::DropOldest`] it is how far a client may be behind.
    pub fn send_buffer_bytes(mut self, bytes: usize) -> Self {
        self.queue.bytes = bytes;
        self
    }

    /// How many bytes may wait for all clients together, at least 1. Default: 1 GiB, or a quarter of the
    /// memory that the process may use, if that is less, but 4 MiB at least. A message that waits for several
    /// counts for each, though they share its memory.
    ///
    /// The memory that the process may use is the least of the bounds of its control groups, `RLIMIT_AS`, and
    /// the memory of the machine, when the hub is built. The page [`docs::tuning`](crate::docs)
    /// has all that depends on it.
    ///
    /// Past it, those that have the most waiting are evicted, and new connections are closed with 1013,
    /// until there is room again.
    pub fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.byte_settings.queued = Some(bytes);
        self
    }

    /// The size of the kernel's send buffer of a connection (`SO_SNDBUF`), at least 1 byte. Default: that
    /// of the system, which lets it grow to megabytes; 64 KiB if the process may use less than 512 MiB of
    /// memory ([`max_queued_bytes`](Self::max_queued_bytes)). Linux doubles what it is given.
    ///
    /// Less bounds what the kernel holds for clients that do not read; more lets a burst leave at once.
    /// Only where the hub has the TCP socket itself, or TLS over it.
    pub fn socket_send_buffer(mut self, bytes: usize) -> Self {
        self.socket_send_buffer = Some(bytes);
        self
    }

    /// What happens to a message for a client whose send buffer is full. Default:
    /// [`Overflow::Evict`].
    ///
    /// With the other policies, a client is not evicted for being slow: see [`write_timeout`](Self::write_timeout).
    ///
    /// # Examples
    /// A game that publishes its state 20 times a second. A client that is slow skips ticks:
    /// ```
    /// use roomcast::{Hub, Overflow};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), roomcast::BuildError> {
    /// let hub = Hub::<String>::builder().overflow(Overflow::KeepNewest).build()?;
    /// # assert_eq!(hub.count(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.queue.overflow = overflow;
        self
    }

    /// How long a client whose socket is full may take nothing before it is evicted. Default: 5 s;
    /// 10 ms to 1 day. A closing client may take nothing for as long before its queue is given up.
    ///
    /// A client takes something when its socket takes bytes, and on Linux also when it acknowledges
    /// bytes that the kernel holds.
    ///
    /// Where [`overflow`](Self::overflow) is another policy than [`Overflow::Evict`], a client may take nothing for
    /// any time, as long as its system still answers. One that does not answer is evicted after this time. Where the
    /// hub is not told (it is for TCP, and TLS over it, on Linux), this time holds for all.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// How long a client that has been sent its close frame may acknowledge nothing more before its
    /// socket is closed. Default: 5 s; 10 ms to 1 day. For a client that has sent a close frame
    /// itself, has broken a rule or was evicted, at most 1 s.
    ///
    /// When the kernel has taken the close frame, a client on a slow link has yet to get what was sent
    /// before. A socket that is closed then answers the client's next byte with a reset, and the client
    /// may lose what it has not read. So the hub keeps the socket, and reads and throws away what the
    /// client sends, until the client closes or makes no progress. The connection counts in
    /// [`max_connections`](Self::max_connections) meanwhile. Where the system does not tell what a
    /// client acknowledges (TCP on Linux does), the time begins with the close frame.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// How many messages, joins and leaves may wait for one shard, at least 2. Default: 65,536.
    ///
    /// At half of it the hub stops reading from clients, so that TCP slows them down; past it,
    /// publishers get [`PublishError::Overloaded`](crate::PublishError::Overloaded).
    pub fn inbox_messages(mut self, messages: usize) -> Self {
        self.inbox_messages = messages;
        self
    }

    /// How many bytes of frames may wait for one shard, at least 1. Default: 64 MiB, or its part of an eighth
    /// of the memory that the process may use ([`max_queued_bytes`](Self::max_queued_bytes)), if that is
    /// less, but 256 KiB at least. It acts as [`inbox_messages`](Self::inbox_messages) does.
    pub fn inbox_bytes(mut self, bytes: usize) -> Self {
        self.byte_settings.inbox = Some(bytes);
        self
    }
}
