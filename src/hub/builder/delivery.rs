//! The settings for sending: shards, queues, slow clients, and keep-alive.

use std::time::Duration;

use super::Builder;
use crate::engine::Overflow;

/// # Delivery, memory and keep-alive
/// Bounds of the queues of clients and shards, the handling of slow clients, and the detection of
/// dead connections.
impl<Out: 'static, In: Send + 'static> Builder<Out, In> {
    /// The number of shards over which the connections are spread. Default: the number of cores; 1
    /// to 1,024.
    ///
    /// Each shard writes to its own connections, in a task or in a [thread](Self::shard_threads).
    /// More shards use more cores. Each shard with recipients adds one push to the cost of a
    /// publish.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Whether each shard runs on a thread of its own. Default: `false`, each shard is a task of the
    /// runtime.
    ///
    /// A handler that blocks a thread of the runtime can delay tasks, and so also the messages to
    /// other clients. It does not delay a shard that has a thread. But a blocked runtime still
    /// delays what it does itself: it reads no messages, and it does not notice that the socket of
    /// a slow client takes bytes again. The page `tuning` of [`docs`](crate::docs) has figures, and
    /// says which to choose.
    ///
    /// The threads are called `roomcast-0`, `roomcast-1`, and so on. They end when the hub is
    /// dropped, or when the runtime ends. If a thread cannot be started, `build` fails with
    /// [`BuildError::ShardThread`](crate::BuildError::ShardThread).
    ///
    /// # Examples
    /// ```
    /// use roomcast::Hub;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), roomcast::BuildError> {
    /// let hub = Hub::<String>::builder().shards(2).shard_threads(true).build()?;
    /// # assert_eq!(hub.count(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn shard_threads(mut self, has_threads: bool) -> Self {
        self.has_threads = has_threads;
        self
    }

    /// Whether shards may write with io_uring. Default: yes, with the feature `io-uring`, on Linux.
    ///
    /// A shard then sends to up to 64 clients over TCP with one system call. If the kernel or a
    /// container does not allow that, each write is a system call of its own.
    /// [`Stats::rings`](crate::Stats::rings) tells how many shards use it. The page
    /// [`tuning`](crate::docs::tuning) tells the rest.
    #[cfg(feature = "io-uring")]
    pub fn io_uring(mut self, may_use: bool) -> Self {
        self.may_use_io_uring = may_use;
        self
    }

    /// The time between pings to a client. A client that is silent for twice this time is closed.
    /// Default: 30 s; 10 ms to 1 day. Zero sends no pings, and clients may be silent for ever.
    ///
    /// A shorter interval finds dead clients sooner. It costs one write per client and interval.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval;
        self
    }

    /// How many bursts may wait for one client as they are. Default: 16; 1 to 65,536. Further
    /// bursts are copied to the end of the last one. So this setting neither evicts a client nor
    /// drops a message: only [`send_buffer_bytes`](Self::send_buffer_bytes) does.
    ///
    /// A burst is a group of messages that were published to the same members at about the same
    /// time. All clients for which a burst waits share its bytes, until it is copied. A larger
    /// value means fewer copies, and 40 bytes of memory for each burst that waits.
    pub fn send_buffer(mut self, bursts: usize) -> Self {
        self.queue.slots = bursts;
        self
    }

    /// How many bytes may wait for one client. Default: 1 MiB; at least 1. Beyond it,
    /// [`overflow`](Self::overflow) decides.
    ///
    /// If nothing waits for a client, one message of any size may wait. But keep the bound above
    /// the largest messages: a second large message finds no space until the first has left.
    ///
    /// With a larger value, clients survive longer stalls and slower links. With a smaller value,
    /// slow clients are found sooner. With [`Overflow::DropOldest`], the value is how far a client
    /// may be behind.
    pub fn send_buffer_bytes(mut self, bytes: usize) -> Self {
        self.queue.bytes = bytes;
        self
    }

    /// How many bytes may wait for all clients together, at least 1. Default: 1 GiB, or a quarter
    /// of the memory that the process may use if that is less, but at least 4 MiB. A message that
    /// waits for several clients counts once for each, although they share its memory.
    ///
    /// The memory that the process may use is the smallest of the bounds of its control groups,
    /// `RLIMIT_AS`, and the memory of the machine, when the hub is built. The page
    /// [`docs::tuning`](crate::docs) lists all defaults that depend on it.
    ///
    /// Beyond the bound, the clients with the longest queues are evicted, and new connections are
    /// closed with 1013, until there is space again.
    pub fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.byte_settings.queued = Some(bytes);
        self
    }

    /// The size of the kernel's send buffer of a connection (`SO_SNDBUF`), at least 1 byte.
    /// Default: the system's, which grows to megabytes; 64 KiB if the process may use less than 512
    /// MiB of memory ([`max_queued_bytes`](Self::max_queued_bytes)). Linux doubles the value.
    ///
    /// A smaller value bounds the bytes that the kernel holds for clients that do not read. With a
    /// larger value, a burst leaves at once. The setting has an effect only if the hub has the TCP
    /// socket itself, or TLS over it.
    pub fn socket_send_buffer(mut self, bytes: usize) -> Self {
        self.socket_send_buffer = Some(bytes);
        self
    }

    /// The policy for a message to a client whose send buffer is full. Default:
    /// [`Overflow::Evict`].
    ///
    /// With the other policies, a slow client is not evicted: see
    /// [`write_timeout`](Self::write_timeout).
    ///
    /// # Examples
    /// A game publishes its state 20 times a second. A slow client skips ticks:
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

    /// If a client's socket is full and the client takes no bytes for this time, the client is
    /// evicted. Default: 5 s; 10 ms to 1 day. After the same time, the hub drops the queue of a
    /// client that is closing.
    ///
    /// A client takes bytes when its socket accepts them, and on Linux also when it acknowledges
    /// bytes that the kernel holds.
    ///
    /// If [`overflow`](Self::overflow) is not [`Overflow::Evict`], a client that takes no bytes
    /// stays connected, as long as its system answers. A client whose system does not answer is
    /// evicted after this time. On Linux, the hub can see this for TCP, and for TLS over it. For
    /// other connections, this time holds in any case.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// If a closing client acknowledges no bytes for this time, its socket is closed. Default: 5 s;
    /// 10 ms to 1 day. At most 1 s for a client that has sent a close frame itself, has broken a
    /// rule, or was evicted.
    ///
    /// When the kernel has taken the close frame, a client on a slow link still has to receive
    /// earlier messages. If the hub closed the socket now, the system would answer the client's
    /// next byte with a reset, and the client might lose the bytes that it has not read. So the hub
    /// keeps the socket, and reads and drops what the client sends, until the client closes or
    /// makes no progress. Meanwhile the connection counts in
    /// [`max_connections`](Self::max_connections). If the system does not report what a client has
    /// acknowledged (it does for TCP on Linux), the time begins with the close frame.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// How many messages, joins and leaves may wait for one shard. Default: 65,536; at least 2.
    ///
    /// Above half of the bound, the hub stops reading from clients, so that TCP slows them down,
    /// and waiting publishes and actions wait. At the bound, `try_` calls fail with
    /// [`PublishError::Overloaded`](crate::PublishError::Overloaded), and all waiting calls wait.
    pub fn inbox_messages(mut self, messages: usize) -> Self {
        self.inbox_messages = messages;
        self
    }

    /// How many bytes of frames may wait for one shard, at least 1. Works as
    /// [`inbox_messages`](Self::inbox_messages) does.
    ///
    /// Default: 64 MiB, or the shard's part of an eighth of the memory that the process may use
    /// ([`max_queued_bytes`](Self::max_queued_bytes)) if that is less, but at least 256 KiB.
    pub fn inbox_bytes(mut self, bytes: usize) -> Self {
        self.byte_settings.inbox = Some(bytes);
        self
    }
}
