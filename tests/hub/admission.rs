//! Admission of clients: allowed origins, connection limits, limits for an address, and the handshake timeout.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roomcast::{BuildError, Conn, Endpoint, Handler, Hub, Reject, Stats, UpgradeRequest};
use tokio::sync::Semaphore;

use support::{Listening, RawClient, Recorded, eventually, serve, upgrade_request, within};

/// The status and the head of the response to a handshake with one extra header.
async fn answer(server: &Listening, header: &str) -> (u16, String) {
    answer_at(server, "/ws", header).await
}

async fn answer_at(server: &Listening, path: &str, header: &str) -> (u16, String) {
    let mut client = RawClient::open(server.addr).await;
    let request = upgrade_request(path);
    let (start, end) = request.split_at(request.len() - 2);
    client.send([start, header, end].concat().as_bytes()).await;
    let head = client.read_head().await.to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), head)
}

async fn status(server: &Listening, header: &str) -> u16 {
    answer(server, header).await.0
}

async fn status_at(server: &Listening, path: &str, header: &str) -> u16 {
    answer_at(server, path, header).await.0
}

/// The seconds in `Retry-After`.
fn retry_after(head: &str) -> u64 {
    let (_, rest) =
        head.split_once("retry-after: ").expect("the response has a retry-after header");
    rest.lines().next().and_then(|seconds| seconds.parse().ok()).expect("a number")
}

#[tokio::test]
async fn pages_of_other_hosts_are_refused_with_403_and_clients_without_an_origin_are_admitted() {
    let hub = Hub::<u32>::new();
    let server = serve(hub.handle(hub.handlers())).await;
    for (origin, expected) in [
        ("", 101),
        ("Origin: http://localhost\r\n", 101),
        ("Origin: https://localhost\r\n", 101),
        ("Origin: http://localhost:8080\r\n", 403),
        ("Origin: https://evil.example\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Origin: http://localhost\r\nOrigin: http://localhost\r\n", 403),
    ] {
        assert_eq!(status(&server, origin).await, expected, "{origin}");
    }
    assert_eq!(hub.stats().refused_origins, 4);
}

#[tokio::test]
async fn list_of_origins_is_exact() {
    let origins = ["https://a.example", "http://b.example:8080"];
    let hub = Hub::<u32>::builder().allow_origins(origins).require_origin(true).build().unwrap();
    let server = serve(hub.handle(hub.handlers())).await;
    for (origin, expected) in [
        ("Origin: https://a.example\r\n", 101),
        ("Origin: http://b.example:8080\r\n", 101),
        ("Origin: http://a.example\r\n", 403),
        ("Origin: https://a.example:8443\r\n", 403),
        ("Origin: http://localhost\r\n", 403),
        ("", 403),
    ] {
        assert_eq!(status(&server, origin).await, expected, "{origin}");
    }
    let any = Hub::<u32>::builder().allow_any_origin().build().unwrap();
    let server = serve(any.handle(any.handlers())).await;
    assert_eq!(status(&server, "Origin: https://evil.example\r\n").await, 101);
}

#[tokio::test]
async fn pattern_admits_pages_of_all_subdomains() {
    let origins = ["https://*.example.com", "http://*.localhost:8080", "null"];
    let hub = Hub::<u32>::builder().allow_origins(origins).build().unwrap();
    let server = serve(hub.handle(hub.handlers())).await;
    for (origin, expected) in [
        ("https://a.example.com", 101),
        ("https://a.b.example.com", 101),
        ("http://a.localhost:8080", 101),
        ("null", 101),
        ("https://example.com", 403),
        ("https://evil-example.com", 403),
        ("https://a.example.com.evil", 403),
        ("https://a.example.com:8443", 403),
        ("http://a.localhost", 403),
        ("file://", 403),
    ] {
        let header = format!("Origin: {origin}\r\n");
        assert_eq!(status(&server, &header).await, expected, "{origin}");
    }
}

