//! The connection that messages arrive by: its subscriptions, and requests on it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, PushKind, RedisError, ServerError, Value};
use tokio::sync::mpsc;

use super::push_receiver::{ConnectionLoss, PushReceiver, WantedChannels};
use super::remote::{Remote, ServerAnswers};
use super::role;
use crate::backplane::contract::BackplaneError;
use crate::backplane::contract::BackplaneRequest;
use crate::backplane::contract::Inbound;
use crate::backplane::reconnecting::supervise::within;

/// The most channels of one pipeline. More would delay the messages that arrive between the
/// answers.
const PIPELINE_MAX: usize = 512;

/// The kind of commands that subscribe.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mode {
    /// `SUBSCRIBE`, for messages that every node of a cluster passes on to all others.
    Plain,
    /// `SSUBSCRIBE`, for messages that stay with the node that owns the slot of the channel.
    Sharded,
}

impl Mode {
    /// The command that subscribes, and the kind of its answer.
    fn subscribe(self) -> (&'static str, PushKind) {
        match self {
            Self::Plain => ("SUBSCRIBE", PushKind::Subscribe),
            Self::Sharded => ("SSUBSCRIBE", PushKind::SSubscribe),
        }
    }

    /// The command that ends a subscription, and the kind of its answer.
    fn unsubscribe(self) -> (&'static str, PushKind) {
        match self {
            Self::Plain => ("UNSUBSCRIBE", PushKind::Unsubscribe),
            Self::Sharded => ("SUNSUBSCRIBE", PushKind::SUnsubscribe),
        }
    }
}

/// A connection with subscriptions. It is closed when this is dropped.
pub(super) struct MessageConnection {
    /// Identifies the connection in a [`ConnectionLoss`].
    pub(super) number: u64,
    mode: Mode,
    remote: Remote,
    connection: MultiplexedConnection,
    wanted: WantedChannels,
    /// Set by everything that arrives, cleared by a request that waits for its answer.
    has_arrived: Arc<AtomicBool>,
}

impl MessageConnection {
    pub(super) async fn connect(
        remote: Remote,
        mode: Mode,
        number: u64,
        inbound: Inbound,
        losses: mpsc::UnboundedSender<ConnectionLoss>,
    ) -> Result<Self, BackplaneError> {
        let wanted = WantedChannels::default();
        let has_arrived = Arc::new(AtomicBool::new(false));
        let is_reported = AtomicBool::new(false);
        let receiver = PushReceiver {
            number,
            inbound,
            wanted: wanted.clone(),
            losses,
            is_reported,
            has_arrived: has_arrived.clone(),
        };
        let connection =
            remote.connect_with_pushes(move |push| receiver.receive_push(push)).await?;
        Ok(Self { number, mode, remote, connection, wanted, has_arrived })
    }

    /// The server.
    pub(super) fn remote(&self) -> &Remote {
        &self.remote
    }

    /// The channels that the connection is subscribed to, or is about to be.
    pub(super) fn channels(&self) -> Vec<Arc<str>> {
        self.wanted.all()
    }

