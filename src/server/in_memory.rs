//! Connections in memory, which come from nowhere else than a test.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{DuplexStream, duplex};

use super::Server;
use super::pending_conn::PendingConn;
use super::shared::ServerShared;
use crate::ws::Opening;

impl Server {
    /// A server that listens on nothing, for a [`TestServer`](crate::test::TestServer).
    ///
    /// If it is [run](Self::run) as it is, it ends at once.
    pub fn in_memory() -> Self {
        Self::of(Vec::new())
    }

    /// Closes what it listens on, and serves streams in memory alone.
    pub(crate) fn into_memory(self) -> InMemory {
        InMemory(self.into_parts().1)
    }
}

/// A server that serves streams in memory. Clones are the same server.
#[derive(Clone)]
pub(crate) struct InMemory(Arc<ServerShared>);

impl InMemory {
    /// A client's end of a stream to this server, whose two directions hold so many bytes each.
    pub(crate) fn connect(
        &self,
        addr: SocketAddr,
        bytes_max: usize,
        opening: Opening,
    ) -> DuplexStream {
        let (client, server) = duplex(bytes_max);
        PendingConn::receive_in_memory(&self.0, server, addr, opening);
        client
    }
}
