//! The settings for handshakes: origins, numbers of connections, and time.

use std::time::Duration;

use super::{BuildError, Builder};
use crate::hub::UpgradeRequest;
use crate::net::Rate;

/// # Admission
/// Which pages may connect, how many connections there may be, and how long a handshake may take.
impl<Out: 'static, In: Send + 'static> Builder<Out, In> {
    /// Allows pages of these origins to connect. Pages of other origins get 403. Default: the pages
    /// of the host and port to which the request goes.
    ///
    /// Scheme, host and port must match exactly, except for upper and lower case. An empty list
    /// changes nothing.
    ///
    /// | entry | pages |
    /// |---|---|
    /// | `https://example.com`, `http://localhost:8080` | of this origin |
    /// | `https://*.example.com`, with or without a port | of all subdomains of `example.com`: `a.example.com` and `a.b.example.com`, but not `example.com` |
    /// | `null` | without an origin, as in a sandbox. Any site can make such a page: this is almost [`allow_any_origin`](Self::allow_any_origin) |
    /// | `file://` | from files, in browsers that do not send `null` for them |
    ///
    /// Browsers let any page connect to any server, with the cookies of that server (RFC 6455,
    /// section 10.2). This rule keeps foreign pages out. Clients that are not browsers send no
    /// `Origin`, or any they like: the rule is not authentication. Behind a proxy that changes
    /// `Host`, the default refuses all pages.
    ///
    /// # Errors
    /// An entry that no browser sends makes [`build`](Self::build) fail with
    /// [`BuildError::NotAnOrigin`](crate::BuildError::NotAnOrigin) and the reason: a path or a
    /// user, `*` in another place, the scheme `wss`, port 0, an IP address in a form that browsers
    /// do not write (`127.1`, `[0:0::1]`), or a name that is not ASCII. Write such a name in
    /// punycode (`xn--…`). For other rules, use [`check_origin`](Self::check_origin).
    ///
    /// # Examples
    /// ```
    /// use roomcast::Hub;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), roomcast::BuildError> {
    /// let origins = ["https://example.com", "https://*.example.com"];
    /// let hub = Hub::<String>::builder().allow_origins(origins).build()?;
    /// # assert_eq!(hub.count(), 0);
    /// # assert!(Hub::<String>::builder().allow_origins(["https://127.1"]).build().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn allow_origins<O: AsRef<str>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        for origin in origins {
            let origin = origin.as_ref();
            if let Err(reason) = self.origins.rule.allow(origin) {
                let error = || BuildError::NotAnOrigin { origin: origin.to_owned(), reason };
                self.origin_error.get_or_insert_with(error);
            }
        }
        self
    }

    /// Sets a check for pages that are not on the list of [`allow_origins`](Self::allow_origins)
    /// or, without a list, are from another host. Such a page may connect if `check` returns
    /// `true`. Default: no check; such pages get 403. A second check replaces the first.
    ///
    /// `check` gets the origin as the client has sent it, and the request.
    ///
    /// A check can only allow more pages: it is not called for a page that the rule allows. It is
    /// also not called for a request without an origin (see
    /// [`require_origin`](Self::require_origin)). A request with several origins, or with an origin
    /// that is not ASCII, gets 403 without a check. To refuse more requests, use
    /// [`on_upgrade`](crate::Handler::on_upgrade).
    ///
    /// The check runs in the task that serves the request, before all limits on connections: it
    /// must not block. If it panics, the client gets 500, and
    /// [`handler_panics`](crate::Stats::handler_panics) counts it.
    ///
    /// # Examples
    /// ```
    /// use roomcast::Hub;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), roomcast::BuildError> {
    /// // Each tenant has pages at a domain of its own, and a route `/ws/{tenant}`.
    /// let hub = Hub::<String>::builder()
    ///     .check_origin(|origin, request| {
    ///         origin == format!("https://{}.example", request.param("tenant"))
    ///     })
    ///     .build()?;
    /// # assert_eq!(hub.count(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn check_origin(
        mut self,
        check: impl Fn(&str, &UpgradeRequest) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.origins.check = Some(Box::new(check));
        self
    }

    /// Allows all pages to connect. Use it for hubs that do not rely on cookies, or that are
    /// public.
    pub fn allow_any_origin(mut self) -> Self {
        self.origins.rule.allow_any();
        self
    }

    /// Whether a handshake must have an `Origin`. Default: `false`. `true` refuses clients that
    /// send no `Origin`. Browsers always send one.
    pub fn require_origin(mut self, is_required: bool) -> Self {
        self.origins.rule.is_required = is_required;
        self
    }

    /// The largest number of connections. Default: 1,048,576; at least 1. Further requests get 503.
    /// A connection counts from the request to the return of `on_disconnect`. So the number that
    /// counts may be larger than [`Hub::count`](crate::Hub::count).
    ///
    /// Each connection needs a file descriptor. If you set a number that is larger than the process
    /// may open when the hub is built, the hub logs a warning (feature `tracing`).
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.admission.connections_max = connections;
        self.byte_settings.connections = Some(connections);
        self
    }

    /// The largest number of handshakes at the same time. Default: 4,096; at least 1. Further
    /// requests get 503.
    pub fn max_handshakes(mut self, handshakes: usize) -> Self {
        self.admission.handshakes_max = handshakes;
        self
    }

    /// The largest number of connections of one address. Default: no limit; at least 1. Further
    /// requests get 429.
    ///
    /// An address is an IPv4 address or an IPv6 /64, from [`RemoteAddr`](crate::RemoteAddr). Behind
    /// a proxy, all connections have the proxy's address, unless the proxy passes on the address of
    /// the client ([`docs::mounting`](crate::docs)). A request without a `RemoteAddr` is not
    /// limited. `Server` inserts one for each TCP connection; with axum and other servers, you must
    /// set that up. At the first request without one, the hub logs a warning (feature `tracing`).
    /// Thousands of users in offices and mobile networks may share one address.
    pub fn max_connections_per_addr(mut self, connections: u32) -> Self {
        self.admission.per_addr_max = Some(connections);
        self
    }

    /// How many connections one address may open: `per_second` on average, and `burst` at once.
    /// Default: no limit; at least 1 each. Further requests get 429.
    ///
    /// The hub remembers up to 65,536 addresses without a connection. For the meaning of an
    /// address, and for requests without one, see
    /// [`max_connections_per_addr`](Self::max_connections_per_addr).
    pub fn connection_rate_per_addr(mut self, per_second: u32, burst: u32) -> Self {
        self.admission.addr_rate = Some(Rate { per_second, burst });
        self
    }

    /// How long a handshake may take in each of two parts. Default: 10 s; 10 ms to 1 day.
    ///
    /// The first part is `on_upgrade`, with the joins of the rooms that it names. If it takes
    /// longer, the client gets 503. In the second part, the response leaves and the hub gets the
    /// stream. If this takes longer, the connection is closed.
    pub fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.upgrade_timeout = timeout;
        self
    }
}
