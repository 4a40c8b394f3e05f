//! Proxies in front of the server: the PROXY protocol, and headers with the addresses of clients.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderName};
use hyper::service::service_fn;
use roomcast::{Hub, IpNet, RemoteAddr, Request, Response, Server, ServerStats};
use tokio::net::TcpSocket;

use support::{
    Listening, RawClient, Recorded, Recorder, TEXT, bind, eventually, frame, upgrade_request,
};

const SHORT: Duration = Duration::from_millis(150);

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks of the proxies in these tests; loopback has other addresses for other clients.
fn proxies() -> [IpNet; 1] {
    ["127.0.0.1/32".parse().expect("a network")]
}

/// A service that answers each client with the client's address.
async fn mirror(request: Request<Incoming>) -> Result<Response, Infallible> {
    let RemoteAddr(addr) = request.extensions().get().expect("the server tells it");
    Ok(Response::new(addr.to_string().into()))
}

/// A server that answers with the address of the client, and has a hub at `/ws`.
async fn served(with: impl FnOnce(Server) -> Server) -> (Listening, impl Fn() -> ServerStats) {
    let server = with(bind().await.fallback(service_fn(mirror)));
    let monitor = server.monitor();
    (Listening::run(server), move || monitor.stats())
}

/// Sends these bytes and a request. Returns the client address from the response.
async fn mirrored(server: &Listening, before: &[u8], headers: &str) -> String {
    let mut client = RawClient::open(server.addr).await;
    ask(&mut client, before, headers).await
}

async fn ask(client: &mut RawClient, before: &[u8], headers: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n");
    client.send(&[before, request.as_bytes()].concat()).await;
    let head = client.read_head().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    String::from_utf8(client.read_to_end().await).expect("an address")
}

/// A client whose address is not in the networks of the proxies.
async fn stranger(server: &Listening) -> RawClient {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.3:0".parse().expect("an address")).expect("loopback has it");
    RawClient::new(socket.connect(server.addr).await.expect("the server listens"))
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

/// The addresses and ports of a client, `192.0.2.n:4242`, and of a server.
fn block(n: u8) -> Vec<u8> {
    [192, 0, 2, n, 10, 0, 0, 1, 0x10, 0x92, 0, 80].to_vec()
}

#[tokio::test]
async fn proxy_protocol_gives_the_address_of_the_client() {
    let (server, stats) = served(|server| server.proxy_protocol(proxies())).await;
    let with_4_kib = [block(7), vec![0x04, 0x10, 0x00], vec![0; 0x1000]].concat();
    for (header, expected) in [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 4242 80\r\n".to_vec(), "192.0.2.7:4242"),
        (b"PROXY TCP6 2001:db8::7 ::1 4242 80\r\n".to_vec(), "[2001:db8::7]:4242"),
        (v2(0x21, 0x11, &block(7)), "192.0.2.7:4242"),
        (v2(0x21, 0x11, &with_4_kib), "192.0.2.7:4242"),
    ] {
        assert_eq!(mirrored(&server, &header, "").await, expected, "{}", header.escape_ascii());
    }
    assert_eq!((stats().proxy_headers_malformed, stats().proxy_headers_timed_out), (0, 0));
}

#[tokio::test]
async fn proxy_header_without_a_client_address_keeps_the_proxys_address() {
    let with = |server: Server| server.proxy_protocol(proxies()).max_pending_per_addr(1);
    let (server, _) = served(with).await;
    for header in [v2(0x20, 0x00, &[]), v2(0x20, 0x11, &block(7)), b"PROXY UNKNOWN\r\n".to_vec()] {
        let mut clients = [RawClient::open(server.addr).await, RawClient::open(server.addr).await];
        for client in &mut clients {
            let own = client.stream.local_addr().expect("it is connected").to_string();
            assert_eq!(ask(client, &header, "").await, own, "{}", header.escape_ascii());
        }
    }
}

#[tokio::test]
async fn header_may_come_in_pieces_and_with_what_follows_it() {
    let hub = Hub::<u32>::new();
    let (recorder, mut events) = Recorder::new();
    let server = bind().await.proxy_protocol(proxies());
    let server = Listening::run(server.route("/ws", hub.handle(recorder)).expect("a free path"));
    for header in [b"PROXY TCP4 192.0.2.7 10.0.0.1 4242 80\r\n".to_vec(), v2(0x21, 0x11, &block(7))]
    {
        let rest = [upgrade_request("/ws").as_bytes(), &frame(TEXT, b"7")].concat();
        let all = [&header[..], &rest].concat();
        for piece_bytes in [1, 5, header.len() - 1, header.len(), header.len() + 1, all.len()] {
            let mut client = RawClient::open(server.addr).await;
            let (first, others) = all.split_at(piece_bytes.max(header.len() / 2));
            for piece in first.chunks(piece_bytes).chain([others]) {
                client.send(piece).await;
            }
            assert!(client.read_head().await.starts_with("HTTP/1.1 101 "));
            let conn = events.open().await;
            assert_eq!(conn.remote_addr(), "192.0.2.7:4242".parse().ok());
            assert_eq!(events.message().await.1, 7);
        }
    }
}

#[tokio::test]
async fn proxy_without_a_proper_header_is_closed_and_counted() {
    let with = |server: Server| server.proxy_protocol(proxies()).head_timeout(SHORT);
    let (server, stats) = served(with).await;
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..],
        b"PROXY TCP4 192.0.2.7\r\n",
        &[b"PROXY ", &[b'x'; 101][..]].concat(),
        &v2(0x21, 0x11, &block(7)[..11]),
        &v2(0x31, 0x11, &block(7)),
    ] {
        let mut client = RawClient::open(server.addr).await;
        client.send(bytes).await;
        assert_eq!(client.read_to_end().await, b"", "{}", bytes.escape_ascii());
    }
    assert_eq!((stats().proxy_headers_malformed, stats().proxy_headers_timed_out), (5, 0));
    let cut_off = [&v2(0x21, 0x11, &[0; 1_000])[..900], b"PROXY TCP4 192", b""].map(<[u8]>::to_vec);
    for bytes in cut_off {
        let mut client = RawClient::open(server.addr).await;
        client.send(&bytes).await;
        assert_eq!(client.read_to_end().await, b"", "{}", bytes.escape_ascii());
    }
    assert_eq!((stats().proxy_headers_malformed, stats().proxy_headers_timed_out), (5, 3));
    assert_eq!(stats().heads_timed_out, 0);
}