    /// Removes channels from the wanted ones: the end of their subscriptions is no loss then.
    pub(super) fn forget<'a>(&self, channels: impl IntoIterator<Item = &'a Arc<str>>) {
        self.wanted.remove(channels);
    }

    /// Whether the connection has no subscriptions.
    pub(super) fn is_idle(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Whether the connection is subscribed to a channel, or is about to be.
    pub(super) fn carries(&self, channel: &str) -> bool {
        self.wanted.contains(channel)
    }

    /// Subscribes to the first [`PIPELINE_MAX`] channels at most. Returns the answer for each channel that was sent.
    ///
    /// # Errors
    /// The connection cannot be used any longer.
    pub(super) async fn subscribe(
        &self,
        channels: &[Arc<str>],
    ) -> Result<ServerAnswers, BackplaneError> {
        let channels = &channels[..channels.len().min(PIPELINE_MAX)];
        self.wanted.add(channels);
        let (command, kind) = self.mode.subscribe();
        let answers = self.request(command, &kind, channels).await;
        match &answers {
            Ok(answers) => {
                let failed = channels.iter().zip(answers).filter(|(_, answer)| answer.is_err());
                self.wanted.remove(failed.map(|(channel, _)| channel));
            }
            Err(_) => self.wanted.remove(channels),
        }
        answers
    }

    /// Ends subscriptions.
    ///
    /// # Errors
    /// The connection cannot be used any longer.
    pub(super) async fn unsubscribe(&self, channels: &[Arc<str>]) -> Result<(), BackplaneError> {
        self.wanted.remove(channels);
        let (command, kind) = self.mode.unsubscribe();
        for channels in channels.chunks(PIPELINE_MAX) {
            let answers = self.request(command, &kind, channels).await?;
            if let Some(error) = answers.into_iter().find_map(Result::err) {
                return Err(self.remote.refused(&error));
            }
        }
        Ok(())
    }

    /// Waits for an answer as long as something arrives: on a busy connection, the answer is behind
    /// the messages.
    ///
    /// # Errors
    /// Those of the request, or that nothing has arrived for `deadline`.
    pub(super) async fn unless_silent<V>(
        &self,
        deadline: Duration,
        request: BackplaneRequest,
        answer: impl Future<Output = Result<V, BackplaneError>>,
    ) -> Result<V, BackplaneError> {
        let mut answer = pin!(answer);
        loop {
            self.has_arrived.store(false, Ordering::Relaxed);
            match within(deadline, request, &mut answer).await {
                Err(BackplaneError::Silent { .. }) if self.has_arrived.load(Ordering::Relaxed) => {}
                result => return result,
            }
        }
    }

    /// Makes a round trip. Outside of a cluster, it also checks the role of the server: messages
    /// must reach all nodes. A cluster needs no such check, because a server that no longer is the
    /// master of a channel ends the subscription, and answers `SPUBLISH` with an error.
    ///
    /// # Errors
    /// The connection cannot be used any longer.
    pub(super) async fn probe(&self) -> Result<(), BackplaneError> {
        match self.mode {
            Mode::Plain => role::check(&self.ask(&role::command()).await?, &self.remote),
            Mode::Sharded => match self.ask(&redis::cmd("PING")).await? {
                Value::SimpleString(text) if text == "PONG" => Ok(()),
                Value::ServerError(error) => Err(self.remote.refused(&error)),
                _ => Err(out_of_step("PING")),
            },
        }
    }

    async fn ask(&self, command: &Cmd) -> Result<Value, BackplaneError> {
        let answer = self.connection.clone().send_packed_command(command).await;
        answer.map_err(|error| self.remote.explain(&error))
    }

    /// Sends one command for each channel: a server refuses a command as a whole, and a cluster
    /// refuses one whose channels belong to several slots. Each command has one answer, as the
    /// Redis client expects of a pipeline.
    async fn request(
        &self,
        command: &str,
        kind: &PushKind,
        channels: &[Arc<str>],
    ) -> Result<ServerAnswers, BackplaneError> {
        let mut pipeline = Pipeline::with_capacity(channels.len());
        for channel in channels {
            pipeline.cmd(command).arg(&**channel);
        }
        let mut connection = self.connection.clone();
        let answers = connection.send_packed_commands(&pipeline, 0, channels.len()).await;
        let answers = answers.map_err(|error: RedisError| self.remote.explain(&error))?;
        if answers.len() != channels.len() {
            return Err(out_of_step(command));
        }
        let pairs = answers.into_iter().zip(channels);
        pairs.map(|(answer, channel)| read(answer, command, kind, channel)).collect()
    }
}

/// Reads one answer. If it belongs to another request, the Redis client has taken an unrequested
/// push for an answer.
fn read(
    answer: Value,
    command: &str,
    expected: &PushKind,
    channel: &str,
) -> Result<Result<(), ServerError>, BackplaneError> {
    match answer {
        Value::ServerError(error) => Ok(Err(error)),
        Value::Push { kind, data } if kind == *expected => match data.first() {
            Some(Value::BulkString(name)) if name == channel.as_bytes() => Ok(Ok(())),
            _ => Err(out_of_step(command)),
        },
        _ => Err(out_of_step(command)),
    }
}

fn out_of_step(command: &str) -> BackplaneError {
    BackplaneError::Connection(format!("the answer to {command} belongs to another request"))
}
