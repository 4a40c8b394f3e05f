//! The backplane over a Redis Cluster.

mod discovery;
mod publisher;
mod subscriber;
mod topology;

use std::fmt;
use std::sync::Arc;

use self::discovery::Discovery;
use self::publisher::ClusterPublisher;
use self::subscriber::ClusterSubscriber;
use super::remote::{REDIS_PORT, Remote};
#[cfg(feature = "redis-tls")]
use super::tls::RedisTls;
use crate::backplane::contract::Backplane;
use crate::backplane::contract::BackplaneError;
use crate::backplane::contract::Inbound;

/// The backplane over a Redis Cluster, by its sharded channels: `SPUBLISH` and `SSUBSCRIBE`.
///
/// It takes Redis 7 or later, (Valkey should work, but was not tried). Each channel belongs to one master, by its slot, and a
/// message costs only the shard that the channel belongs to. A node has up to two connections to each
/// master. The user needs the commands `SPUBLISH`, `SSUBSCRIBE`, `SUNSUBSCRIBE`, `PING` and
/// `CLUSTER SLOTS`, and the channels of the hub.
///
/// When a master fails, its channels are lost until a replica has taken over, which takes a little
/// longer than `cluster-node-timeout`, and what is published on them waits; the others go on. When a slot
/// moves to another master, or a master becomes a replica, all channels that a node had there are
/// subscribed to again. Roles need no look here: a server that no longer owns a slot ends its
/// subscriptions (`SUNSUBSCRIBE`), and answers a publish with `MOVED`.
#[derive(Clone)]
pub struct RedisCluster {
    seeds: Arc<[Remote]>,
}

impl RedisCluster {
    /// The cluster that some of its nodes belong to. One that answers is enough, so two or three
    /// are a good choice. URLs are those of [`Redis::open`](super::Redis::open) but for sockets; the user, the
    /// password and TLS of the first one also hold for nodes that no URL is given of.
    ///
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// [`BackplaneError::Settings`]: there is no URL, one cannot be read, is that of a Unix
    /// socket, names a database, or asks for TLS without the feature.
    pub fn open<U: AsRef<str>>(urls: &[U]) -> Result<Self, BackplaneError> {
        let seeds: Result<Arc<[Remote]>, _> = urls
            .iter()
            .map(|url| Remote::open_by_host("a cluster", url.as_ref(), REDIS_PORT))
            .collect();
        let seeds = seeds?;
        if seeds.is_empty() {
            let text = "a cluster takes the URL of at least one of its nodes".to_owned();
            return Err(BackplaneError::Settings(text));
        }
        Ok(Self { seeds })
    }

    /// Sets up TLS, for all nodes.
    ///
    /// # Errors
    /// [`BackplaneError::Settings`]: a URL is not `rediss://`, or the settings can never work.
    #[cfg(feature = "redis-tls")]
    pub fn tls(mut self, tls: RedisTls) -> Result<Self, BackplaneError> {
        let seeds: Result<_, _> = self.seeds.iter().map(|seed| seed.with_tls(&tls)).collect();
        self.seeds = seeds?;
        Ok(self)
    }
}

/// The addresses and the users; no password.
impl fmt::Debug for RedisCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCluster").field("seeds", &self.seeds).finish()
    }
}

impl Backplane for RedisCluster {
    type Publisher = ClusterPublisher;
    type Subscriber = ClusterSubscriber;

    async fn connect_publisher(&self) -> Result<ClusterPublisher, BackplaneError> {
        Discovery::learn(self.seeds.clone()).await.map(ClusterPublisher::new)
    }

    async fn connect_subscriber(
        &self,
        inbound: Inbound,
    ) -> Result<ClusterSubscriber, BackplaneError> {
        let discovery = Discovery::learn(self.seeds.clone()).await?;
        Ok(ClusterSubscriber::new(discovery, inbound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_without_a_url_is_an_error_of_settings() {
        let opened = RedisCluster::open::<&str>(&[]);
        assert!(matches!(opened, Err(BackplaneError::Settings(_))));
    }

    #[test]
    fn password_is_not_shown() {
        let cluster = RedisCluster::open(&["redis://me:secret@one", "redis://:secret@two"]);
        let shown = format!("{:?}", cluster.unwrap());
        assert!(shown.contains("one:6379") && shown.contains("two:6379"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}
