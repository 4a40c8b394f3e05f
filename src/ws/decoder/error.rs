//! How a client breaks the protocol.

use std::error::Error;
use std::fmt;

use crate::engine::{Close, CloseCode, DisconnectReason, Limit};

/// The client broke the protocol or a limit of messages; the connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProtocolError {
    /// The rules of RFC 6455.
    Breach {
        /// What the client is told: 1002 or 1007.
        code: CloseCode,
        /// The rule that was broken, for people to read.
        detail: &'static str,
    },
    /// A rule of ours.
    Over(Limit),
}

impl ProtocolError {
    /// 1002: the framing is wrong.
    pub(super) const fn framing(detail: &'static str) -> Self {
        Self::Breach { code: CloseCode::PROTOCOL, detail }
    }

    /// 1007: what should be text is not UTF-8.
    pub(super) const fn not_utf8(detail: &'static str) -> Self {
        Self::Breach { code: CloseCode::INVALID_PAYLOAD, detail }
    }

    /// The close frame that tells the client.
    pub(crate) fn close(self) -> Close {
        match self {
            Self::Breach { code, detail } => Close::new(code, detail),
            Self::Over(limit) => limit.close(),
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
