//! The two halves of a connection to one master. One server and Sentinel share them.

use std::sync::Arc;
use std::time::Duration;

use redis::ServerError;
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::master_watch::MasterWatch;
use super::message_connection::{MessageConnection, Mode};
use super::push_receiver::ConnectionLoss;
use super::remote::{Remote, ServerAnswers};
use super::{parcels, role};
use crate::backplane::contract::BackplaneError;
use crate::backplane::contract::Inbound;
use crate::backplane::contract::Lost;
use crate::backplane::contract::Parcel;
use crate::backplane::contract::Publisher;
use crate::backplane::contract::Subscriber;
use crate::backplane::contract::Unpublished;

/// How long a check of the server's role is valid. A demoted master acknowledges messages that
/// reach nobody, for this long at most; receivers count them as lost. The check shares the round
/// trip of a publish, and costs some 200 bytes.
const ROLE_HOLDS: Duration = Duration::from_secs(1);

/// The sending half of [`Redis`](super::Redis) and of [`RedisSentinel`](super::RedisSentinel).
pub struct RedisPublisher {
    remote: Remote,
    connection: MultiplexedConnection,
    master: MasterWatch,
    /// When the server last said that it is a master.
    looked_at: Instant,
}

impl RedisPublisher {
    /// Connects to a master.
    ///
    /// # Errors
    /// The connection could not be made, or the server is a replica.
    pub(super) async fn connect(
        remote: Remote,
        mut master: MasterWatch,
    ) -> Result<Self, BackplaneError> {
        let connecting = async {
            let connection = remote.connect().await?;
            let answer = connection.clone().send_packed_command(&role::command()).await;
            role::check(&answer.map_err(|error| remote.explain(&error))?, &remote)?;
            Ok(connection)
        };
        let connection = master.unless_moved(connecting).await?;
        Ok(Self { remote, connection, master, looked_at: Instant::now() })
    }

    /// Sends all parcels, and returns the answer to each.
    ///
    /// # Errors
    /// The connection cannot be used any longer. The answers do not count then, because they may
    /// come from a replica.
    async fn send(&mut self, parcels: &[Parcel]) -> Result<ServerAnswers, BackplaneError> {
        self.master.check()?;
        let looks = self.looked_at.elapsed() >= ROLE_HOLDS;
        let connection = self.connection.clone();
        let sending = parcels::send(connection, "PUBLISH", parcels.iter(), looks);
        let sending = async { sending.await.map_err(|error| self.remote.explain(&error)) };
        let sent = self.master.unless_moved(sending).await?;
        if let Some(answer) = sent.role {
            role::check(&answer, &self.remote)?;
            self.looked_at = Instant::now();
        }
        Ok(sent.answers)
    }
}

impl Publisher for RedisPublisher {
    async fn publish(&mut self, parcels: &mut Vec<Parcel>) -> Result<(), Unpublished> {
        let answers = self.send(parcels).await.map_err(Unpublished::Everything)?;
        let acknowledged: Vec<bool> = answers.iter().map(Result::is_ok).collect();
        parcels::take_acknowledged(parcels, &acknowledged);
        match answers.into_iter().find_map(Result::err) {
            Some(error) => Err(Unpublished::Channels(self.remote.refused(&error))),
            None => Ok(()),
        }
    }
}

/// The receiving half of [`Redis`](super::Redis) and of [`RedisSentinel`](super::RedisSentinel).
pub struct RedisSubscriber {
    connection: MessageConnection,
    losses: mpsc::UnboundedReceiver<ConnectionLoss>,
    master: MasterWatch,
}

impl RedisSubscriber {
    /// Connects to a master.
    ///
    /// # Errors
    /// The connection could not be made, or the server is a replica.
    pub(super) async fn connect(
        remote: Remote,
        mut master: MasterWatch,
        inbound: Inbound,
    ) -> Result<Self, BackplaneError> {
        let (sender, losses) = mpsc::unbounded_channel();
        let connecting = async {
            let connection =
                MessageConnection::connect(remote, Mode::Plain, 0, inbound, sender).await?;
            connection.probe().await?;
            Ok(connection)
        };
        let connection = master.unless_moved(connecting).await?;
        Ok(Self { connection, losses, master })
    }
}

impl Subscriber for RedisSubscriber {
    async fn subscribe(&mut self, channels: &mut Vec<Arc<str>>) -> Result<(), BackplaneError> {
        while !channels.is_empty() {
            let answers = self.connection.subscribe(channels).await?;
            if let Some(error) = take_subscribed(channels, answers) {
                return Err(self.connection.remote().refused(&error));
            }
        }
        Ok(())
    }

    async fn unsubscribe(&mut self, channels: &[Arc<str>]) -> Result<(), BackplaneError> {
        self.connection.unsubscribe(channels).await
    }

    async fn ping(&mut self) -> Result<(), BackplaneError> {
        self.connection.probe().await
    }

    async fn lost(&mut self) -> Lost {
        let closed = || BackplaneError::Connection("the connection has been lost".to_owned());
        tokio::select! {
            biased;
            loss = self.losses.recv() => Lost::Everything(loss.map_or_else(closed, |loss| loss.error)),
            error = self.master.moved() => Lost::Everything(error),
        }
    }
}

/// Removes from the head of the list the channels that were acknowledged, and moves those that were
/// refused to its end. So the refused ones do not delay the others at the next attempt. Returns the
/// first refusal.
fn take_subscribed(channels: &mut Vec<Arc<str>>, answers: ServerAnswers) -> Option<ServerError> {
    let mut refusals = answers.iter().map(Result::is_err);
    channels.retain(|_| refusals.next().unwrap_or(true));
    let refused: Vec<ServerError> = answers.into_iter().filter_map(Result::err).collect();
    channels.rotate_left(refused.len());
    refused.into_iter().next()
}
