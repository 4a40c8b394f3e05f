//! Servers that may not use io_uring, from the start or from some moment on. Nothing else changes.

use std::process::Command;

use io_uring::IoUring;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::obedient::{self, FORBID_RINGS, provoke};
use support::programs::example;
use support::scene::crowd::Crowd;
use support::scene::server::{ANY_RATE, DEADLINE, Server};
use support::scene::wire::{enter, read_to_close};

/// The members of the room, so many that a fan-out writes to several of a shard at once.
const MEMBERS: usize = 50;

const TEXT_BYTES: usize = 16_384;

/// The shards of the server, and its rings.
const SHARDS: u64 = 2;

/// Starts a load server through a command that runs its arguments, such as `env`.
async fn start(command: &mut Command) -> Server {
    command.arg(example("load_server")).args(["--listen", "127.0.0.1:0", "--shards", "2"]);
    Server::start(command.args(["--socket-send-buffer", "16384"]).args(ANY_RATE)).await
}

/// Whether this process may use io_uring. Says so if not.
fn may_use_rings() -> bool {
    IoUring::new(1).inspect_err(|error| eprintln!("left out: no io_uring here: {error}")).is_ok()
}

/// All members get all messages, and a client that does not read is evicted.
async fn serve_as_usual(server: &Server) {
    let mut crowd = Crowd::gather(server, "crowd", MEMBERS, TEXT_BYTES).await;
    crowd.publish_in_turn(20).await;
    let mut stalled = enter(server.addr(), "crowd", Some(65_536)).await;
    let evicting = async {
        while server.stats("crowd").await.hub.evictions() == 0 {
            crowd.publish_in_turn(1).await;
        }
    };
    timeout(DEADLINE, evicting).await.expect("the client is evicted in time");
    let code = timeout(DEADLINE, read_to_close(&mut stalled)).await.expect("in time");
    assert_eq!(code, Some(1_008));
    crowd.leave().await;
}

/// The number of rings in the metrics.
async fn rings_of_metrics(server: &Server) -> f64 {
    let mut stream = TcpStream::connect(server.addr()).await.expect("the server accepts");
    let request = b"GET /metrics HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("an answer");
    let line = response.lines().find(|line| line.starts_with("roomcast_rings"));
    let value = line.and_then(|line| line.split_whitespace().last());
    value.unwrap_or_else(|| panic!("no number of rings: {response}")).parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_may_not_use_io_uring_serves_and_evicts_as_usual() {
    let server = start(&mut Command::new(example("without_io_uring"))).await;
    serve_as_usual(&server).await;
    assert_eq!(rings_of_metrics(&server).await, 0.0);
    let hub = server.nothing_is_left().await.hub;
    assert_eq!((hub.rings, hub.batched_writes, hub.evictions()), (0, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_may_use_io_uring_uses_a_ring_for_each_shard() {
    if !may_use_rings() {
        return;
    }
    let server = start(&mut Command::new("env")).await;
    serve_as_usual(&server).await;
    assert_eq!(rings_of_metrics(&server).await, SHARDS as f64);
    let hub = server.nothing_is_left().await.hub;
    assert_eq!((hub.rings, hub.evictions()), (SHARDS, 1));
    assert!(hub.batched_writes > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_loses_io_uring_while_it_serves_loses_no_message() {
    if !may_use_rings() {
        return;
    }
    let server = obedient::start().await;
    let mut crowd = Crowd::gather(&server, "crowd", MEMBERS, TEXT_BYTES).await;
    crowd.publish_in_turn(20).await;
    let hub = server.stats("").await.hub;
    assert_eq!(hub.rings, SHARDS);
    assert!(hub.batched_writes > 0);
    let _culprit = provoke(&server, FORBID_RINGS).await;
    let losing = async {
        while server.stats("").await.hub.rings > 0 {
            crowd.publish_in_turn(1).await;
        }
    };
    timeout(DEADLINE, losing).await.expect("each shard notices in time");
    let before = server.stats("").await.hub.batched_writes;
    crowd.publish_in_turn(20).await;
    assert_eq!(server.stats("").await.hub.batched_writes, before);
    // Checks that each member has got each message once.
    crowd.leave().await;
}
