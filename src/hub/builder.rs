//! The settings of a hub.

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZero;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::{BuildError, Hub, Parts};
use crate::backplane::{
    Backplane, BackplaneError, Bridge, BridgeConfig, CHANNELS_MAX, NodeId, Plan,
};
use crate::codec::Codec;
use crate::engine::{
    ConnKey, InboxLimits, LARGE_AUDIENCE, Overflow, QueueLimits, RoomLimits, ShardConfig,
};
use crate::transport::Shards;

/// Shorter intervals and timeouts would be below what timers and a busy machine can keep.
const TIME_MIN: Duration = Duration::from_millis(10);

/// Longer ones would find nothing that TCP does not find by itself.
const TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The settings of a [`Hub`], from [`Hub::builder`] or [`Hub::with_codec`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use roomcast::{Hub, Overflow};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), roomcast::BuildError> {
/// let hub = Hub::<String>::builder()
///     .shards(2)
///     .ping_interval(Duration::from_secs(10))
///     .send_buffer(64)
///     .overflow(Overflow::DropOldest)
///     .build()?;
/// # assert_eq!(hub.count(), 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct Builder<T, C> {
    codec: C,
    shards: usize,
    ping_interval: Duration,
    queue: QueueLimits,
    write_timeout: Duration,
    message_bytes_max: usize,
    inbox: InboxLimits,
    rooms: RoomLimits,
    link: Option<Link>,
    spread: u16,
    outage: InboxLimits,
    message: PhantomData<fn(T) -> T>,
}

/// The way to the other nodes.
struct Link {
    channel: String,
    start: Start,
}

/// Starts a bridge over the driver that it holds, or says why it cannot.
type Start = Box<dyn FnOnce(Plan, BridgeEnds<'_>) -> Result<Bridge, BackplaneError> + Send>;

/// What a bridge is between.
struct BridgeEnds<'a> {
    node: NodeId,
    members: Weak<Shards>,
    runtime: &'a Handle,
}

