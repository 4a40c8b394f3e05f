//! The errors of a hub's calls, and the close codes that they become in callbacks.

use crate::backplane::BackplaneError;
use crate::codec::{DecodeError, EncodeError};
use crate::engine::{ActionError, Close, CloseCode, Eviction, JoinError, LeaveError, Overloaded};
use crate::shards::ThreadError;

/// The error of a publishing call: the message was not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The inbox of a shard is full. No client gets the message. Try again later, or use the call
    /// that waits.
    #[error("shard overloaded")]
    Overloaded,
    /// The message could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The hub is closed.
    #[error("hub closed")]
    Closed,
}

impl From<Overloaded> for PublishError {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded
    }
}

/// The error of a send: the message was not sent to the connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is closed or closing.
    #[error("connection closed")]
    Closed,
    /// The connection was evicted because its client reads too slowly.
    #[error("connection evicted: {0}")]
    SlowClient(Eviction),
    /// The inbox of the connection's shard is full. Try again later, or use the call that waits.
    #[error("shard overloaded")]
    Overloaded,
    /// The message could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl From<Overloaded> for SendError {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded
    }
}

/// The error of [`Builder::build`](super::Builder::build): the hub could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The call was made outside of a tokio runtime, which the shards need.
    #[error("no tokio runtime: build the hub inside of one")]
    NoRuntime,
    /// An entry of [`allow_origins`](super::Builder::allow_origins) is not an origin that a browser
    /// sends.
    #[error("no page has the origin {origin:?}: {reason}")]
    NotAnOrigin {
        /// The entry.
        origin: String,
        /// The reason why no page has this origin.
        reason: &'static str,
    },
    /// The settings of the backplane can never work.
    #[error(transparent)]
    Backplane(#[from] BackplaneError),
    /// The plain channel can never work.
    #[error("the plain channel {channel:?} cannot work: {reason}")]
    PlainChannel {
        /// The name of the channel.
        channel: String,
        /// The reason why the channel cannot work.
        reason: &'static str,
    },
    /// The thread of a shard could not be started ([`shard_threads`](super::Builder::shard_threads)).
    #[error("no thread for shard {shard}: {reason}")]
    ShardThread {
        /// The number of the shard, from 0.
        shard: usize,
        /// The error of the system.
        reason: String,
    },
    /// A setting is out of its range.
    #[error("{setting} is {value}, out of {range}")]
    OutOfRange {
        /// The name of the setting.
        setting: &'static str,
        /// The value of the setting.
        value: String,
        /// The range of values that the setting may have.
        range: &'static str,
    },
}

impl From<ThreadError> for BuildError {
    fn from(ThreadError { shard, error }: ThreadError) -> Self {
        Self::ShardThread { shard, reason: error.to_string() }
    }
}

/// For `conn.join(room).await?` in callbacks. The client gets 1013 (come back later) if a shard is
/// overloaded or the hub has reached its limit of rooms, and 1008 for a name that is too long or
/// too many rooms. A connection that has ended stays as it is.
impl From<JoinError> for Close {
    fn from(error: JoinError) -> Self {
        let code = match error {
            JoinError::Overloaded | JoinError::NoMoreRooms { .. } => CloseCode::TRY_AGAIN,
            _ => CloseCode::POLICY,
        };
        Self::new(code, error.to_string())
    }
}

/// For `hub.join(&target, room).await?` in callbacks. The client gets 1008 if the name is too long,
/// 1001 if the hub is closed, and 1013 (come back later) otherwise.
impl From<ActionError> for Close {
    fn from(error: ActionError) -> Self {
        let code = match error {
            ActionError::NameTooLong { .. } => CloseCode::POLICY,
            ActionError::Closed => CloseCode::GOING_AWAY,
            _ => CloseCode::TRY_AGAIN,
        };
        Self::new(code, error.to_string())
    }
}

/// For `?` on publishing calls in callbacks. The client gets 1013 (come back later) if a shard is
/// overloaded, 1011 if the message cannot be encoded, and 1001 if the hub is closed.
impl From<PublishError> for Close {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Overloaded => Self::new(CloseCode::TRY_AGAIN, error.to_string()),
            PublishError::Encode(_) => Self::new(CloseCode::INTERNAL, "internal error"),
            PublishError::Closed => Self::new(CloseCode::GOING_AWAY, error.to_string()),
        }
    }
}

/// For `?` on sends in callbacks. The client gets 1013 (come back later) if a shard is overloaded,
/// and 1011 if the message cannot be encoded. A connection that has ended stays as it is.
impl From<SendError> for Close {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Overloaded => Self::new(CloseCode::TRY_AGAIN, error.to_string()),
            SendError::Encode(_) => Self::new(CloseCode::INTERNAL, "internal error"),
            SendError::Closed | SendError::SlowClient(_) => {
                Self::new(CloseCode::GOING_AWAY, error.to_string())
            }
        }
    }
}

/// For `conn.leave(room).await?` in callbacks. The client gets 1013 (come back later) if a shard is
/// overloaded.
impl From<LeaveError> for Close {
    fn from(error: LeaveError) -> Self {
        Self::new(CloseCode::TRY_AGAIN, error.to_string())
    }
}

/// For `Err(error.into())` in `on_decode_error`. The client gets 1007 without the reason of the
/// error, because the reason may contain details that are not meant for the client.
impl From<DecodeError> for Close {
    fn from(_: DecodeError) -> Self {
        Self::new(CloseCode::INVALID_PAYLOAD, "message not decodable")
    }
}
