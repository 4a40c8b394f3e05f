//! What a client is told in the place of what it asked for.

use crate::codec::DecodeError;
use crate::{Close, RawMessage, Response, StatusCode};

/// A client did not become a connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The handshake was refused with this response.
    #[error("handshake refused with {}", .0.status())]
    Refused(Box<Response>),
    /// The server ended the stream without a whole response.
    #[error("no response")]
    NoResponse(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ConnectError {
    /// The response that refused the handshake, with its headers and its body.
    pub fn response(&self) -> Option<&Response> {
        match self {
            Self::Refused(response) => Some(response),
            Self::NoResponse(_) => None,
        }
    }

    /// The status of that response.
    pub fn status(&self) -> Option<StatusCode> {
        self.response().map(Response::status)
    }
}

/// A client got no message, or none that it can read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The connection has ended, with this close frame; with 1006 where it ended without one, as in browsers.
    #[error("connection closed: {0}")]
    Closed(Close),
    /// The codec cannot decode the message, or does not accept its kind.
    #[error("message not decodable: {message:?}")]
    Decode {
        /// The message.
        message: RawMessage,
        /// Why not.
        source: DecodeError,
    },
}

impl RecvError {
    /// The close, if the connection has ended.
    pub fn close(&self) -> Option<&Close> {
        match self {
            Self::Closed(close) => Some(close),
            Self::Decode { .. } => None,
        }
    }
}
