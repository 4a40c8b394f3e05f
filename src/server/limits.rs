//! The limits on requests, and on connections that have not reached a hub.

use std::time::Duration;

use super::Server;
use crate::net::AdmissionLimits;

/// The smallest buffer that hyper accepts.
const HEAD_BYTES_MIN: usize = 8 * 1024;

/// The limits on requests and on pending connections.
pub(super) struct Limits {
    #[cfg(feature = "tls")]
    pub(super) tls_timeout: Duration,
    pub(super) head_timeout: Duration,
    pub(super) keep_alive_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) head_bytes_max: usize,
    pub(super) headers_max: usize,
    pub(super) uri_bytes_max: usize,
    pub(super) pending: AdmissionLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            #[cfg(feature = "tls")]
            tls_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(5),
            keep_alive_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(5),
            head_bytes_max: 16 * 1024,
            headers_max: 64,
            uri_bytes_max: 4 * 1024,
            pending: AdmissionLimits {
                connections_max: 8_192,
                handshakes_max: usize::MAX,
                per_addr_max: None,
                addr_rate: None,
            },
        }
    }
}

/// Limits. They apply to connections that have not become WebSockets.
impl Server {
    /// Sets how long the TLS handshake may take. Default: 5 s. After that the connection is closed.
    #[cfg(feature = "tls")]
    pub fn tls_timeout(mut self, timeout: Duration) -> Self {
        self.limits.tls_timeout = timeout;
        self
    }

    /// Sets how long the head of a request may take to arrive. Default: 5 s. After that the
    /// connection is closed.
    ///
    /// For the first head the time begins with the connection, for each further head with its first
    /// byte. Between two requests [`keep_alive_timeout`](Self::keep_alive_timeout) applies.
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.limits.head_timeout = timeout;
        self
    }

    /// Sets how long a connection may stay idle between two requests. Default: 75 s. After that the
    /// connection is closed. Zero closes each connection after its first response.
    ///
    /// The default is longer than the 60 s of most load balancers. So the balancer closes first,
    /// and sends no request on a connection that the server is about to close. An idle connection
    /// counts in [`max_pending`](Self::max_pending). While more than half of `max_pending` are
    /// taken, a connection that becomes idle is closed after [`head_timeout`](Self::head_timeout),
    /// if that is shorter, and a balancer may see a request fail: keep `max_pending` well above
    /// twice the number of connections that the balancer keeps open.
    pub fn keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.limits.keep_alive_timeout = timeout;
        self
    }

    /// Closes a connection whose client takes no byte of a response for this time. Default: 5 s.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.limits.write_timeout = timeout;
        self
    }

    /// Sets the maximum size of the head of a request, in bytes. Default: 16 KiB; minimum: 8 KiB,
    /// and a smaller value counts as 8 KiB. A larger head gets 431.
    pub fn max_head_bytes(mut self, bytes: usize) -> Self {
        self.limits.head_bytes_max = bytes.max(HEAD_BYTES_MIN);
        self
    }

    /// Sets how many headers a request may have. Default: 64. A request with more gets 431.
    pub fn max_headers(mut self, headers: usize) -> Self {
        self.limits.headers_max = headers;
        self
    }

    /// Sets the maximum length of path and query together, in bytes. Default: 4 KiB. A longer one
    /// gets 414.
    pub fn max_uri_bytes(mut self, bytes: usize) -> Self {
        self.limits.uri_bytes_max = bytes;
        self
    }

    /// Sets how many connections may be pending: those that have not become WebSockets. Default:
    /// 8,192. A further connection gets 503. With TLS the connection is closed without an answer,
    /// because an answer would need a handshake.
    ///
    /// A pending connection takes a descriptor and a few KiB of memory. With TLS it takes 12 KiB,
    /// and up to 80 KiB if a client sends the longest possible handshake.
    pub fn max_pending(mut self, connections: usize) -> Self {
        self.limits.pending.connections_max = connections;
        self
    }

    /// Sets how many pending connections one address may have: an IPv4 address, or an IPv6 /64.
    /// Default: no limit. Zero counts as one. A further connection gets 429, or with TLS is closed.
    ///
    /// Behind a proxy all connections have the proxy's address, unless
    /// [`proxy_protocol`](Self::proxy_protocol) names the client's. Connections of proxies that
    /// [`trust_forwarded`](Self::trust_forwarded) names are not limited here.
    pub fn max_pending_per_addr(mut self, connections: u32) -> Self {
        self.limits.pending.per_addr_max = Some(connections.max(1));
        self
    }
}
