//! The backplane over one Redis server.

use std::fmt;
use std::sync::Arc;

use redis::ServerError;
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;

use super::link::{Link, Mode};
use super::listener::Loss;
use super::parcels;
use super::remote::{Answers, Remote};
use crate::backplane::{
    Backplane, BackplaneError, Inbound, Lost, Parcel, Publisher, Subscriber, Unpublished,
};

/// The backplane over one Redis server, by `PUBLISH` and `SUBSCRIBE`.
///
/// It takes Redis 6 or later, or Valkey, and two connections a node. The user needs the commands
/// `PUBLISH`, `SUBSCRIBE`, `UNSUBSCRIBE` and `PING`, and the channels of the hub.
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
        let connection = self.remote.connect().await?;
        Ok(RedisPublisher { remote: self.remote.clone(), connection })
    }

    async fn connect_subscriber(
        &self,
        inbound: Inbound,
    ) -> Result<RedisSubscriber, BackplaneError> {
        let (sender, losses) = mpsc::unbounded_channel();
        let link = Link::connect(self.remote.clone(), Mode::Plain, 0, inbound, sender).await?;
        Ok(RedisSubscriber { link, losses })
    }
}

/// The sending half of [`Redis`].
pub struct RedisPublisher {
    remote: Remote,
    connection: MultiplexedConnection,
}

impl Publisher for RedisPublisher {
    async fn publish(&mut self, parcels: &mut Vec<Parcel>) -> Result<(), Unpublished> {
        let answers = parcels::send(self.connection.clone(), "PUBLISH", parcels.iter()).await;
        let answers =
            answers.map_err(|error| Unpublished::Everything(self.remote.explain(&error)))?;
        let acknowledged: Vec<bool> = answers.iter().map(Result::is_ok).collect();
        parcels::take_acknowledged(parcels, &acknowledged);
        match answers.into_iter().find_map(Result::err) {
            Some(error) => Err(Unpublished::Channels(self.remote.refused(&error))),
            None => Ok(()),
        }
    }
}

/// The receiving half of [`Redis`].
pub struct RedisSubscriber {
    link: Link,
    losses: mpsc::UnboundedReceiver<Loss>,
}

impl Subscriber for RedisSubscriber {
    async fn subscribe(&mut self, channels: &mut Vec<Arc<str>>) -> Result<(), BackplaneError> {
        while !channels.is_empty() {
            let answers = self.link.subscribe(channels).await?;
            if let Some(error) = take_subscribed(channels, answers) {
                return Err(self.link.remote().refused(&error));
            }
        }
        Ok(())
    }

    async fn unsubscribe(&mut self, channels: &[Arc<str>]) -> Result<(), BackplaneError> {
        self.link.unsubscribe(channels).await
    }

    async fn ping(&mut self) -> Result<(), BackplaneError> {
        self.link.ping().await
    }

    async fn lost(&mut self) -> Lost {
        let closed = || BackplaneError::Connection("the connection has been lost".to_owned());
        Lost::Everything(self.losses.recv().await.map_or_else(closed, |(_, error)| error))
    }
}

/// Takes out of the list the channels at its head that were acknowledged, and moves to its end those
/// that were refused, so that they hold up no others when all are asked for again.
fn take_subscribed(channels: &mut Vec<Arc<str>>, answers: Answers) -> Option<ServerError> {
    let mut refusals = answers.iter().map(Result::is_err);
    channels.retain(|_| refusals.next().unwrap_or(true));
    let refused: Vec<ServerError> = answers.into_iter().filter_map(Result::err).collect();
    channels.rotate_left(refused.len());
    refused.into_iter().next()
}
