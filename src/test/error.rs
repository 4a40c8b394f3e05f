//! The errors of a client in memory.

use crate::codec::DecodeError;
use crate::{Close, RawMessage, Response, StatusCode};

/// The error of [`TestServer::connect`](super::TestServer::connect): there is no connection.
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

    /// The status of the response that refused the handshake.
    pub fn status(&self) -> Option<StatusCode> {
        self.response().map(Response::status)
    }
}

/// The error of [`TestClient::recv`](super::TestClient::recv): there is no message, or it cannot be
/// decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The connection has ended with this close frame. The code is 1006 if it ended without a close
    /// frame, as in browsers.
    #[error("connection closed: {0}")]
    Closed(Close),
    /// The codec cannot decode the message, or does not accept its kind.
    #[error("message not decodable: {message:?}")]
    Decode {
        /// The message.
        message: RawMessage,
        /// The reason.
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
