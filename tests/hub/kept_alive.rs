//! HTTP keep-alive: connections that stay open between requests, and the request heads on them.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use roomcast::{Request, Response, Server, ServerStats};
use tokio::io::AsyncWriteExt;

use support::{DEADLINE, Listening, RawClient, bind, eventually};

/// The time after which a connection is closed. Clients that stay must act within this time, even if the machine stalls.
const SHORT: Duration = Duration::from_secs(1);

/// A timeout that is too long for any test to reach.
const LONG: Duration = DEADLINE.saturating_mul(10);

const REQUEST: &[u8] = b"GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn served(with: impl FnOnce(Server) -> Server) -> (Listening, impl Fn() -> ServerStats) {
    let server = with(bind().await);
    let monitor = server.monitor();
    (Listening::run(server), move || monitor.stats())
}

/// The counts of slow heads and of connections that were idle for too long.
fn ends(stats: ServerStats) -> (u64, u64) {
    (stats.heads_timed_out, stats.keep_alives_timed_out)
}

async fn ask(client: &mut RawClient) {
    client.send(REQUEST).await;
    read_answer(client).await;
}

async fn read_answer(client: &mut RawClient) {
    let head = client.read_head().await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    client.skip("not found".len()).await;
}

#[tokio::test]
async fn idle_timeout_differs_from_the_head_timeout() {
    let with = |server: Server| server.head_timeout(SHORT).keep_alive_timeout(LONG);
    let (server, stats) = served(with).await;
    let mut idle = RawClient::open(server.addr).await;
    ask(&mut idle).await;
    // This head began after the other connection became idle, and its timeout is already over.
    RawClient::open(server.addr).await.ended().await;
    eventually("the silent one is counted", || ends(stats()) == (1, 0)).await;
    ask(&mut idle).await;
    assert_eq!(ends(stats()), (1, 0));
}

#[tokio::test]
async fn idle_connection_is_closed_in_time_and_is_not_counted_as_a_slow_head() {
    let with = |server: Server| server.head_timeout(LONG).keep_alive_timeout(SHORT);
    let (server, stats) = served(with).await;
    let mut client = RawClient::open(server.addr).await;
    for _ in 0..3 {
        ask(&mut client).await;
    }
    let idle_since = Instant::now();
    client.ended().await;
    assert!(idle_since.elapsed() >= SHORT - Duration::from_millis(50));
    eventually("it is counted", || ends(stats()) == (0, 1)).await;
}

#[tokio::test]
async fn client_that_stops_in_a_later_head_is_counted_as_slow_and_not_idle() {
    let with = |server: Server| server.head_timeout(SHORT).keep_alive_timeout(LONG);
    let (server, stats) = served(with).await;
    for begun in [1, 20, REQUEST.len() - 1] {
        let mut client = RawClient::open(server.addr).await;
        ask(&mut client).await;
        let began = Instant::now();
        client.send(&REQUEST[..begun]).await;
        client.ended().await;
        assert!(began.elapsed() >= SHORT, "{begun} bytes");
    }
    eventually("all are counted", || ends(stats()) == (3, 0)).await;
}

#[tokio::test]
async fn head_timeout_starts_at_the_first_byte_of_the_head() {
    let with = |server: Server| server.head_timeout(LONG).keep_alive_timeout(SHORT);
    let (server, stats) = served(with).await;
    let mut idle = RawClient::open(server.addr).await;
    let mut slow = RawClient::open(server.addr).await;
    ask(&mut slow).await;
    slow.send(&REQUEST[..1]).await;
    ask(&mut idle).await;
    idle.ended().await;
    slow.send(&REQUEST[1..]).await;
    read_answer(&mut slow).await;
    slow.ended().await;
    eventually("both were idle", || ends(stats()) == (0, 2)).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_and_later_silence_is_classified() {
    for (rest, closed_as) in [(&b""[..], (0, 1)), (&REQUEST[..9], (1, 0))] {
        let with = |server: Server| match closed_as {
            (0, _) => server.head_timeout(LONG).keep_alive_timeout(SHORT),
            _ => server.head_timeout(SHORT).keep_alive_timeout(LONG),
        };
        let (server, stats) = served(with).await;
        let mut client = RawClient::open(server.addr).await;
        client.send(&[REQUEST, REQUEST, REQUEST, rest].concat()).await;
        for _ in 0..3 {
            read_answer(&mut client).await;
        }
        client.ended().await;
        eventually("it is counted", || ends(stats()) == closed_as).await;
    }
}

#[tokio::test]
async fn connection_is_idle_after_a_request_with_a_body() {
    let taker = service_fn(|request: Request<Incoming>| async {
        request.into_body().collect().await.map(|body| Response::new(Full::new(body.to_bytes())))
    });
    let with = |server: Server| server.head_timeout(LONG).keep_alive_timeout(SHORT).fallback(taker);
    let (server, stats) = served(with).await;
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\n";
    for body in [
        "Content-Length: 4\r\n\r\nbody",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ] {
        let mut client = RawClient::open(server.addr).await;
        client.send([head, body].concat().as_bytes()).await;
        client.read_head().await;
        client.skip("body".len()).await;
        client.ended().await;
    }
    eventually("both are counted", || ends(stats()) == (0, 2)).await;
}

#[tokio::test]
async fn connection_without_keep_alive_ends_with_its_response() {
    let (server, stats) = served(|server| server.keep_alive_timeout(Duration::ZERO)).await;
    let mut client = RawClient::open(server.addr).await;
    client.send(REQUEST).await;
    let head = client.read_head().await;
    assert!(head.contains("connection: close"), "{head}");
    client.ended().await;
    assert_eq!(ends(stats()), (0, 0));
}

#[tokio::test]
async fn idle_connections_do_not_block_new_connections() {
    let with = |server: Server| server.max_pending(4).head_timeout(SHORT).keep_alive_timeout(LONG);
    let (server, stats) = served(with).await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        let mut client = RawClient::open(server.addr).await;
        ask(&mut client).await;
        idle.push(client);
    }
    for mut client in idle.drain(2..) {
        client.ended().await;
    }
    for client in &mut idle {
        ask(client).await;
    }
    eventually("two made way", || ends(stats()) == (0, 2)).await;
}

#[tokio::test]
async fn client_that_leaves_between_requests_is_not_counted() {
    let (server, stats) = served(|server| server).await;
    let mut client = RawClient::open(server.addr).await;
    ask(&mut client).await;
    client.stream.shutdown().await.expect("the connection is open");
    client.ended().await;
    assert_eq!(ends(stats()), (0, 0));
}
