//! Settings of who may connect.

use std::time::Duration;

use super::{BuildError, Builder};
use crate::hub::UpgradeRequest;
use crate::net::Rate;

/// # Who may connect
/// Which pages, how many connections, and how long a handshake may take.
impl<Out: 'static, In: Send + 'static> Builder<Out, In> {
    /// Which pages may connect: a list of origins, exact in scheme, host and port, where upper and lower
    /// case are the same. Pages of other origins get 403. Default: pages of the host and port that the
    /// request itself is for. An empty list leaves the rule as it is.
    ///
    /// | entry | pages |
    /// |---|---|
    /// | `https://example.com`, `http://localhost:8080` | of this origin |
    /// | `https://*.example.com`, with or without a port | of all names below `example.com`: `a.example.com` and `a.b.example.com`, but not `example.com` |
    /// | `null` | without an origin, as in a sandbox. Any site can make such a page: this is almost [`allow_any_origin`](Self::allow_any_origin) |
    /// | `file://` | from files, in browsers that do not send `null` for them |
    ///
    /// Browsers let any page connect to any server, with the cookies of that server (RFC 6455, section
    /// 10.2). This rule keeps strange pages out. Other clients send no `Origin`, or the one they like:
    /// the rule is no authentication. Behind a proxy that changes `Host`, the default refuses all pages.
    ///
    /// # Errors
    /// An entry that no browser sends makes [`build`](Self::build) fail with
    /// [`BuildError::NotAnOrigin`](crate::BuildError::NotAnOrigin), which tells the reason: a path or a user,
    /// `*` in another place, the scheme `wss`, port 0, an IP address in a form that browsers do not write
    /// (`127.1`, `[0:0::1]`), or a name that is not ASCII. Write such a name in punycode (`xn--…`). For other
    /// rules there is [`check_origin`](Self::check_origin).
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

    /// Asks `check` about pages that the rule does not allow: those that are on no list of
    /// [`allow_origins`](Self::allow_origins) or, without a list, those of another host. `check` gets the
    /// origin as the client has sent it, and the request. The page may connect if `check` returns `true`.
    /// Default: no check, and such pages get 403. A second check replaces the first.
    ///
    /// A check adds to the rule and never narrows it: a page that the rule allows connects unasked. It is
    /// not asked about a request without an origin (see [`require_origin`](Self::require_origin)), and not
    /// about one with several, or with one that is not ASCII; these get 403. To refuse more, use
    /// [`on_upgrade`](crate::Handler::on_upgrade).
    ///
    /// The check runs in the task that serves the request, before all limits on connections: it must not
    /// block. If it panics, the client gets 500, counted in
    /// [`handler_panics`](crate::Stats::handler_panics).
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

    /// Lets all pages connect: for hubs that do not trust cookies, or are meant for everybody.
    pub fn allow_any_origin(mut self) -> Self {
        self.origins.rule.allow_any();
        self
    }

    /// Whether a handshake must have an `Origin`, which keeps out what is no browser and does not
    /// pretend to be one. Default: `false`.
    pub fn require_origin(mut self, is_required: bool) -> Self {
        self.origins.rule.is_required = is_required;
        self
    }

    /// How many connections there may be, from the request to the return of `on_disconnect`, at least 1.
    /// Default: 1,048,576. More get 503.
    ///
    /// Each has a descriptor. If you set a number, and the process may open fewer when the hub is built, a
    /// warning of the feature `tracing` says so.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.admission.connections_max = connections;
        self.byte_settings.connections = Some(connections);
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
    /// a proxy, all connections have the proxy's, unless the proxy tells that of the client
    /// ([`docs::mounting`](crate::docs)). A request without a `RemoteAddr` is not limited: `Server`
    /// inserts one for each TCP connection, axum and other servers only if told to. The first such request
    /// is a warning of the feature `tracing`. Offices and mobile networks put thousands behind one address.
    pub fn max_connections_per_addr(mut self, connections: u32) -> Self {
        self.admission.per_addr_max = Some(connections);
        self
    }

    /// How many connections one address may begin in a second on average, and how many at once, at least
    /// 1 each. Default: no limit. More get 429.
    ///
    /// Up to 65,536 addresses without a connection are remembered. For what an address is, and for requests
    /// without one, see [`max_connections_per_addr`](Self::max_connections_per_addr).
    pub fn connection_rate_per_addr(mut self, per_second: u32, burst: u32) -> Self {
        self.admission.addr_rate = Some(Rate { per_second, burst });
        self
    }

    /// How long `on_upgrade` may take, with joining the rooms that it names, and then how long the response may take to leave. Default: 10 s;
    /// 10 ms to 1 day. Past the first the client gets 503, past the second it is closed.
    pub fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.upgrade_timeout = timeout;
        self
    }
}
