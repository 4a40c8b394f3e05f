//! The settings for the backplane to other nodes.

use std::time::Duration;

use super::{BackplaneSetting, BridgeHost, Builder, StartBridge};
use crate::backplane::{Backplane, BackplaneError};

/// A bound that no type implements: its compile error names the feature `redis`.
#[cfg(not(feature = "redis"))]
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`Builder::redis` needs the feature `redis` of the crate roomcast",
    label = "the feature `redis` is off",
    note = "in Cargo.toml: roomcast = {{ version = \"…\", features = [\"redis\"] }}"
)]
pub trait NeedsRedis {}

/// # Several nodes
/// The backplane, and the queue of messages that wait for it.
impl<Out: 'static, In: Send + 'static> Builder<Out, In> {
    /// Connects the hub, over one Redis server, with all hubs on the same server and channel.
    /// Default: no backplane, the hub is alone. See [`Backplane`] for the guarantees.
    ///
    /// The URL is `redis://user:password@host:port`. All parts except the host may be left out
    /// (`redis://:password@host` if there is no user). With the feature `redis-tls`, `rediss://…`
    /// uses TLS. `unix:///path` is for processes on one machine. Percent-encode special characters
    /// of the password.
    ///
    /// The server must be a master; while it is a replica, the error is
    /// [`BackplaneError::Replica`](crate::BackplaneError::Replica). Needs Redis 6 or newer, and two
    /// connections to it. The hub connects after it is built. Local members get their messages
    /// whether or not Redis is reachable; [`Hub::backplane_health`](crate::Hub::backplane_health)
    /// shows the state. For settings of TLS, such as your own certificate authority, pass the
    /// driver `Redis` to [`backplane`](Self::backplane).
    ///
    /// # Errors
    /// A URL that is invalid, or that names a database other than 0, makes [`build`](Self::build)
    /// fail with [`BuildError::Backplane`](crate::BuildError::Backplane).
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
        self.set_backplane(crate::backplane::Redis::open(url.as_ref()), channel.into())
    }

    /// Fails to compile with a message that names the feature `redis`.
    #[cfg(not(feature = "redis"))]
    #[doc(hidden)]
    pub fn redis(self, _: impl AsRef<str>, _: impl Into<String>) -> Self
    where
        Self: NeedsRedis,
    {
        self
    }

    /// [`redis`](Self::redis) over a Redis Cluster, with sharded pub/sub. With
    /// [`channels`](Self::channels), rooms are spread over the masters. Needs Redis 7 or newer, and
    /// up to two connections to each master.
    ///
    /// Pass the URLs of some servers of the cluster. The hub finds the others by the addresses that
    /// the cluster announces: with TLS, the certificates must be valid for these addresses. The
    /// first URL has the credentials.
    ///
    /// # Errors
    /// As `redis`; also if there is no URL.
    #[cfg(feature = "redis")]
    pub fn redis_cluster<U: AsRef<str>>(
        self,
        urls: impl IntoIterator<Item = U>,
        channel: impl Into<String>,
    ) -> Self {
        let urls: Vec<U> = urls.into_iter().collect();
        self.set_backplane(crate::backplane::RedisCluster::open(&urls), channel.into())
    }

    /// [`redis`](Self::redis) over the master of a service that Redis Sentinel watches, such as
    /// `mymaster`. After a failover, the hub connects to the new master at once. Needs two
    /// connections to the master, and one to each sentinel.
    ///
    /// Pass the URLs of all sentinels, with their user and password; the default port is 26379. For
    /// a master that has a password, pass a [`RedisSentinel`](crate::RedisSentinel) to
    /// [`backplane`](Self::backplane).
    ///
    /// # Errors
    /// As `redis`; also if there is no URL, or the name of the service is empty.
    ///
    /// # Examples
    /// ```
    /// use roomcast::Hub;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), roomcast::BuildError> {
    /// let sentinels = ["redis://10.0.0.1", "redis://10.0.0.2", "redis://10.0.0.3"];
    /// let hub = Hub::<String>::builder().redis_sentinel(sentinels, "mymaster", "chat").build()?;
    /// # assert_eq!(hub.count(), 0);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "redis")]
    pub fn redis_sentinel<U: AsRef<str>>(
        self,
        urls: impl IntoIterator<Item = U>,
        service: impl Into<String>,
        channel: impl Into<String>,
    ) -> Self {
        let urls: Vec<U> = urls.into_iter().collect();
        self.set_backplane(crate::backplane::RedisSentinel::open(&urls, service), channel.into())
    }

    /// Connects the hub, over any [`Backplane`], with all hubs on the same backplane and channel.
    /// Default: no backplane, the hub is alone.
    pub fn backplane<B: Backplane>(self, backplane: B, channel: impl Into<String>) -> Self {
        self.set_backplane(Ok(backplane), channel.into())
    }

    fn set_backplane<B: Backplane>(
        mut self,
        backplane: Result<B, BackplaneError>,
        channel: String,
    ) -> Self {
        let start: StartBridge = Box::new(|plan, BridgeHost { node, shards, runtime }| {
            Ok(plan.start(backplane?, node, shards, runtime))
        });
        self.backplane = Some(BackplaneSetting { channel, start });
        self
    }

    /// The number of channels over which rooms are spread, by a hash of their names. Default: 1, so
    /// one channel carries all messages; at most 4,096. It must be the same on all nodes.
    ///
    /// With several channels, a node receives only the channels that its rooms need. Each channel
    /// costs a subscription and a heartbeat. Messages to everyone, to one connection, or to rooms
    /// of several channels use a separate channel. Order holds only within one channel: such a
    /// message may arrive before or after a message of the same publisher to a room.
    pub fn channels(mut self, channels: u16) -> Self {
        self.spread = channels;
        self
    }

    /// How many messages the outbox may hold. Messages for other nodes wait there for the
    /// backplane, such as while it is down. Default: 65,536; at least 1. Beyond it, the oldest
    /// messages are dropped and counted ([`dropped`](crate::BackplaneHealth::dropped)).
    pub fn outbox_messages(mut self, messages: usize) -> Self {
        self.outbox_messages = messages;
        self
    }

    /// How many bytes the outbox may hold, at least 1. Works as
    /// [`outbox_messages`](Self::outbox_messages) does.
    ///
    /// Default: 64 MiB, or a sixteenth of the memory that the process may use
    /// ([`max_queued_bytes`](Self::max_queued_bytes)) if that is less, but at least 1 MiB. A
    /// message that is larger than this bound, or larger than 256 MiB, reaches no other node, and
    /// counts as dropped.
    pub fn outbox_bytes(mut self, bytes: usize) -> Self {
        self.byte_settings.outbox = Some(bytes);
        self
    }

    /// How long messages for other nodes wait, after an outage of the backplane, until the known
    /// nodes have subscribed again. Default: 20 s; 10 ms to 1 day. Zero does not wait.
    ///
    /// After an outage, each node subscribes again after its own delay of up to 10 s. It gets no
    /// message that was published before it had subscribed. As soon as all known nodes are back,
    /// the messages leave. A node that is not back in time misses the messages that waited:
    /// [`unreached`](crate::BackplaneHealth::unreached) counts them, and
    /// [`absent_nodes`](crate::BackplaneHealth::absent_nodes) names the node. Members on this node
    /// get all messages without delay.
    ///
    /// With a shorter time, more messages are lost when nodes come back late. With a longer time,
    /// messages wait longer when a node has crashed during the outage. They wait within
    /// [`outbox_messages`](Self::outbox_messages) and [`outbox_bytes`](Self::outbox_bytes).
    pub fn rejoin_wait(mut self, time: Duration) -> Self {
        self.rejoin_wait = time;
        self
    }

    /// How long [`Conn::join_subscribed`](crate::Conn::join_subscribed) waits for the subscription.
    /// Default: 5 s; 10 ms to 1 day. After this time the call returns `false`, and
    /// [`Stats::subscribe_timeouts`](crate::Stats::subscribe_timeouts) counts it.
    ///
    /// While the backplane is down, an `on_connect` with this call delays its client for this time.
    /// With a longer time, the call survives longer outages.
    pub fn subscribe_timeout(mut self, timeout: Duration) -> Self {
        self.subscribe_timeout = timeout;
        self
    }
}
