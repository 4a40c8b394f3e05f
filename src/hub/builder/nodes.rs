//! Settings of the way to other nodes.

use std::time::Duration;

use super::{BackplaneSetting, BridgeEnds, Builder, StartBridge};
use crate::backplane::{Backplane, BackplaneError};

/// Nothing implements it.
#[cfg(not(feature = "redis"))]
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`Builder::redis` needs the feature `redis` of the crate roomcast",
    label = "the feature `redis` is off",
    note = "in Cargo.toml: roomcast = {{ version = \"…\", features = [\"redis\"] }}"
)]
pub trait NeedsRedis {}

/// # Several nodes
/// The backplane, and what waits for it.
impl<Out: 'static, In: Send + 'static> Builder<Out, In> {
    /// Shares what is published with all hubs on the same Redis and the same channel, on whatever
    /// machine: see [`Backplane`] for what is promised. Default: none, the hub is alone.
    ///
    /// The URL is `redis://user:password@host:port`, of which all but the host may be left out
    /// (`redis://:password@host` where there is no user), `rediss://…` for TLS with the feature `redis-tls`,
    /// or `unix:///path` for processes on one machine. Special characters of the password are
    /// percent-encoded. The server is the master: one that is a replica is
    /// [`BackplaneError::Replica`](crate::BackplaneError::Replica), for as long as it is. Needs Redis 6 or
    /// newer, and two connections to it. Nothing is connected yet when the hub is built, and it makes no
    /// difference to local members whether Redis is there:
    /// [`Hub::backplane_health`](crate::Hub::backplane_health) tells. Settings of TLS, such as an authority of
    /// your own, are those of the driver `Redis`, which [`backplane`](Self::backplane) takes.
    ///
    /// # Errors
    /// A URL that cannot be read, or that names a database other than 0, makes [`build`](Self::build) fail with
    /// [`BuildError::Backplane`](crate::BuildError::Backplane).
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

    /// Tells who has forgotten the feature.
    #[cfg(not(feature = "redis"))]
    #[doc(hidden)]
    pub fn redis(self, _: impl AsRef<str>, _: impl Into<String>) -> Self
    where
        Self: NeedsRedis,
    {
        self
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
        self.set_backplane(crate::backplane::RedisCluster::open(&urls), channel.into())
    }

    /// [`redis`](Self::redis) over the master of a service that Redis Sentinel watches, such as `mymaster`.
    /// After a failover a node connects to the new master at once. The URLs are of all sentinels, with their
    /// user and password; the default port is 26379. For a master that has a password, give a
    /// [`RedisSentinel`](crate::RedisSentinel) to [`backplane`](Self::backplane). Needs two connections to the
    /// master, and one to each sentinel.
    ///
    /// # Errors
    /// As `redis`; also where there is no URL at all, or no name of a service.
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

    /// Shares what is published with all hubs on the same backplane and the same channel. Default:
    /// none, the hub is alone.
    pub fn backplane<B: Backplane>(self, backplane: B, channel: impl Into<String>) -> Self {
        self.set_backplane(Ok(backplane), channel.into())
    }

    fn set_backplane<B: Backplane>(
        mut self,
        backplane: Result<B, BackplaneError>,
        channel: String,
    ) -> Self {
        let start: StartBridge = Box::new(|plan, BridgeEnds { node, members, runtime }| {
            Ok(plan.start(backplane?, node, members, runtime))
        });
        self.backplane = Some(BackplaneSetting { channel, start });
        self
    }

    /// The number of channels that rooms are spread over, by a hash of their names. Default: 1, so one channel
    /// carries everything. At most 4,096. It must be the same on all nodes.
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
        self.outage_messages = messages;
        self
    }

    /// How many bytes may wait for the backplane, at least 1. Default: 64 MiB, or a sixteenth of the memory
    /// that the process may use ([`max_queued_bytes`](Self::max_queued_bytes)), if that is less, but 1 MiB at
    /// least. It acts as [`outage_messages`](Self::outage_messages) does. A message that is larger, or larger than 256
    /// MiB, reaches no other node, and counts as dropped.
    pub fn outage_bytes(mut self, bytes: usize) -> Self {
        self.byte_settings.outage = Some(bytes);
        self
    }

    /// How long, after a break of the backplane, messages for other nodes wait for the nodes that were there
    /// before the break. Default: 20 s; 10 ms to 1 day. Zero waits for nobody.
    ///
    /// After a break, each node subscribes again after its own wait of up to 10 s. It gets no message that was
    /// published before it had subscribed. As soon as all nodes are back, messages leave. A node that is not back
    /// in time misses the messages that waited: [`unreached`](crate::BackplaneHealth::unreached) counts them, and
    /// [`absent_nodes`](crate::BackplaneHealth::absent_nodes) names the node. Members of this node
    /// get all messages at once.
    ///
    /// A shorter time loses more when nodes come back late. A longer one holds messages up for longer when a
    /// node has crashed during the break: they wait within [`outage_messages`](Self::outage_messages) and
    /// [`outage_bytes`](Self::outage_bytes).
    pub fn rejoin_wait(mut self, time: Duration) -> Self {
        self.rejoin_wait = time;
        self
    }

    /// How long [`Conn::join_subscribed`](crate::Conn::join_subscribed) waits for the subscription. Default: 5 s;
    /// 10 ms to 1 day. Past it the call gives `false`, and
    /// [`Stats::subscribe_timeouts`](crate::Stats::subscribe_timeouts) counts it.
    ///
    /// It is how long a client gets nothing from an `on_connect` that waits while the backplane is away. Longer
    /// waits through longer breaks.
    pub fn subscribe_timeout(mut self, timeout: Duration) -> Self {
        self.subscribe_timeout = timeout;
        self
    }
}
