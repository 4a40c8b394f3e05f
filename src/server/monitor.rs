//! The counters of a server.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::engine::{add_counters, live_counters, snapshot};

/// Passes the list of the counters of a server to the macro `$with`.
macro_rules! server_counters {
    ($with:ident! { $($before:tt)* }) => {
        $with! {
            $($before)*

            /// Connections that were accepted.
            accepted,
            /// Times that the system could accept no connection, for example because no descriptor
            /// was left.
            accept_failures,
            /// Connections refused because too many were pending: with 503, or with TLS without an
            /// answer.
            refused_full,
            /// Connections refused because too many of their address were pending: with 429, or
            /// with TLS without an answer.
            refused_addrs,
            /// Clients refused because few descriptors were left: with 503, or with TLS without an
            /// answer.
            refused_descriptors,
            /// Connections of proxies closed because the header of the PROXY protocol took too
            /// long.
            proxy_headers_timed_out,
            /// Connections of proxies closed because their first bytes were not a header of the
            /// PROXY protocol.
            proxy_headers_malformed,
            /// Requests through trusted proxies that named no client, or named an address in the
            /// trusted networks. Health checks do so, and proxies that set another header.
            clients_unnamed,
            /// Connections closed because the TLS handshake took too long.
            tls_timed_out,
            /// Connections whose TLS handshake failed: the bytes were not TLS, the two sides had no
            /// cipher or version in common, or the client had gone. Also clients that only check
            /// whether the port is open, as load balancers do.
            tls_failed,
            /// Connections closed because the head of a request took too long, or because no byte
            /// of a first request arrived.
            heads_timed_out,
            /// Connections closed because no further request arrived. The client is not to blame.
            keep_alives_timed_out,
            /// Requests refused with 431 because of the size of their head or the number of their
            /// headers.
            heads_too_large,
            /// Requests refused with 414 because path and query were too long.
            uris_too_long,
            /// Connections closed because the client took no byte of a response within the write
            /// timeout.
            responses_stalled,
            /// Connections closed because their bytes were not a request.
            malformed,
        }
    };
}

server_counters! {
    live_counters! {
        /// The live counters of a server.
        pub(super) Counters;
    }
}

server_counters! {
    snapshot! {
        /// A snapshot of the counters of a [`Server`](crate::Server), from
        /// [`ServerMonitor::stats`]. Counters only grow.
        ServerStats;
    }
}

server_counters! { add_counters! { pub(super) ServerStats::add(Counters); } }

/// A handle to the counters of a [`Server`](crate::Server), which can be read while the server
/// runs. Clones refer to the same server.
#[derive(Debug, Clone, Default)]
pub struct ServerMonitor(pub(super) Arc<Counters>, Option<SocketAddr>);

impl ServerMonitor {
    pub(super) fn new(local_addr: Option<SocketAddr>) -> Self {
        Self(Arc::default(), local_addr)
    }

    /// Returns the first IP address on which the server listens. `None` if it listens on none, for
    /// example only on a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.1
    }

    /// Returns a snapshot of the counters.
    pub fn stats(&self) -> ServerStats {
        let mut stats = ServerStats::default();
        stats.add(&self.0);
        stats
    }
}
