//! How connections end: close codes, close frames, and the reason that a handler gets.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::time::Duration;

/// The text before the milliseconds in a reason that asks the client to come back later.
const RETRY_AFTER: &str = "retry-after-ms=";

/// The most bytes of a reason on the wire: a control frame holds 125 (RFC 6455, section 5.5), and
/// the code takes two.
pub(crate) const REASON_BYTES_MAX: usize = 123;

/// A WebSocket close code (RFC 6455, section 7.4; 1012 and 1013 from the IANA registry).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection has been fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server shuts down, or the client has left the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// 1003: the server does not accept this kind of data.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1005: the peer's close frame had no code. Never sent.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection ended without a close frame. Never sent.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: text that is not UTF-8, or a message that cannot be decoded.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: the client broke a policy of the server. Sent to slow clients.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message exceeded the size limit.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011: the server failed.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the server restarts; come back after a random delay.
    pub const RESTART: Self = Self(1012);
    /// 1013: overloaded; come back later.
    pub const TRY_AGAIN: Self = Self(1013);

    /// Whether an endpoint may put this code into a close frame.
    pub fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A close code with a human-readable reason.
///
/// On the wire, the reason is cut at 123 bytes, at a character boundary: a close frame holds no
/// more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Close {
    /// The code.
    pub code: CloseCode,
    /// The reason; often empty.
    pub reason: Cow<'static, str>,
}

impl Close {
    /// A close with this code and reason.
    pub fn new(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// The code and the reason that a client gets: the reason is cut to fit. If the code may not be
    /// sent, both are left out.
    #[cfg(feature = "hub")]
    pub(crate) fn as_sent(&self) -> (CloseCode, &str) {
        if self.code.is_sendable() {
            (self.code, &self.reason[..self.reason.floor_char_boundary(REASON_BYTES_MAX)])
        } else {
            (CloseCode::NO_STATUS, "")
        }
    }

    /// A normal closure, without a reason.
    pub fn normal() -> Self {
        Self::new(CloseCode::NORMAL, "")
    }

    /// The close that a closed hub sends by default.
    pub(crate) fn hub_closed() -> Self {
        Self::new(CloseCode::GOING_AWAY, "hub closed")
    }

    /// Tells the client when to come back: appends `retry-after-ms=` and a number to the reason. If
    /// there is not enough space, the reason before it is cut.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use roomcast::{Close, CloseCode};
    ///
    /// let close = Close::new(CloseCode::RESTART, "new version");
    /// let close = close.with_retry_after(Duration::from_millis(1_500));
    /// assert_eq!(close.reason, "new version retry-after-ms=1500");
    /// assert_eq!(close.retry_after(), Some(Duration::from_millis(1_500)));
    /// ```
    pub fn with_retry_after(self, wait: Duration) -> Self {
        let space = if self.reason.is_empty() { "" } else { " " };
        let hint = format!("{space}{RETRY_AFTER}{}", wait.as_millis());
        let space_left = REASON_BYTES_MAX.saturating_sub(hint.len());
        let reason = &self.reason[..self.reason.floor_char_boundary(space_left)];
        Self::new(self.code, format!("{reason}{hint}"))
    }

    /// When to come back; `None` if the reason does not say.
    pub fn retry_after(&self) -> Option<Duration> {
        let (_, ms) = self.reason.rsplit_once(RETRY_AFTER)?;
        ms.parse().ok().map(Duration::from_millis)
    }
}

/// A close without a reason.
impl From<CloseCode> for Close {
    fn from(code: CloseCode) -> Self {
        Self::new(code, "")
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason.is_empty() {
            write!(f, "{}", self.code)
        } else {
            write!(f, "{} ({})", self.code, self.reason)
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The client sent a close frame.
    ClosedByClient(Close),
    /// The application closed the connection: [`Conn::close`](crate::Conn::close),
    /// [`Hub::close`](crate::Hub::close) on any node, or a rejection in `on_connect`.
    ClosedByServer(Close),
    /// The client was evicted because it did not take what was sent to it. The client gets 1008.
    SlowClient {
        /// The bound that was exceeded.
        cause: Eviction,
        /// The number of queued messages that had not left, including those that found no space.
        messages: usize,
        /// The bytes of these messages that had not left, headers included.
        bytes: usize,
    },
    /// Nothing was received for two ping intervals. The client gets 1001.
    Idle,
    /// The client broke the protocol. It gets this close.
    Protocol(Close),
    /// The client exceeded a limit of the hub. It gets 1008, or 1009 for the size.
    OverLimit(Limit),
    /// A handler panicked. The client gets 1011.
    HandlerPanicked,
    /// The connection broke, or ended without a close frame.
    Io(#[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))] io::ErrorKind),
    /// The hub was closed. The client gets this close, 1001 or 1012.
    HubClosed(Close),
    /// The client was asked to come back elsewhere ([`Hub::shed`](crate::Hub::shed)). It gets this
    /// close, 1001.
    Shed(Close),
    /// The hub had more bytes queued for its clients than it may, so it closed new connections. The
    /// client gets 1013.
    Overloaded,
}

#[cfg(feature = "serde")]
fn as_text<S: serde::Serializer>(kind: &io::ErrorKind, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(kind)
}

/// Why a slow client was evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Eviction {
    /// More bytes waited for the client than
    /// [`send_buffer_bytes`](crate::Builder::send_buffer_bytes).
    Full,
    /// The client took nothing for [`write_timeout`](crate::Builder::write_timeout).
    Stalled,
    /// The hub had more bytes queued than
    /// [`max_queued_bytes`](crate::Builder::max_queued_bytes), and this client had one of the longest queues.
    Memory,
}

impl fmt::Display for Eviction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "its send queue was full",
            Self::Stalled => "it took nothing for the write timeout",
            Self::Memory => "the hub had too many bytes queued",
        })
    }
}

