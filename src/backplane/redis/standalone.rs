//! The backplane over one Redis server.

use std::fmt;

use super::halves::{RedisPublisher, RedisSubscriber};
use super::moves::Moves;
use super::remote::Remote;
use crate::backplane::{Backplane, BackplaneError, Inbound};

/// The backplane over one Redis server, by `PUBLISH` and `SUBSCRIBE`.
///
/// It takes Redis 6 or later, or Valkey, and two connections a node. The user needs the commands
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
    /// system trusts. Special characters of the password are percent-encoded. The number of a
    /// database has no effect: channels are the same in all of them.
    ///
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// [`BackplaneError::Settings`]: the URL cannot be read, or asks for TLS without the feature.
    pub fn open(url: &str) -> Result<Self, BackplaneError> {
        Remote::open(url).map(|remote| Self { remote })
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
        RedisPublisher::connect(self.remote.clone(), Moves::Never).await
    }

    async fn connect_subscriber(
        &self,
        inbound: Inbound,
    ) -> Result<RedisSubscriber, BackplaneError> {
        RedisSubscriber::connect(self.remote.clone(), Moves::Never, inbound).await
    }
}