#[tokio::test]
async fn origin_check_of_the_application_is_called_for_pages_that_the_rule_refuses() {
    let check = |origin: &str, request: &UpgradeRequest| {
        assert_ne!(origin, "https://panic.example", "a panic that the test wants");
        assert_ne!(origin, "https://listed.example", "a listed origin needs no check");
        request.try_param("room").is_some_and(|room| origin == format!("https://{room}.example"))
    };
    let hub = Hub::<u32>::builder().allow_origins(["https://listed.example"]).check_origin(check);
    let hub = hub.build().unwrap();
    let server = serve(hub.handle(hub.handlers())).await;
    for (path, origin, expected) in [
        ("/ws", "Origin: https://listed.example\r\n", 101),
        ("/ws/lobby", "Origin: https://lobby.example\r\n", 101),
        ("/ws/hall", "Origin: https://lobby.example\r\n", 403),
        ("/ws", "Origin: https://lobby.example\r\n", 403),
        ("/ws", "", 101),
        ("/ws/lobby", "Origin: https://lobby.example\r\nOrigin: https://lobby.example\r\n", 403),
        ("/ws/lobby", "Origin: https://bücher.example\r\n", 403),
        ("/ws", "Origin: https://panic.example\r\n", 500),
    ] {
        assert_eq!(status_at(&server, path, origin).await, expected, "{origin} for {path}");
    }
    assert_eq!((hub.stats().refused_origins, hub.stats().handler_panics), (4, 1));
}

#[tokio::test]
async fn origin_check_of_the_application_extends_the_same_host_rule() {
    let hub = Hub::<u32>::builder().check_origin(|origin, _| origin == "null").build().unwrap();
    let server = serve(hub.handle(hub.handlers())).await;
    for (origin, expected) in [
        ("Origin: http://localhost\r\n", 101),
        ("Origin: null\r\n", 101),
        ("Origin: https://evil.example\r\n", 403),
    ] {
        assert_eq!(status(&server, origin).await, expected, "{origin}");
    }
}

#[tokio::test]
async fn invalid_origin_fails_the_build() {
    let origins = ["https://a.example", "https://127.1", "a.example"];
    let error = Hub::<u32>::builder().allow_origins(origins).build().expect_err("no browser");
    let expected = "no page has the origin \"https://127.1\": browsers write an IPv4 address as four \
                    decimal numbers";
    assert_eq!(error.to_string(), expected, "the first is told");
    assert!(matches!(error, BuildError::NotAnOrigin { .. }));
}

#[tokio::test]
async fn connection_past_the_limit_gets_503_until_one_closes() {
    let hub = Hub::<u32>::builder().max_connections(2).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let (first, _) = server.connect_raw().await;
    let _second = server.connect_raw().await;
    let mut waits = Vec::new();
    for _ in 0..8 {
        let (status, head) = answer(&server.server, "").await;
        assert_eq!(status, 503);
        waits.push(retry_after(&head));
    }
    waits.sort_unstable();
    assert_eq!(waits, [1, 2, 3, 4, 5, 6, 7, 8], "not all at once");
    assert_eq!((hub.stats().refused_full, hub.count()), (8, 2));
    drop(first);
    server.events.ended().await;
    let url = "/ws".to_owned();
    within("a connection is accepted again", async {
        while support::Client::try_connect(server.server.addr, &url).await.is_err() {}
    })
    .await;
}

#[tokio::test]
async fn address_with_too_many_connections_gets_429_and_other_addresses_do_not() {
    let hub = Hub::<u32>::builder().max_connections_per_addr(2).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let first = server.connect_raw().await;
    let _second = server.connect_raw().await;
    let (code, head) = answer(&server.server, "").await;
    assert_eq!(code, 429);
    assert!(retry_after(&head) >= 1);
    assert_eq!(hub.stats().refused_addrs, 1);
    // All of 127.0.0.0/8 is loopback.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    RawClient::shake_hands(socket.connect(server.server.addr).await.unwrap()).await;
    drop(first);
    server.events.ended().await;
    eventually("the end of a connection is counted", || hub.stats().connections <= 2).await;
    within("a connection is accepted again", async {
        while status(&server.server, "").await != 101 {}
    })
    .await;
}

