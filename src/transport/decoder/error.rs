//! How a client breaks the protocol.

use std::error::Error;
use std::fmt;

use crate::engine::{Close, CloseCode};

/// The client broke the protocol or the limit of a message; the connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProtocolError {
    /// What the client is told: 1002, 1007 or 1009.
    pub(crate) code: CloseCode,
    /// The rule that was broken, for people to read.
    pub(crate) detail: &'static str,
}

impl ProtocolError {
    /// 1002: the framing is wrong.
    pub(super) const fn framing(detail: &'static str) -> Self {
        Self { code: CloseCode::PROTOCOL, detail }
    }

    /// 1007: what should be text is not UTF-8.
    pub(super) const fn not_utf8(detail: &'static str) -> Self {
        Self { code: CloseCode::INVALID_PAYLOAD, detail }
    }

    /// 1009: the message is over the limit.
    pub(super) const fn too_big() -> Self {
        Self { code: CloseCode::TOO_BIG, detail: "message over the size limit" }
    }

    /// The close frame that tells the client.
    pub(crate) fn close(self) -> Close {
        Close::new(self.code, self.detail)
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (close code {})", self.detail, self.code)
    }
}

impl Error for ProtocolError {}
