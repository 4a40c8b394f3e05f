//! The address of a Redis server.

use std::fmt;
use std::sync::Arc;

/// The address of a server. A Unix socket has its path as the host, and port zero.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct ServerAddr {
    pub(super) host: Arc<str>,
    pub(super) port: u16,
}

impl fmt::Display for ServerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            0 => f.write_str(&self.host),
            port => write!(f, "{}:{port}", self.host),
        }
    }
}

impl fmt::Debug for ServerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
