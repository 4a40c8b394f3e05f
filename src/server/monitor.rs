//! What a server counts.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::engine::{add_counters, live_counters, snapshot};

/// The list of the counters of a server, for the macro `$with`.
macro_rules! server_counters {
    ($with:ident! { $($before:tt)* }) => {
        $with! {
            $($before)*

            /// Connections that were accepted.
            accepted,
            /// Times that the system could accept none, as when no descriptor is left.
            accept_failures,
            /// Connections refused because too many were pending: with 503, or with TLS without a word.
            refused_full,
            /// Connections refused because too many of their address were pending: with 429, or with TLS without a
            /// word.
            refused_addrs,
            /// Clients refused because few descriptors were left: with 503, or with TLS without a word.
            refused_descriptors,
            /// Connections of proxies closed because the header of the PROXY protocol took too long.
            proxy_headers_timed_out,
            /// Connections of proxies closed for bytes that are no header of the PROXY protocol.
            proxy_headers_malformed,
            /// Requests that came through trusted proxies and name no client, or one among the trusted networks: health
            /// checks, and proxies that set another header.
            clients_unnamed,
            /// Connections closed because the TLS handshake took too long.
            tls_timed_out,
            /// Connections whose TLS handshake failed: other bytes, nothing in common, or a client that went. Also
            /// whoever only looks whether the port is open, as load balancers do.
            tls_failed,
            /// Connections closed because the head of a request took too long, or because no byte of a first request
            /// came.
            heads_timed_out,
            /// Connections closed because no further request came. That is no fault of the client.
            keep_alives_timed_out,
            /// Requests refused with 431 for the bytes or the number of their headers.
            heads_too_large,
            /// Requests refused with 414.
            uris_too_long,
            /// Connections closed because the client took nothing of a response for the write timeout.
            responses_stalled,
            /// Connections closed for bytes that are no request.
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
        /// A snapshot of the counters of a [`Server`](crate::Server), from [`ServerMonitor::stats`]. They
        /// only grow.
        ServerStats;
    }
}

server_counters! { add_counters! { pub(super) ServerStats::add(Counters); } }

/// Tells the counters of a [`Server`](crate::Server) while it runs. Clones tell of the same server.
#[derive(Debug, Clone, Default)]
pub struct ServerMonitor(pub(super) Arc<Counters>, Option<SocketAddr>);

impl ServerMonitor {
    pub(super) fn new(local_addr: Option<SocketAddr>) -> Self {
        Self(Arc::default(), local_addr)
    }

    /// The address that the server listens on, where the system told it.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.1
    }

    /// The counters now.
    pub fn stats(&self) -> ServerStats {
        let mut stats = ServerStats::default();
        stats.add(&self.0);
        stats
    }
}