#[tokio::test]
async fn untrusted_peer_needs_no_proxy_header_and_gets_400_with_one() {
    let (server, stats) = served(|server| server.proxy_protocol(proxies())).await;
    let mut client = stranger(&server).await;
    let own = client.stream.local_addr().expect("it is connected").to_string();
    assert_eq!(ask(&mut client, b"", "").await, own);
    for header in [b"PROXY TCP4 192.0.2.7 10.0.0.1 4242 80\r\n".to_vec(), v2(0x21, 0x11, &block(7))]
    {
        let mut client = stranger(&server).await;
        client.send(&header).await;
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert!(client.read_head().await.starts_with("HTTP/1.1 400 "));
    }
    eventually("both are counted", || stats().malformed == 2).await;
}

#[tokio::test]
async fn pending_connections_count_for_the_client_and_not_for_the_proxy() {
    let with = |server: Server| server.proxy_protocol(proxies()).max_pending_per_addr(1);
    let (server, stats) = served(with).await;
    let mut pending = RawClient::open(server.addr).await;
    // The response shows that the server has counted the connection.
    pending.send(&v2(0x21, 0x11, &block(7))).await;
    pending.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    pending.read_head().await;
    let mut second = RawClient::open(server.addr).await;
    second.send(&v2(0x21, 0x11, &block(7))).await;
    let head = second.read_head().await;
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    assert_eq!(mirrored(&server, &v2(0x21, 0x11, &block(8)), "").await, "192.0.2.8:4242");
    assert_eq!(stats().refused_addrs, 1);
    drop(pending);
    eventually_answered(&server, &v2(0x21, 0x11, &block(7))).await;
}

/// Waits until the server has noticed that a connection is gone.
async fn eventually_answered(server: &Listening, header: &[u8]) {
    let answered = async {
        loop {
            let mut client = RawClient::open(server.addr).await;
            client.send(header).await;
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
            if client.read_head().await.starts_with("HTTP/1.1 200 ") {
                break;
            }
        }
    };
    support::within("a connection is accepted again", answered).await;
}

