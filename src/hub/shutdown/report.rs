//! The result of a shutdown.

use std::fmt;
use std::time::Duration;

/// What a shutdown came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Connections and handshakes under way when the hub began to refuse new ones.
    pub connections: usize,
    /// Those of them that were not over at the deadline; most often because `on_disconnect` had not
    /// returned.
    pub unfinished: usize,
    /// Those of the unfinished that were cut: their clients had not acknowledged all that was sent to
    /// them. Where the system does not tell what a client has acknowledged (it does for TCP on Linux),
    /// those whose socket had not taken all.
    pub cut: usize,
    /// Messages that had been handed to a connection meanwhile, or before, and were lost with it before
    /// they left the hub. What the kernel had taken for a connection that was cut may be lost as well,
    /// and is not among them.
    pub messages_lost: u64,
    /// Messages for other nodes that have not been published.
    pub messages_unsent: usize,
    /// How long it took.
    #[cfg_attr(feature = "serde", serde(rename = "took_seconds", with = "crate::seconds"))]
    pub took: Duration,
}

impl ShutdownReport {
    /// Whether nothing was left and nothing lost.
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
