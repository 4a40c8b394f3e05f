//! The limits of the server on a request before the request reaches a hub.

use std::time::{Duration, Instant};

use roomcast::{Hub, Server, ServerStats};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use support::{Listening, RawClient, bind, eventually, upgrade_request, within};

/// A server with a hub at `/ws`, and the server's counters.
async fn served(with: impl FnOnce(Server) -> Server) -> (Listening, impl Fn() -> ServerStats) {
    let hub = Hub::<u32>::new();
    let server = bind().await.route("/ws", hub.handle(hub.handlers())).expect("a free path");
    let server = with(server);
    let monitor = server.monitor();
    (Listening::run(server), move || monitor.stats())
}

async fn first_line(server: &Listening, request: &str) -> String {
    let mut client = RawClient::open(server.addr).await;
    client.send(request.as_bytes()).await;
    client.read_head().await.lines().next().unwrap_or_default().to_owned()
}

/// A handshake with a suffix on its path, and extra headers.
fn handshake(query: &str, headers: &str) -> String {
    let request = upgrade_request(&format!("/ws{query}"));
    let (start, end) = request.split_at(request.len() - 2);
    [start, headers, end].concat()
}

#[tokio::test]
async fn silent_and_slow_clients_are_closed_in_time() {
    let (server, stats) = served(|server| server.head_timeout(Duration::from_millis(150))).await;
    let slow = handshake("", "");
    for begun in [0, 1, 40, slow.len() - 1] {
        let mut client = RawClient::open(server.addr).await;
        let began = Instant::now();
        client.send(&slow.as_bytes()[..begun]).await;
        client.ended().await;
        assert!(began.elapsed() >= Duration::from_millis(150), "{begun} bytes");
    }
    assert_eq!((stats().heads_timed_out, stats().accepted), (4, 4));
}

#[tokio::test]
async fn client_that_reads_no_response_is_closed_in_time() {
    let (server, stats) = served(|server| server.write_timeout(Duration::from_millis(150))).await;
    let mut client = TcpStream::connect(server.addr).await.unwrap();
    let requests = b"GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    // The client sends until its unread responses fill the buffers of both sockets.
    let asking = tokio::spawn(async move { while client.write_all(&requests).await.is_ok() {} });
    within("it is closed", asking).await.unwrap();
    eventually("it is counted", || stats().responses_stalled == 1).await;
    assert_eq!((stats().heads_timed_out, stats().accepted), (0, 1));
}

#[tokio::test]
async fn long_uris_get_414_and_uris_at_the_bound_do_not() {
    let (server, stats) = served(|server| server).await;
    let query = |bytes: usize| format!("?{}", "x".repeat(bytes - "/ws?".len()));
    let at_bound = first_line(&server, &handshake(&query(4_096), "")).await;
    assert!(at_bound.starts_with("HTTP/1.1 101 "), "{at_bound}");
    let over = first_line(&server, &handshake(&query(4_097), "")).await;
    assert!(over.starts_with("HTTP/1.1 414 "), "{over}");
    assert_eq!(stats().uris_too_long, 1);
}

#[tokio::test]
async fn many_headers_get_431_and_as_many_as_the_bound_do_not() {
    let (server, stats) = served(|server| server).await;
    // A handshake has five headers.
    let headers = |count: usize| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let at_bound = first_line(&server, &handshake("", &headers(64 - 5))).await;
    assert!(at_bound.starts_with("HTTP/1.1 101 "), "{at_bound}");
    let over = first_line(&server, &handshake("", &headers(65 - 5))).await;
    assert!(over.starts_with("HTTP/1.1 431 "), "{over}");
    eventually("it is counted", || stats().heads_too_large == 1).await;
}

#[tokio::test]
async fn large_heads_get_431_and_heads_below_the_bound_do_not() {
    let (server, stats) = served(|server| server).await;
    let header = |bytes: usize| format!("x-large: {}\r\n", "x".repeat(bytes));
    let below = first_line(&server, &handshake("", &header(15 * 1024))).await;
    assert!(below.starts_with("HTTP/1.1 101 "), "{below}");
    let over = first_line(&server, &handshake("", &header(17 * 1024))).await;
    assert!(over.starts_with("HTTP/1.1 431 "), "{over}");
    eventually("it is counted", || stats().heads_too_large == 1).await;
}

#[tokio::test]
async fn malformed_request_is_counted() {
    let (server, stats) = served(|server| server).await;
    let answer = first_line(&server, "\x16\x03\x01 hello?\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    eventually("it is counted", || stats().malformed == 1).await;
}

#[tokio::test]
async fn connection_past_the_limit_gets_503_before_its_request_and_websockets_do_not_count() {
    let (server, stats) = served(|server| server.max_pending(2)).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(RawClient::connect(server.addr).await);
    }
    let pending = [RawClient::open(server.addr).await, RawClient::open(server.addr).await];
    eventually("both were accepted", || stats().accepted == 6).await;
    let mut refused = RawClient::open(server.addr).await;
    let head = refused.read_head().await;
    assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\nretry-after: "), "{head}");
    refused.ended().await;
    assert_eq!(stats().refused_full, 1);
    drop(pending);
    within("a connection is accepted again", async {
        while !first_line(&server, &handshake("", "")).await.starts_with("HTTP/1.1 101 ") {}
    })
    .await;
}

#[tokio::test]
async fn address_with_too_many_pending_connections_gets_429_and_other_addresses_do_not() {
    let (server, stats) = served(|server| server.max_pending_per_addr(1)).await;
    let _pending = RawClient::open(server.addr).await;
    eventually("it was accepted", || stats().accepted == 1).await;
    let head = RawClient::open(server.addr).await.read_head().await;
    assert!(head.starts_with("HTTP/1.1 429 Too Many Requests\r\nretry-after: "), "{head}");
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.3:0".parse().unwrap()).unwrap();
    RawClient::shake_hands(socket.connect(server.addr).await.unwrap()).await;
    assert_eq!(stats().refused_addrs, 1);
}

#[tokio::test]
async fn bounds_of_a_request_can_be_set_but_a_head_of_8_kib_always_passes() {
    let with = |server: Server| server.max_uri_bytes(32).max_headers(8).max_head_bytes(1);
    let (server, stats) = served(with).await;
    let large = format!("x-large: {}\r\n", "x".repeat(7 * 1024));
    for (query, headers, status) in [
        (format!("?{}", "x".repeat(28)), "x-1: 1\r\nx-2: 1\r\nx-3: 1\r\n", "101"),
        (format!("?{}", "x".repeat(29)), "", "414"),
        (String::new(), "x-1: 1\r\nx-2: 1\r\nx-3: 1\r\nx-4: 1\r\n", "431"),
        (String::new(), &large, "101"),
        (String::new(), &large.repeat(2), "431"),
    ] {
        let line = first_line(&server, &handshake(&query, headers)).await;
        assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{line}");
    }
    eventually("all are counted", || stats().heads_too_large == 2).await;
}
