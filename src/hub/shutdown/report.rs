//! The result of a shutdown.

use std::fmt;
use std::time::Duration;

/// The result of a shutdown, from [`Hub::shutdown`](crate::Hub::shutdown).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Connections and handshakes under way when the hub began to refuse new ones.
    pub connections: usize,
    /// The part of `connections` that had not ended at the deadline, most often because
    /// `on_disconnect` had not returned.
    pub unfinished: usize,
    /// The part of `unfinished` that was cut, because the client had not acknowledged all bytes
    /// that were sent to it. Linux reports for TCP what a client has acknowledged. Where no such
    /// report exists: because the socket had not taken all bytes.
    pub cut: usize,
    /// Messages that were lost during the shutdown, because their connection ended before they left
    /// the hub. Bytes that the kernel had taken for a connection that was cut may be lost as well,
    /// and do not count.
    pub messages_lost: u64,
    /// Messages for other nodes that were not published.
    pub messages_unsent: usize,
    /// How long the shutdown took.
    #[cfg_attr(feature = "serde", serde(rename = "took_seconds", with = "crate::seconds"))]
    pub took: Duration,
}

impl ShutdownReport {
    /// Whether all connections had ended by the deadline, and no message was lost or left unsent.
    pub fn is_clean(&self) -> bool {
        self.unfinished == 0 && self.messages_lost == 0 && self.messages_unsent == 0
    }

    /// The sum of the reports of two hubs that were shut down together.
    #[cfg(feature = "server")]
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            unfinished: self.unfinished + other.unfinished,
            cut: self.cut + other.cut,
            messages_lost: self.messages_lost + other.messages_lost,
            messages_unsent: self.messages_unsent + other.messages_unsent,
            took: self.took.max(other.took),
        }
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, unfinished, cut, messages_lost, messages_unsent, took } = self;
        write!(
            f,
            "{connections} connections closed in {took:.1?}: {unfinished} not finished, {cut} \
             cut, {messages_lost} messages lost, {messages_unsent} not sent to other nodes"
        )
    }
}
