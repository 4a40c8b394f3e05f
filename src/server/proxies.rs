//! Trusted proxies in front of the server, which name the addresses of clients.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hyper::Request;
use hyper::header::HeaderName;
use ipnet::IpNet;

use super::Server;
use crate::ws::RemoteAddr;

/// Stands for the address of a peer over a Unix socket.
const NO_ADDR: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

/// The proxies that may name the addresses of clients, and the protocol or header in which they do
/// so.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    /// The networks whose connections begin with a header of the PROXY protocol.
    protocol: Vec<IpNet>,
    /// The header that names the client, and the networks whose proxies set it.
    forwarded: Option<(HeaderName, Vec<IpNet>)>,
}

impl Proxies {
    /// Whether a connection from this address begins with a header of the PROXY protocol.
    pub(super) fn announce(&self, addr: SocketAddr) -> bool {
        contain(&self.protocol, addr.ip())
    }

    /// Returns the address for which a connection counts. `None` for a proxy, because many clients
    /// come through it.
    pub(super) fn counted(&self, addr: SocketAddr) -> Option<SocketAddr> {
        (!self.announce(addr) && !self.forward(addr)).then_some(addr)
    }

    /// Returns the client of a request that came from `peer`, and whether a proxy should have named
    /// the client and did not. A peer without an address is a proxy on this machine.
    pub(super) fn client<B>(
        &self,
        request: &Request<B>,
        peer: Option<SocketAddr>,
    ) -> (Option<RemoteAddr>, bool) {
        let Some((name, trusted)) = &self.forwarded else { return (peer.map(RemoteAddr), false) };
        let is_trusted = |addr| addr == NO_ADDR.ip() || contain(trusted, addr);
        let peer = peer.unwrap_or(NO_ADDR);
        let client = RemoteAddr::from_forwarded(peer, request.headers(), name, is_trusted);
        if client.0 == NO_ADDR { (None, true) } else { (Some(client), self.forward(client.0)) }
    }

    fn forward(&self, addr: SocketAddr) -> bool {
        self.forwarded.as_ref().is_some_and(|(_, trusted)| contain(trusted, addr.ip()))
    }
}

/// Whether a network contains the address. An IPv4 address that is mapped to IPv6, as by a
/// dual-stack socket, counts as IPv4.
fn contain(networks: &[IpNet], addr: IpAddr) -> bool {
    let addr = addr.to_canonical();
    networks.iter().any(|network| network.contains(&addr))
}

/// Proxies and load balancers in front of the server. Without these settings each client has the
/// address of the proxy.
impl Server {
    /// Expects the PROXY protocol, version 1 or 2, on connections from these networks. HAProxy
    /// sends it with `send-proxy` or `send-proxy-v2`, nginx with `proxy_protocol on` in a stream,
    /// AWS' Network Load Balancer by a setting of the target group. Default: no networks.
    ///
    /// Each connection from these networks must begin with a header, before TLS. The address in the
    /// header becomes [`RemoteAddr`], and counts in
    /// [`max_pending_per_addr`](Self::max_pending_per_addr) and in the limits of the hub. A proxy
    /// that speaks for itself (`LOCAL`, `UNKNOWN`), as in health checks, keeps its own address, and
    /// limits per address do not apply to it here. A connection from another network counts as a
    /// client's: a PROXY header on it is a malformed request.
    ///
    /// The connection is closed if the header is malformed (`proxy_headers_malformed`), or
    /// incomplete after [`head_timeout`](Self::head_timeout) (`proxy_headers_timed_out`). A second
    /// call replaces the networks of the first.
    ///
    /// **Only the proxy may reach the port from these networks**: any other client there can claim
    /// any address.
    ///
    /// # Examples
    /// ```no_run
    /// use roomcast::Server;
    ///
    /// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = Server::bind("0.0.0.0:8080").await?.proxy_protocol(["10.0.0.0/8".parse()?]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn proxy_protocol(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.proxies.protocol = networks.into_iter().collect();
        self
    }

    /// Takes the addresses of clients from a header that proxies in these networks set. Default: no
    /// networks.
    ///
    /// `header` is [`FORWARDED`](crate::header::FORWARDED), which is parsed as in RFC 7239, or
    /// another header, which is parsed as `X-Forwarded-For` is. Name the header that your proxy
    /// sets: a proxy passes on other headers as the client sent them.
    /// [`RemoteAddr::from_forwarded`] says which address of the header counts. The port is 0 if the
    /// header names no port. If the proxy names no client, the address of the proxy counts
    /// (`clients_unnamed`).
    ///
    /// The address becomes [`RemoteAddr`], and counts in the limits of the hub. It is known too
    /// late for [`max_pending_per_addr`](Self::max_pending_per_addr), which therefore does not
    /// limit these networks. A second call replaces the first. If
    /// [`proxy_protocol`](Self::proxy_protocol) is set too, this header is trusted only if the
    /// address in the PROXY header is in these networks. A peer over a Unix socket counts as a
    /// trusted proxy, whatever the networks are.
    ///
    /// # Examples
    /// ```no_run
    /// use roomcast::Server;
    /// use roomcast::header::HeaderName;
    ///
    /// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    /// let header = HeaderName::from_static("x-forwarded-for");
    /// let proxies = ["10.0.0.0/8".parse()?, "fd00::/8".parse()?];
    /// let server = Server::bind("0.0.0.0:8080").await?.trust_forwarded(header, proxies);
    /// # Ok(())
    /// # }
    /// ```
    pub fn trust_forwarded(
        mut self,
        header: HeaderName,
        networks: impl IntoIterator<Item = IpNet>,
    ) -> Self {
        self.proxies.forwarded = Some((header, networks.into_iter().collect()));
        self
    }
}