/// How the shard says goodbye to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Farewell {
    /// With a close frame, after what was sent before.
    Close(Close),
    /// With the end of the stream, after what was sent before: the client has ended its own stream.
    EndOfStream,
    /// Not at all: the connection is broken.
    Nothing,
}

/// A limit on what a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Limit {
    /// [`max_message_bytes`](crate::Builder::max_message_bytes).
    MessageBytes,
    /// [`max_fragments`](crate::Builder::max_fragments).
    Fragments,
    /// [`message_timeout`](crate::Builder::message_timeout).
    MessageTime,
    /// [`message_rate`](crate::Builder::message_rate).
    MessageRate,
    /// [`byte_rate`](crate::Builder::byte_rate).
    ByteRate,
}

impl Limit {
    /// The close frame for a client that exceeds the limit.
    pub(crate) fn close(self) -> Close {
        let (code, reason) = match self {
            Self::MessageBytes => (CloseCode::TOO_BIG, "message over the size limit"),
            Self::Fragments => (CloseCode::POLICY, "message in too many fragments"),
            Self::MessageTime => (CloseCode::POLICY, "message took too long"),
            Self::MessageRate => (CloseCode::POLICY, "too many messages"),
            Self::ByteRate => (CloseCode::POLICY, "too many bytes"),
        };
        Close::new(code, reason)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.close().reason)
    }
}

impl DisconnectReason {
    /// Whether the client may still get what was sent to it before.
    pub(super) fn lets_read(&self) -> bool {
        !matches!(self, Self::SlowClient { .. }) && self.farewell() != Farewell::Nothing
    }

    /// The farewell to the client.
    pub(super) fn farewell(&self) -> Farewell {
        Farewell::Close(match self {
            Self::ClosedByClient(close)
            | Self::ClosedByServer(close)
            | Self::Protocol(close)
            | Self::HubClosed(close)
            | Self::Shed(close) => close.clone(),
            Self::OverLimit(limit) => limit.close(),
            Self::SlowClient { .. } => Close::new(CloseCode::POLICY, "slow client"),
            Self::Idle => Close::new(CloseCode::GOING_AWAY, "idle"),
            Self::HandlerPanicked => Close::new(CloseCode::INTERNAL, "internal error"),
            Self::Overloaded => Close::new(CloseCode::TRY_AGAIN, "hub overloaded"),
            Self::Io(io::ErrorKind::UnexpectedEof) => return Farewell::EndOfStream,
            Self::Io(_) => return Farewell::Nothing,
        })
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClosedByClient(close) => write!(f, "closed by the client: {close}"),
            Self::ClosedByServer(close) => write!(f, "closed by the server: {close}"),
            Self::SlowClient { cause, messages, bytes } => {
                write!(f, "slow client: {cause}, with {messages} messages of {bytes} bytes queued")
            }
            Self::Idle => f.write_str("idle: silent for two ping intervals"),
            Self::Protocol(close) => write!(f, "protocol error: {close}"),
            Self::OverLimit(limit) => write!(f, "over a limit: {limit}"),
            Self::HandlerPanicked => f.write_str("a handler panicked"),
            Self::Io(kind) => write!(f, "connection lost: {kind}"),
            Self::HubClosed(close) => write!(f, "the hub was closed: {close}"),
            Self::Shed(close) => write!(f, "asked to come back elsewhere: {close}"),
            Self::Overloaded => f.write_str("the hub was overloaded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::frame;

    #[test]
    fn retry_time_is_complete_however_long_the_reason_is() {
        for length in [0, 1, 50, 100, 101, 123, 500] {
            let close = Close::new(CloseCode::RESTART, "\u{e9}".repeat(length));
            let close = close.with_retry_after(Duration::from_millis(12_345));
            assert_eq!(close.retry_after(), Some(Duration::from_millis(12_345)));
            let frame = frame::close(&close);
            assert!(frame.ends_with(close.reason.as_bytes()), "{length} characters");
        }
    }
}