#[tokio::test]
async fn forwarded_header_of_a_trusted_proxy_sets_the_address_and_an_untrusted_one_does_not() {
    let with = |server: Server| server.trust_forwarded(FORWARDED_FOR, proxies());
    let (server, stats) = served(with).await;
    for (headers, expected) in [
        ("X-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7:0"),
        ("X-Forwarded-For: 127.0.0.1, 198.51.100.1, 192.0.2.7\r\n", "192.0.2.7:0"),
        (
            "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 192.0.2.7, 127.0.0.1\r\n",
            "192.0.2.7:0",
        ),
        (
            "Forwarded: for=198.51.100.1\r\nX-Forwarded-For: [2001:db8::7]:42\r\n",
            "[2001:db8::7]:42",
        ),
    ] {
        assert_eq!(mirrored(&server, b"", headers).await, expected, "{headers}");
    }
    assert_eq!(stats().clients_unnamed, 0);
    for headers in ["", "Forwarded: for=192.0.2.7\r\n", "X-Forwarded-For: 192.0.2.7, unknown\r\n"] {
        let addr = mirrored(&server, b"", headers).await;
        assert!(addr.starts_with("127.0.0.1:") && !addr.ends_with(":0"), "{headers}: {addr}");
    }
    assert_eq!(stats().clients_unnamed, 3);
    let mut client = stranger(&server).await;
    let own = client.stream.local_addr().expect("it is connected").to_string();
    assert_eq!(ask(&mut client, b"", "X-Forwarded-For: 192.0.2.7\r\n").await, own);
    assert_eq!(stats().clients_unnamed, 3);
}

#[tokio::test]
async fn standard_forwarded_header_is_read_when_it_is_configured() {
    let with = |server: Server| server.trust_forwarded(header::FORWARDED, proxies());
    let (server, _) = served(with).await;
    let headers = "X-Forwarded-For: 198.51.100.1\r\n\
         Forwarded: for=198.51.100.2, For=\"[2001:db8::7]:42\";proto=https\r\n";
    assert_eq!(mirrored(&server, b"", headers).await, "[2001:db8::7]:42");
}

#[tokio::test]
async fn proxies_of_both_kinds_work_in_a_chain() {
    let inner: [IpNet; 1] = ["10.0.0.0/8".parse().expect("a network")];
    let with = |server: Server| {
        server
            .proxy_protocol(proxies())
            .trust_forwarded(FORWARDED_FOR, inner)
            .max_pending_per_addr(1)
    };
    let (server, _) = served(with).await;
    let headers = "X-Forwarded-For: 192.0.2.7\r\n";
    let from = |addr: &str| format!("PROXY TCP4 {addr} 10.0.0.1 4242 80\r\n").into_bytes();
    let mut pending = RawClient::open(server.addr).await;
    pending.send(&from("10.0.0.9")).await;
    pending.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    pending.read_head().await;
    assert_eq!(mirrored(&server, &from("10.0.0.9"), headers).await, "192.0.2.7:0");
    assert_eq!(mirrored(&server, &from("192.0.2.9"), headers).await, "192.0.2.9:4242");
}

#[tokio::test]
async fn limits_of_the_hub_count_the_client_and_not_the_proxy() {
    let hub = Hub::<u32>::builder().max_connections_per_addr(1).build().expect("a hub");
    let server = bind().await.trust_forwarded(FORWARDED_FOR, proxies()).max_pending_per_addr(1);
    let mut recorded = Recorded::serve_on(server, hub);
    let mut open = Vec::new();
    for (client, expected) in [("192.0.2.7", "101"), ("192.0.2.8", "101"), ("192.0.2.7", "429")] {
        let mut raw = RawClient::open(recorded.server.addr).await;
        let request = upgrade_request("/ws");
        let (start, end) = request.split_at(request.len() - 2);
        let header = format!("X-Forwarded-For: 127.0.0.9, {client}\r\n");
        raw.send([start, &header, end].concat().as_bytes()).await;
        let head = raw.read_head().await;
        assert_eq!(head.split(' ').nth(1), Some(expected), "{client}");
        if expected == "101" {
            let addr = recorded.events.open().await.remote_addr().expect("it is known");
            assert_eq!(addr.ip(), client.parse::<IpAddr>().expect("an address"));
        }
        open.push(raw);
    }
    assert_eq!(recorded.hub.stats().refused_addrs, 1);
}
