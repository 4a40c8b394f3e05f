//! Proxies in front of the server, which tell the addresses of clients.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hyper::Request;
use hyper::header::HeaderName;
use ipnet::IpNet;

use super::Server;
use crate::ws::RemoteAddr;

/// In place of that of a peer over a Unix socket.
const NO_ADDR: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

/// Who is believed about the addresses of clients, and how they tell them.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    /// Whose connections begin with a header of the PROXY protocol.
    protocol: Vec<IpNet>,
    forwarded: Option<(HeaderName, Vec<IpNet>)>,
}

impl Proxies {
    /// Whether a connection from this address begins with a header of the PROXY protocol.
    pub(super) fn announce(&self, addr: SocketAddr) -> bool {
        contain(&self.protocol, addr.ip())
    }

    /// The address that a connection counts for. That of a proxy is none, for many clients come from it.
    pub(super) fn counted(&self, addr: SocketAddr) -> Option<SocketAddr> {
        (!self.announce(addr) && !self.forward(addr)).then_some(addr)
    }

    /// The client of a request that came from `peer`, and whether a proxy should have told it and did not.
    /// Without an address, a peer is a proxy on this machine.
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

/// An IPv4 address is one also where it is mapped to IPv6, as by a socket for both.
fn contain(networks: &[IpNet], addr: IpAddr) -> bool {
    let addr = addr.to_canonical();
    networks.iter().any(|network| network.contains(&addr))
}

/// Proxies and load balancers in front of the server. Without these settings each client has the address of the
/// proxy.
impl Server {
    /// Expects the PROXY protocol, version 1 or 2, from these networks: `send-proxy` and `send-proxy-v2` of
    /// HAProxy, `proxy_protocol on` of nginx' streams, the target groups of AWS' Network Load Balancer. Default:
    /// from none.
    ///
    /// Each connection from these networks must begin with a header, before TLS. The address in the header is
    /// [`RemoteAddr`], and counts in [`max_pending_per_addr`](Self::max_pending_per_addr) and in the limits of the
    /// hub. A proxy that speaks for itself (`LOCAL`, `UNKNOWN`), as in health checks, keeps its own address and is
    /// not limited by address here. A connection from another network is that of a client; a header would be no
    /// proper request.
    ///
    /// A header that is malformed, or not whole after [`head_timeout`](Self::head_timeout), ends the connection
    /// (`proxy_headers_malformed`, `proxy_headers_timed_out`). A second call replaces the networks of the first.
    ///
    /// **Only the proxy may reach the port from these networks**: who else does can claim any address.
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

    /// Takes the addresses of clients from a header that proxies in these networks set. Default: from none.
    ///
    /// `header` is [`FORWARDED`](crate::header::FORWARDED), read as in RFC 7239, or another one, read as
    /// `X-Forwarded-For` is. Name the one that your proxy sets: of the other one, a proxy lets through what the
    /// client sends. [`RemoteAddr::from_forwarded`] says which address counts, and that the port is 0 where the
    /// header tells none. If the proxy names no client, the address of the proxy counts (`clients_unnamed`).
    ///
    /// The address is [`RemoteAddr`], and counts in the limits of the hub. It comes too late for
    /// [`max_pending_per_addr`](Self::max_pending_per_addr), which does not limit these networks. A second call
    /// replaces the first. With [`proxy_protocol`](Self::proxy_protocol) as well, the address in the PROXY header must
    /// be in these networks for this header to be believed. Whoever connects over a Unix socket is a proxy, whatever
    /// the networks.
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
