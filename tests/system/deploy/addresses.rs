//! Limits per address count the address of the client, not that of the balancer.

use std::net::{IpAddr, SocketAddr};

use roomcast::header::HeaderName;
use roomcast::{Hub, IpNet, Server};
use tokio::net::TcpSocket;

use crate::introducer::{Introducer, Way};
use support::{RawClient, Recorded, TEXT, bind, eventually, frame, upgrade_request};

/// Makes the server trust the balancer's way to report the client's address.
fn behind(way: Way, server: Server) -> Server {
    let balancer: [IpNet; 1] = ["127.0.0.1/32".parse().expect("a network")];
    match way {
        Way::ProxyV1 | Way::ProxyV2 => server.proxy_protocol(balancer),
        _ => server.trust_forwarded(HeaderName::from_static("x-forwarded-for"), balancer),
    }
}

/// Requests an upgrade from this address, with a header that claims another address. Returns the status, too.
async fn knock(addr: IpAddr, balancer: SocketAddr) -> (RawClient, String) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(addr, 0)).expect("loopback has it");
    let mut client = RawClient::new(socket.connect(balancer).await.expect("the server listens"));
    let request = upgrade_request("/ws");
    let (start, end) = request.split_at(request.len() - 2);
    client.send([start, "X-Forwarded-For: 192.0.2.66\r\n", end].concat().as_bytes()).await;
    let head = client.read_head().await;
    let status = head.split(' ').nth(1).expect("a status").to_owned();
    (client, status)
}

/// Connects three clients through a balancer; two of the clients have the same address.
async fn limits_count_clients_behind(way: Way) {
    let hub = Hub::<u32>::builder().max_connections_per_addr(1).build().expect("a hub");
    let server = behind(way, bind().await).max_pending_per_addr(1);
    let monitor = server.monitor();
    let mut recorded = Recorded::serve_on(server, hub);
    let balancer = Introducer::start(way, recorded.server.addr).await;
    let mut open = Vec::new();
    for (n, expected) in [(3, "101"), (4, "101"), (3, "429")] {
        let addr = IpAddr::from([127, 0, 0, n]);
        let (mut client, status) = knock(addr, balancer.addr).await;
        assert_eq!(status, expected, "{way:?}: {addr}");
        if status == "101" {
            let conn = recorded.events.open().await;
            assert_eq!(conn.remote_addr().map(|addr| addr.ip()), Some(addr), "{way:?}");
            client.send(&frame(TEXT, b"7")).await;
            assert_eq!(recorded.events.message().await.1, 7);
        }
        open.push(client);
    }
    assert_eq!(recorded.hub.stats().refused_addrs, 1);
    if matches!(way, Way::ProxyV1 | Way::ProxyV2) {
        // The balancer sends health checks all the time.
        let before = monitor.stats().accepted;
        eventually("health checks", || monitor.stats().accepted > before + 2).await;
    }
    let stats = monitor.stats();
    let faults = [stats.proxy_headers_malformed, stats.proxy_headers_timed_out, stats.malformed];
    assert_eq!((faults, stats.refused_addrs), ([0; 3], 0), "{way:?}");
}

#[tokio::test]
async fn limits_count_clients_behind_haproxy_with_send_proxy() {
    limits_count_clients_behind(Way::ProxyV1).await;
}

#[tokio::test]
async fn limits_count_clients_behind_haproxy_with_send_proxy_v2() {
    limits_count_clients_behind(Way::ProxyV2).await;
}

#[tokio::test]
async fn limits_count_clients_behind_haproxy_that_sets_a_header() {
    limits_count_clients_behind(Way::HaproxyForwardedFor).await;
}

#[tokio::test]
async fn limits_count_clients_behind_nginx_that_sets_a_header() {
    limits_count_clients_behind(Way::NginxForwardedFor).await;
}
