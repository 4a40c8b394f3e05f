//! The backplane over one Redis server.

use std::fmt;

use super::halves::{RedisPublisher, RedisSubscriber};
use super::master_watch::MasterWatch;
use super::remote::Remote;
#[cfg(feature = "redis-tls")]
use super::tls::RedisTls;
use crate::backplane::contract::Backplane;
use crate::backplane::contract::BackplaneError;
use crate::backplane::contract::Inbound;

/// The backplane over one Redis server, by `PUBLISH` and `SUBSCRIBE`.
///
/// It takes Redis 6 or later (Valkey should work, but was not tried), and two connections for each node. The user needs the commands
/// `PUBLISH`, `SUBSCRIBE` and `UNSUBSCRIBE`, with Redis 6.0 also `HELLO`, and the channels of the hub.
///
/// The server must be a master: a replica passes messages on to its own subscribers only. The role is
/// looked at when a half connects, each second in which something is published, and with each probe. A
/// replica is [`BackplaneError::Replica`], and is tried again until it is a master. After a demotion,
/// what was published in the last second may be lost, and is counted. A replica in a Redis Cluster is
/// no such case: it passes messages on to all members.
///
/// Redis keeps nothing for a subscriber that is away: what is published while a node is not
/// connected is lost to that node, and is counted. So is what a server had not passed on when it
/// died.
#[derive(Clone)]
pub struct Redis {
    remote: Remote,
}

impl Redis {
    /// The server of a URL: `redis://user:password@host:port`, where all but the host may be left
    /// out. With the feature `redis-tls`, `rediss://` stands for TLS, by the certificates that the
    /// system trusts, or as `tls` sets it up. `unix:///path` or `redis+unix:///path` is a Unix socket,
    /// which joins the processes of one machine; `?user=…&pass=…` behind the path are its credentials.
    /// Special characters of the user and the password are percent-encoded, such as `@` as `%40`.
    ///
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// [`BackplaneError::Settings`]: the URL cannot be read, asks for TLS without the feature, or names a
    /// database other than 0: channels are the same in all databases, so two applications that use one
    /// server need two channels.
    pub fn open(url: &str) -> Result<Self, BackplaneError> {
        Remote::open(url).map(|remote| Self { remote })
    }

    /// Sets up TLS.
    ///
    /// # Errors
    /// [`BackplaneError::Settings`]: the URL is not `rediss://`, or the settings can never work.
    #[cfg(feature = "redis-tls")]
    pub fn tls(self, tls: RedisTls) -> Result<Self, BackplaneError> {
        self.remote.with_tls(&tls).map(|remote| Self { remote })
    }
}

/// The address and the user; no password.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.remote).finish()
    }
}

impl Backplane for Redis {
    type Publisher = RedisPublisher;
    type Subscriber = RedisSubscriber;

    async fn connect_publisher(&self) -> Result<RedisPublisher, BackplaneError> {
        RedisPublisher::connect(self.remote.clone(), MasterWatch::NoSentinel).await
    }

    async fn connect_subscriber(
        &self,
        inbound: Inbound,
    ) -> Result<RedisSubscriber, BackplaneError> {
        RedisSubscriber::connect(self.remote.clone(), MasterWatch::NoSentinel, inbound).await
    }
}