impl<T: Send + 'static, C: Codec<T>> Builder<T, C> {
    pub(super) fn new(codec: C) -> Self {
        Self {
            codec,
            shards: std::thread::available_parallelism().map_or(1, NonZero::get),
            ping_interval: Duration::from_secs(30),
            queue: QueueLimits { slots: 16, bytes: 1024 * 1024, overflow: Overflow::Evict },
            write_timeout: Duration::from_secs(5),
            message_bytes_max: 64 * 1024,
            inbox: InboxLimits { messages: 65_536, bytes: 64 * 1024 * 1024 },
            rooms: RoomLimits { name_bytes: 255, rooms_per_conn: 1_024 },
            link: None,
            spread: 1,
            outage: InboxLimits { messages: 65_536, bytes: 64 << 20 },
            message: PhantomData,
        }
    }

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

    /// The largest message that a client may send, in bytes of payload over all its fragments, at
    /// least 1. Default: 64 KiB. Past it the connection is closed with 1009, before the message is
    /// buffered.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.message_bytes_max = bytes;
        self
    }

    /// How many messages, joins and leaves may wait for one shard, at least 2. Default: 65,536.
    ///
    /// At half of it the hub stops reading from clients, so that TCP slows them down; past it,
    /// publishers get [`PublishError::Overloaded`](super::PublishError::Overloaded).
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

    /// Shares what is published with all hubs on the same Redis and the same channel, on whatever
    /// machine: see [`Backplane`] for what is promised. Default: none, the hub is alone.
    ///
    /// The URL is `redis://user:password@host:port`, of which all but the host may be left out
    /// (`redis://:password@host` where there is no user), or `rediss://…` for TLS with the feature
    /// `redis-tls`. Needs Redis 6 or newer, and two connections to it. Nothing is connected yet when
    /// the hub is built, and it makes no difference to local members whether Redis is there:
    /// [`Hub::backplane_health`] tells.
    ///
    /// # Errors
    /// A URL that is none makes [`build`](Self::build) fail with [`BuildError::Backplane`].
    ///
    /// # Examples
    /// ```
    /// use roomcast::Hub;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), roomcast::BuildError> {
    /// let hub = Hub::<String>::builder().redis("redis://127.0.0.1", "chat").build()?;
    /// # assert_eq!(hub.count(), 0);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "redis")]
    pub fn redis(self, url: impl AsRef<str>, channel: impl Into<String>) -> Self {
        self.link(crate::backplane::Redis::open(url.as_ref()), channel.into())
    }

    /// [`redis`](Self::redis) over a Redis Cluster, by sharded pub/sub: with
    /// [`channels`](Self::channels), rooms are spread over its masters. Needs Redis 7 or newer. The
    /// URLs are of some of its servers; the others are found, by the addresses that the cluster
    /// announces: with TLS, certificates must hold for these. Credentials are those of the first URL. A
    /// node has up to two connections to each master.
    ///
    /// # Errors
    /// As `redis`; also where there is no URL at all.
    #[cfg(feature = "redis")]
    pub fn redis_cluster<U: AsRef<str>>(
        self,
        urls: impl IntoIterator<Item = U>,
        channel: impl Into<String>,
    ) -> Self {
        let urls: Vec<U> = urls.into_iter().collect();
        self.link(crate::backplane::RedisCluster::open(&urls), channel.into())
    }

    /// Shares what is published with all hubs on the same backplane and the same channel. Default:
    /// none, the hub is alone.
    pub fn backplane<B: Backplane>(self, backplane: B, channel: impl Into<String>) -> Self {
        self.link(Ok(backplane), channel.into())
    }

    fn link<B: Backplane>(mut self, backplane: Result<B, BackplaneError>, channel: String) -> Self {
        let start: Start = Box::new(|plan, BridgeEnds { node, members, runtime }| {
            Ok(plan.start(backplane?, node, members, runtime))
        });
        self.link = Some(Link { channel, start });
        self
    }

    /// Over how many channels of the backplane rooms are spread, by a hash of their name. Default: 1,
    /// which is the channel named above alone; at most 4,096. It must be the same on all nodes.
    ///
    /// With more than one, a node gets only what goes by the channels that its rooms need, at the
    /// cost of a subscription and a heartbeat for each. What goes to everyone, to one connection, or
    /// to rooms of several channels goes by a channel of its own, and so comes before or after what
    /// the same publisher has sent to a room; within a channel the order holds.
    pub fn channels(mut self, channels: u16) -> Self {
        self.spread = channels;
        self
    }

    /// How many messages may wait for the backplane, as while it is away, at least 1. Default: 65,536.
    /// Past it the oldest are dropped, and counted.
    pub fn outage_messages(mut self, messages: usize) -> Self {
        self.outage.messages = messages;
        self
    }

    /// How many bytes may wait for the backplane, at least 1. Default: 64 MiB. It acts as
    /// [`outage_messages`](Self::outage_messages) does. A message that is larger, or larger than 256
    /// MiB, reaches no other node, and counts as dropped.
    pub fn outage_bytes(mut self, bytes: usize) -> Self {
        self.outage.bytes = bytes;
        self
    }

    /// Starts the hub: its shards become tasks of the runtime that this is called in.
    ///
    /// # Errors
    /// [`BuildError::NoRuntime`] outside of a tokio runtime, [`BuildError::OutOfRange`] for a
    /// setting out of its range, [`BuildError::Backplane`] for a backplane that cannot work.
    ///
    /// # Panics
    /// On a system without randomness, and in a runtime without a time driver ([`enable_time`](tokio::runtime::Builder::enable_time)).
    pub fn build(self) -> Result<Hub<T>, BuildError> {
        let runtime = Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        self.check()?;
        let config = ShardConfig {
            queue: self.queue,
            ping_interval: (!self.ping_interval.is_zero()).then_some(self.ping_interval),
            write_timeout: self.write_timeout,
            large_audience: LARGE_AUDIENCE,
        };
        let node = NodeId::random();
        let bridge = self.link.map(|link| {
            let config = BridgeConfig {
                channel: link.channel,
                spread: self.spread,
                outage: self.outage,
                queue_bytes: self.queue.bytes,
            };
            (Plan::new(config), link.start)
        });
        let watch = bridge.as_ref().map(|(plan, _)| plan.room_watch());
        let shards = Shards::start(self.shards, config, self.inbox, self.rooms, watch, &runtime);
        let shards = Arc::new(shards);
        let ends = || BridgeEnds { node, members: Arc::downgrade(&shards), runtime: &runtime };
        let bridge = bridge.map(|(plan, start)| start(plan, ends())).transpose()?;
        let codec = Box::new(self.codec);
        let message_bytes_max = self.message_bytes_max;
        Ok(Hub::assemble(Parts { node, codec, shards, bridge, message_bytes_max }))
    }

    fn check(&self) -> Result<(), BuildError> {
        let numbers = [
            ("shards", self.shards, 1..=ConnKey::SHARDS_MAX, "1 to 1,024"),
            ("send_buffer", self.queue.slots, 1..=65_536, "1 to 65,536"),
            ("send_buffer_bytes", self.queue.bytes, 1..=usize::MAX, "1 and more"),
            ("max_message_bytes", self.message_bytes_max, 1..=usize::MAX, "1 and more"),
            ("inbox_messages", self.inbox.messages, 2..=usize::MAX, "2 and more"),
            ("inbox_bytes", self.inbox.bytes, 1..=usize::MAX, "1 and more"),
            ("channels", self.spread.into(), 1..=CHANNELS_MAX.into(), "1 to 4,096"),
            ("outage_messages", self.outage.messages, 1..=usize::MAX, "1 and more"),
            ("outage_bytes", self.outage.bytes, 1..=usize::MAX, "1 and more"),
        ];
        for (setting, value, allowed, range) in numbers {
            if !allowed.contains(&value) {
                return Err(BuildError::OutOfRange { setting, value: value.to_string(), range });
            }
        }
        let times = [
            ("ping_interval", self.ping_interval, self.ping_interval.is_zero()),
            ("write_timeout", self.write_timeout, false),
        ];
        for (setting, value, is_allowed) in times {
            if !is_allowed && !(TIME_MIN..=TIME_MAX).contains(&value) {
                let value = format!("{value:?}");
                return Err(BuildError::OutOfRange { setting, value, range: "10 ms to 1 day" });
            }
        }
        Ok(())
    }
}

/// Without the backplane, which may hold a password.
impl<T, C: fmt::Debug> fmt::Debug for Builder<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("codec", &self.codec)
            .field("shards", &self.shards)
            .field("ping_interval", &self.ping_interval)
            .field("queue", &self.queue)
            .field("write_timeout", &self.write_timeout)
            .field("message_bytes_max", &self.message_bytes_max)
            .field("inbox", &self.inbox)
            .field("rooms", &self.rooms)
            .field("channel", &self.link.as_ref().map(|link| &link.channel))
            .field("channels", &self.spread)
            .field("outage", &self.outage)
            .finish()
    }
}
