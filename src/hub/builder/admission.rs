//! Settings of who may connect.

use std::time::Duration;

use super::Builder;
use crate::codec::Codec;
use crate::engine::Rate;

impl<T: Send + 'static, C: Codec<T>> Builder<T, C> {
    /// Which pages may connect: a list of origins such as `https://example.com` or
    /// `http://localhost:8080`, exact in scheme, host and port. Others get 403. Default: pages of the
    /// host and port that the request itself is for.
    ///
    /// Browsers let any page connect to any server, with the cookies of that server (RFC 6455, section
    /// 10.2); this is what keeps strange pages out. Other clients send no `Origin`, or the one they like:
    /// it is no authentication. Behind a proxy that changes `Host`, the default refuses all pages. An
    /// empty list leaves the rule as it is.
    ///
    /// # Errors
    /// What is no origin makes [`build`](Self::build) fail with
    /// [`BuildError::NotAnOrigin`](crate::BuildError::NotAnOrigin).
    ///
    /// # Examples
    /// ```
    /// use roomcast::Hub;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), roomcast::BuildError> {
    /// let hub = Hub::<String>::builder().allow_origins(["https://example.com"]).build()?;
    /// # assert_eq!(hub.count(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn allow_origins<O: AsRef<str>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        for origin in origins {
            let origin = origin.as_ref();
            if self.origins.allow(origin).is_err() {
                self.not_an_origin.get_or_insert_with(|| origin.to_owned());
            }
        }
        self
    }

    /// Lets all pages connect: for hubs that do not trust cookies, or are meant for everybody.
    pub fn allow_any_origin(mut self) -> Self {
        self.origins.allow_any();
        self
    }

    /// Whether a handshake must have an `Origin`, which keeps out what is no browser and does not
    /// pretend to be one. Default: `false`.
    pub fn require_origin(mut self, is_required: bool) -> Self {
        self.origins.is_required = is_required;
        self
    }

    /// How many connections there may be, from the request to the return of `on_disconnect`, at least 1.
    /// Default: 1,048,576. More get 503.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.admission.connections_max = connections;
        self
    }

    /// How many handshakes may be under way, at least 1. Default: 4,096. More get 503.
    pub fn max_handshakes(mut self, handshakes: usize) -> Self {
        self.admission.handshakes_max = handshakes;
        self
    }

    /// How many connections one address may have, at least 1. Default: no limit. More get 429.
    ///
    /// An address is an IPv4 address or an IPv6 /64. It is that of [`RemoteAddr`](crate::RemoteAddr): behind
    /// a proxy, all connections have the proxy's, unless the proxy tells the client's, see
    /// [`mounting`](crate::docs::mounting). Where there is none,
    /// nothing is limited. Offices and mobile networks put thousands behind one.
    pub fn max_connections_per_addr(mut self, connections: u32) -> Self {
        self.admission.per_addr_max = Some(connections);
        self
    }

    /// How many connections one address may begin in a second on average, and how many at once, at least
    /// 1 each. Default: no limit. More get 429.
    ///
    /// Up to 65,536 addresses without a connection are remembered.
    pub fn connection_rate_per_addr(mut self, per_second: u32, burst: u32) -> Self {
        self.admission.addr_rate = Some(Rate { per_second, burst });
        self
    }

    /// How long `on_upgrade` may take, and then how long the response may take to leave. Default: 10 s;
    /// 10 ms to 1 day. Past the first the client gets 503, past the second it is closed.
    pub fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.upgrade_timeout = timeout;
        self
    }
}
