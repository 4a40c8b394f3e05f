//! The error of the decoder: the client has broken the protocol.

use std::error::Error;
use std::fmt;

use crate::engine::{Close, CloseCode, DisconnectReason, Limit};
#[cfg(feature = "deflate")]
use crate::ws::deflate::InflateError;

/// The client has broken the protocol, or exceeded a limit. The connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProtocolError {
    /// A rule of RFC 6455 was broken.
    Breach {
        /// The close code that the client gets: 1002 or 1007.
        code: CloseCode,
        /// The rule that was broken, for people to read.
        detail: &'static str,
    },
    /// A limit of the hub was exceeded.
    Over(Limit),
}

impl ProtocolError {
    /// Close code 1002: the framing is wrong.
    pub(super) const fn framing(detail: &'static str) -> Self {
        Self::Breach { code: CloseCode::PROTOCOL, detail }
    }

    /// Close code 1007: text is not UTF-8, or a compressed message cannot be inflated.
    pub(super) const fn payload(detail: &'static str) -> Self {
        Self::Breach { code: CloseCode::INVALID_PAYLOAD, detail }
    }

    /// Returns the close frame for the client.
    pub(crate) fn close(self) -> Close {
        match self {
            Self::Breach { code, detail } => Close::new(code, detail),
            Self::Over(limit) => limit.close(),
        }
    }
}

/// RFC 7692 leaves the close code open. 1007 says that the payload is not what its type says
/// (RFC 6455, section 7.4.1): the frames are right, and the bytes in them are not.
#[cfg(feature = "deflate")]
impl From<InflateError> for ProtocolError {
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::TooLarge => Self::Over(Limit::MessageBytes),
            InflateError::Malformed => Self::payload("compressed message is not valid deflate"),
            InflateError::CutOff => Self::payload("compressed message is cut off"),
        }
    }
}

impl From<ProtocolError> for DisconnectReason {
    fn from(error: ProtocolError) -> Self {
        match error {
            ProtocolError::Breach { .. } => Self::Protocol(error.close()),
            ProtocolError::Over(limit) => Self::OverLimit(limit),
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Close { code, reason } = self.close();
        write!(f, "{reason} (close code {code})")
    }
}

impl Error for ProtocolError {}