#[tokio::test]
async fn address_that_connects_too_often_gets_429_with_retry_after() {
    let hub = Hub::<u32>::builder().connection_rate_per_addr(1, 3).build().unwrap();
    let server = serve(hub.handle(hub.handlers())).await;
    let began = Instant::now();
    let mut admitted = 0;
    let head = loop {
        match answer(&server, "").await {
            (101, _) => admitted += 1,
            (429, head) => break head,
            other => panic!("{other:?}"),
        }
    };
    assert!((3..=3 + began.elapsed().as_secs() + 1).contains(&admitted), "{admitted}");
    assert_eq!(retry_after(&head), 1);
    assert_eq!(hub.stats().refused_addrs, 1);
}

/// A handler that holds each handshake until the test releases it.
struct Gate(Arc<Semaphore>);

impl Handler<u32> for Gate {
    async fn on_upgrade(&self, _: &mut UpgradeRequest) -> Result<(), Reject> {
        self.0.acquire().await.expect("never closed").forget();
        Ok(())
    }

    async fn on_connect(&self, conn: &Conn<u32>) -> Result<(), roomcast::Close> {
        conn.try_send(&1).expect("open");
        Ok(())
    }
}

fn gate(hub: &Hub<u32>) -> (Endpoint<Gate, u32>, Arc<Semaphore>) {
    let semaphore = Arc::new(Semaphore::new(0));
    (hub.handle(Gate(semaphore.clone())), semaphore)
}

#[tokio::test]
async fn handshake_past_the_limit_gets_503_while_open_connections_do_not_count() {
    let hub = Hub::builder().max_handshakes(1).build().unwrap();
    let (endpoint, semaphore) = gate(&hub);
    let server = serve(endpoint).await;
    semaphore.add_permits(3);
    for _ in 0..3 {
        let mut open = RawClient::connect(server.addr).await;
        open.read_frame().await.expect("the connection is open");
    }
    let mut waiting = RawClient::open(server.addr).await;
    waiting.send(upgrade_request("/ws").as_bytes()).await;
    within("the first handshake is in progress", async {
        while status(&server, "").await != 503 {}
    })
    .await;
    semaphore.add_permits(1);
    assert!(waiting.read_head().await.starts_with("HTTP/1.1 101 "));
    assert!(hub.stats().refused_full >= 1);
}

#[tokio::test]
async fn handshake_with_a_slow_handler_gets_503_in_time() {
    let timeout = Duration::from_millis(100);
    let hub = Hub::builder().upgrade_timeout(timeout).build().unwrap();
    let (endpoint, semaphore) = gate(&hub);
    let server = serve(endpoint).await;
    let (code, head) = answer(&server, "").await;
    assert_eq!(code, 503);
    assert!(retry_after(&head) >= 1);
    let stats: Stats = hub.stats();
    assert_eq!((stats.upgrades_failed, stats.connected), (1, 0));
    semaphore.add_permits(1);
    assert_eq!(status(&server, "").await, 101, "the refused handshake holds no place");
}

#[tokio::test]
async fn kernel_send_buffer_has_the_configured_size() {
    let sent = |bytes: Option<usize>| async move {
        let hub = Hub::<String>::builder().shards(1).send_buffer(1).send_buffer_bytes(1);
        let hub = match bytes {
            Some(bytes) => hub.socket_send_buffer(bytes),
            None => hub,
        };
        let mut server = Recorded::serve(hub.build().unwrap()).await;
        let (_client, conn) = server.connect_tight().await;
        // One message at a time, until the client is evicted, because it does not read.
        let message = "x".repeat(1_000);
        let mut messages = 0;
        while server.hub.stats().evictions() == 0 {
            let _ = conn.try_send(&message);
            // When the shard has answered, it has processed the message.
            conn.rooms().await;
            messages += 1;
        }
        messages
    };
    let (small, system) = (sent(Some(16_384)).await, sent(None).await);
    assert!(small * 2 < system, "{small} KB, and {system} KB by default");
}
