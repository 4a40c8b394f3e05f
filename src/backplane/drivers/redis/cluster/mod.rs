//! The driver over a Redis Cluster.

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

/// A backplane over a Redis Cluster, with its sharded channels: `SPUBLISH` and `SSUBSCRIBE`.
///
/// The servers must be Redis 7 or later. (Valkey should work, but was not tested.) Each channel
/// belongs to one master, by its slot, and a message costs only the shard of its channel. A node
/// has up to two connections to each master. The user needs the commands `SPUBLISH`, `SSUBSCRIBE`,
/// `SUNSUBSCRIBE`, `PING` and `CLUSTER SLOTS`, and the channels of the hub.
///
/// When a master fails, its channels do not work until a replica has taken over, which takes a
/// little longer than `cluster-node-timeout`. Messages on these channels wait, and the other
/// channels go on. When a slot moves to another master, or a master becomes a replica, the node
/// subscribes again to all channels that it had there. The role of a server needs no check: a
/// server that no longer owns a slot ends its subscriptions (`SUNSUBSCRIBE`), and answers a publish
/// with `MOVED`.
#[derive(Clone)]
pub struct RedisCluster {
    seeds: Arc<[Remote]>,
}

impl RedisCluster {
    /// The cluster that some of its nodes belong to. One node that answers is enough, so the URLs
    /// of two or three nodes are a good choice.
    ///
    /// The URLs have the form of [`Redis::open`](super::Redis::open), without Unix sockets. The
    /// user, the password and TLS of the first URL also apply to nodes without a URL.
    ///
    /// Does not connect.
    ///
    /// # Errors
    /// [`BackplaneError::Settings`]: there is no URL, or a URL cannot be read, is that of a Unix
    /// socket, names a database, or needs the feature for TLS.
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

    /// Sets up TLS for all nodes.
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

/// Shows the addresses and the users, not the passwords.
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
