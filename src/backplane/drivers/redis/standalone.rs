//! The driver over one Redis server.

use std::fmt;

use super::halves::{RedisPublisher, RedisSubscriber};
use super::master_watch::MasterWatch;
use super::remote::Remote;
#[cfg(feature = "redis-tls")]
use super::tls::RedisTls;
use crate::backplane::contract::Backplane;
use crate::backplane::contract::BackplaneError;
use crate::backplane::contract::Inbound;

/// A backplane over one Redis server, with `PUBLISH` and `SUBSCRIBE`.
///
/// Each node needs two connections. The server must be Redis 6 or later. (Valkey should work, but
/// was not tested.) The user needs the commands `PUBLISH`, `SUBSCRIBE` and `UNSUBSCRIBE`, with
/// Redis 6.0 also `HELLO`, and the channels of the hub.
///
/// The server must be a master, because a replica passes messages only to its own subscribers. The
/// hub checks the role when a half connects, once a second while messages are published, and with
/// each probe. For a replica, the error is [`BackplaneError::Replica`], and the hub tries again
/// until the server is a master. After a demotion, the messages of the last second may be lost;
/// they are counted. A replica in a Redis Cluster is accepted: it passes messages on to all
/// members.
///
/// Redis stores nothing for a subscriber that is not connected: messages that are published
/// meanwhile are lost to that node, and counted. The same holds for messages that a server had not
/// passed on when it failed.
#[derive(Clone)]
pub struct Redis {
    remote: Remote,
}

impl Redis {
    /// The server of a URL: `redis://user:password@host:port`. Only the host is required; the
    /// default port is 6379.
    ///
    /// With the feature `redis-tls`, `rediss://` connects over TLS. By default, the certificates
    /// that the system trusts count; `tls` changes that. `unix:///path` or `redis+unix:///path` is
    /// a Unix socket, for processes of one machine, with `?user=…&pass=…` after the path for
    /// credentials. Special characters of the user and the password must be percent-encoded, for
    /// example `@` as `%40`.
    ///
    /// Does not connect.
    ///
    /// # Errors
    /// [`BackplaneError::Settings`]: the URL cannot be read, needs the feature for TLS, or names a
    /// database other than 0. Channels are the same in all databases, so two applications that
    /// share a server need different channels.
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

/// Shows the address and the user, not the password.
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
