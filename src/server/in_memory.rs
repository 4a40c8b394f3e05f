//! Connections in memory, for tests.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{DuplexStream, duplex};

use super::Server;
use super::pending_conn::PendingConn;
use super::shared::ServerShared;
use crate::ws::OpenedSignal;

impl Server {
    /// Makes a server without listeners, for a [`TestServer`](crate::test::TestServer).
    ///
    /// [`run`](Self::run) returns at once.
    pub fn in_memory() -> Self {
        Self::of(Vec::new())
    }

    /// Closes the listeners, and serves only streams in memory.
    pub(crate) fn into_memory(self) -> InMemory {
        InMemory(self.into_parts().1)
    }
}

/// A server that serves streams in memory. Clones are the same server.
#[derive(Clone)]
pub(crate) struct InMemory(Arc<ServerShared>);

impl InMemory {
    /// Connects a client, and returns its end of the stream. Each direction buffers at most
    /// `bytes_max` bytes.
    pub(crate) fn connect(
        &self,
        addr: SocketAddr,
        bytes_max: usize,
        opened: OpenedSignal,
    ) -> DuplexStream {
        let (client, server) = duplex(bytes_max);
        PendingConn::receive_in_memory(&self.0, server, addr, opened);
        client
    }
}
