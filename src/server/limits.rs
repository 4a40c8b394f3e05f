//! What bounds clients that have not come to a hub yet.

use std::time::Duration;

use super::Server;
use crate::net::AdmissionLimits;

/// The least that hyper can do with.
const HEAD_BYTES_MIN: usize = 8 * 1024;

/// Bounds on requests and on connections without an answer.
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

/// Limits. All of them concern connections that have not become WebSockets.
impl Server {
    /// How long the TLS handshake may take. Default: 5 s. Past it the connection is closed.
    #[cfg(feature = "tls")]
    pub fn tls_timeout(mut self, timeout: Duration) -> Self {
        self.limits.tls_timeout = timeout;
        self
    }

    /// How long the head of a request may take to arrive. Default: 5 s. Past it the connection is closed.
    ///
    /// The time begins when the connection does, for its first head, and with the first byte of each further
    /// head. Between two requests [`keep_alive_timeout`](Self::keep_alive_timeout) holds.
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.limits.head_timeout = timeout;
        self
    }

    /// How long a connection may stay idle between two requests. Default: 75 s. Past it the connection is closed.
    /// Zero ends each connection with its first response.
    ///
    /// The default is longer than the 60 s of most load balancers. So the balancer is the side that closes, and
    /// sends no request on a connection that the server is about to close. An idle connection counts in
    /// [`max_pending`](Self::max_pending). While more than half of `max_pending` are taken, a connection that
    /// becomes idle is closed after [`head_timeout`](Self::head_timeout), if that is shorter, and a balancer may
    /// see a request fail: keep `max_pending` well above twice the number of connections that it keeps open.
    pub fn keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.limits.keep_alive_timeout = timeout;
        self
    }

    /// How long a client may take nothing of a response that waits for it. Default: 5 s. Past it the
    /// connection is closed.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.limits.write_timeout = timeout;
        self
    }

    /// The largest head of a request, in bytes; less than 8 KiB counts as 8 KiB. Default: 16 KiB. Larger
    /// ones get 431.
    pub fn max_head_bytes(mut self, bytes: usize) -> Self {
        self.limits.head_bytes_max = bytes.max(HEAD_BYTES_MIN);
        self
    }

    /// How many headers a request may have. Default: 64. More get 431.
    pub fn max_headers(mut self, headers: usize) -> Self {
        self.limits.headers_max = headers;
        self
    }

    /// The longest path and query, in bytes. Default: 4 KiB. Longer ones get 414.
    pub fn max_uri_bytes(mut self, bytes: usize) -> Self {
        self.limits.uri_bytes_max = bytes;
        self
    }

    /// How many connections there may be that have not become WebSockets. Default: 8,192. More get 503, or
    /// with TLS are closed without a word, which would cost a handshake.
    ///
    /// One is a descriptor and a few KiB of memory; with TLS 12 KiB, and up to 80 where a client sends the
    /// longest handshake that there is.
    pub fn max_pending(mut self, connections: usize) -> Self {
        self.limits.pending.connections_max = connections;
        self
    }

    /// How many of them one address may have: an IPv4 address, or an IPv6 /64. Default: no limit. More
    /// get 429, or with TLS are closed. Zero counts as one. Behind a proxy all have the proxy's address, unless
    /// [`proxy_protocol`](Self::proxy_protocol) tells theirs; connections of proxies that
    /// [`trust_forwarded`](Self::trust_forwarded) names are not limited here.
    pub fn max_pending_per_addr(mut self, connections: u32) -> Self {
        self.limits.pending.per_addr_max = Some(connections.max(1));
        self
    }
}
