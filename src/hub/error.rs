//! What can go wrong for a caller.

use crate::backplane::BackplaneError;
use crate::codec::{DecodeError, EncodeError};
use crate::engine::{ActionError, Close, CloseCode, Eviction, JoinError, LeaveError, Overloaded};

/// A message was not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A shard's inbox is full: nobody gets the message. Try again later, or use the call that
    /// waits.
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

/// A message was not sent to a connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is closed, or is closing.
    #[error("connection closed")]
    Closed,
    /// The connection was evicted because its client does not take what is sent to it.
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

/// A hub could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no tokio runtime here for the shards to run on.
    #[error("no tokio runtime: build the hub inside of one")]
    NoRuntime,
    /// An origin was to be allowed that no browser sends. See
    /// [`allow_origins`](super::Builder::allow_origins) for those that browsers send.
    #[error("no page has the origin {origin:?}: {reason}")]
    NotAnOrigin {
        /// The origin.
        origin: String,
        /// Why no page has it.
        reason: &'static str,
    },
    /// The settings of the backplane cannot work.
    #[error(transparent)]
    Backplane(#[from] BackplaneError),
    /// The plain channel can never work.
    #[error("the plain channel {channel:?} cannot work: {reason}")]
    PlainChannel {
        /// Its name.
        channel: String,
        /// Why it cannot work.
        reason: &'static str,
    },
    /// A setting is out of its range.
    #[error("{setting} is {value}, out of {range}")]
    OutOfRange {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        range: &'static str,
    },
}

/// So that `conn.join(room).await?` works in `on_connect`: the client is told 1013 (come back later) where
/// the hub is overloaded, and 1008 otherwise.
impl From<JoinError> for Close {
    fn from(error: JoinError) -> Self {
        let code = match error {
            JoinError::Overloaded | JoinError::NoMoreRooms { .. } => CloseCode::TRY_AGAIN,
            _ => CloseCode::POLICY,
        };
        Self::new(code, error.to_string())
    }
}

/// So that `hub.join(&target, room).await?` works in `on_connect`: the client is told 1013 (come back later)
/// where the hub is overloaded, 1001 where it is closed, and 1008 where the name is too long.
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

/// So that `?` works on publishing calls in callbacks: 1013 (come back later) where a shard is overloaded, 1011
/// where the message cannot be encoded, 1001 where the hub is closed.
impl From<PublishError> for Close {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Overloaded => Self::new(CloseCode::TRY_AGAIN, error.to_string()),
            PublishError::Encode(_) => Self::new(CloseCode::INTERNAL, "internal error"),
            PublishError::Closed => Self::new(CloseCode::GOING_AWAY, error.to_string()),
        }
    }
}

/// So that `?` works on sends in callbacks, as on [publishing calls](PublishError). A connection that has ended
/// stays as it is.
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

/// So that `conn.leave(room).await?` works in callbacks: 1013 (come back later) where a shard is overloaded.
impl From<LeaveError> for Close {
    fn from(error: LeaveError) -> Self {
        Self::new(CloseCode::TRY_AGAIN, error.to_string())
    }
}

/// So that `on_decode_error` can return `Err(error.into())`: the client is told 1007, and not why, for the reason may
/// quote what is none of its business.
impl From<DecodeError> for Close {
    fn from(_: DecodeError) -> Self {
        Self::new(CloseCode::INVALID_PAYLOAD, "message not decodable")
    }
}
