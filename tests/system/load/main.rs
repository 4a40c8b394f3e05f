//! Load on the example `load_server` with thousands of real clients. Ignored by default; run it with
//!
//! ```text
//! cargo build --release -p extra-examples --example load_server
//! cargo test --release -p system-tests --test load -- --ignored --nocapture --test-threads 1
//! ```
//!
//! `ROOMCAST_LOAD_SECONDS` sets how long messages flow (default 60). Server and clients are two processes on
//! loopback; each needs a descriptor for each connection.
#![cfg(target_os = "linux")]

use std::collections::HashMap;
use std::env;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt, future, stream};
use serde::{Deserialize, Serialize};
use support::scene::server::{ANY_RATE, Server};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// The most handshakes at the same time: below the backlog of the listener.
const DIALS: usize = 256;

#[derive(Serialize, Deserialize)]
struct Line {
    text: String,
    user: String,
    seq: u64,
}

fn load_time() -> Duration {
    let seconds = env::var("ROOMCAST_LOAD_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(60))
}

type Client = WebSocketStream<TcpStream>;

async fn connect(addr: SocketAddr, room: &str, receive_buffer: Option<u32>) -> Client {
    let socket = TcpSocket::new_v4().expect("a descriptor is left");
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes).expect("a valid size");
    }
    let stream = socket.connect(addr).await.expect("the server accepts");
    let config = WebSocketConfig::default().read_buffer_size(8 * 1024);
    let url = format!("ws://{addr}/ws/{room}");
    let (client, _) =
        client_async_with_config(url, stream, Some(config)).await.expect("the upgrade succeeds");
    client
}

async fn connect_all(addr: SocketAddr, rooms: impl Iterator<Item = String>) -> Vec<Client> {
    let dials = rooms.map(|room| async move { connect(addr, &room, None).await });
    stream::iter(dials).buffered(DIALS).collect().await
}

/// Runs a member that reads until each of `publishers` has sent its last message. If `user` is set, the member
/// publishes, too, one message at a time. Returns the number of messages that it received.
async fn take_part(
    client: Client,
    publishers: usize,
    publish: Option<(String, Instant)>,
    text_bytes: usize,
) -> u64 {
    let (mut sink, mut stream) = client.split();
    let text = "x".repeat(text_bytes);
    let (user, until) = publish.unzip();
    let mut next = HashMap::<String, u64>::new();
    let (mut ended, mut received) = (0, 0);
    let chat = |seq, is_last: bool| Line {
        text: if is_last { "end".into() } else { text.clone() },
        user: user.clone().expect("publishes"),
        seq,
    };
    if user.is_some() {
        sink.send(encode(&chat(0, false))).await.expect("sent");
    }
    while ended < publishers {
        let message = stream.next().await.expect("not closed").expect("not failed");
        let Message::Text(text) = message else { continue };
        let got: Line = simd_json::from_slice(&mut text.as_bytes().to_vec()).expect("JSON");
        let expected = next.entry(got.user.clone()).or_default();
        assert_eq!(got.seq, *expected, "every message of {}, in order", got.user);
        *expected += 1;
        received += 1;
        let is_end = got.text == "end";
        ended += usize::from(is_end);
        if user.as_ref() == Some(&got.user) && !is_end {
            let is_last = until.is_some_and(|until| Instant::now() >= until);
            sink.send(encode(&chat(got.seq + 1, is_last))).await.expect("sent");
        }
    }
    received
}

fn encode(line: &Line) -> Message {
    Message::text(simd_json::to_string(line).expect("encodable"))
}

async fn run_rooms(rooms: usize, members: usize, publishers: usize) {
    let server = Server::chat(ANY_RATE).await;
    let names = (0..rooms * members).map(|index| format!("room{}", index % rooms));
    let clients = connect_all(server.addr(), names).await;
    server
        .eventually("room0", "all have joined", |stats| {
            stats.members == members && stats.hub.connections == (rooms * members) as u64
        })
        .await;
    let cpu_before = server.cpu();
    let until = Instant::now() + load_time();
    let mut tasks = JoinSet::new();
    for (index, client) in clients.into_iter().enumerate() {
        let seat = index / rooms;
        let publish = (seat < publishers).then(|| (format!("user{seat}"), until));
        tasks.spawn(take_part(client, publishers, publish, 100));
    }
    let received: u64 = tasks.join_all().await.iter().sum();
    let stats =
        server.eventually("room0", "all are gone", |stats| stats.hub.connections == 0).await;
    println!(
        "{rooms} rooms of {members}: {received} messages received in {} writes, {:.2} µs of server \
         CPU each, {} KiB resident",
        stats.hub.writes,
        (server.cpu() - cpu_before).as_secs_f64() * 1e6 / received as f64,
        server.resident()
    );
    assert_eq!(stats.hub.deliveries, received, "the clients received what the hub delivered");
    assert_eq!((stats.hub.evictions(), stats.hub.dropped()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute of load"]
async fn eight_thousand_members_of_one_room_get_every_message_in_order() {
    raise_descriptor_limit();
    run_rooms(1, 8_000, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute of load"]
async fn a_thousand_rooms_of_eight_get_every_message_in_order() {
    raise_descriptor_limit();
    run_rooms(1_000, 8, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "load"]
async fn a_hundred_stalled_readers_are_evicted_and_nine_hundred_miss_nothing() {
    raise_descriptor_limit();
    let server = Server::chat(ANY_RATE).await;
    let readers = connect_all(server.addr(), (0..900).map(|_| "r".to_owned())).await;
    let stalled =
        future::join_all((0..100).map(|_| connect(server.addr(), "r", Some(4_096)))).await;
    server.eventually("r", "all have joined", |stats| stats.members == 1_000).await;

    let until = Instant::now() + load_time();
    let mut tasks = JoinSet::new();
    for (seat, client) in readers.into_iter().enumerate() {
        let publish = (seat < 8).then(|| (format!("user{seat}"), until));
        tasks.spawn(take_part(client, 8, publish, 4_096));
    }
    let received: Vec<u64> = tasks.join_all().await;
    let stats = server.stats("r").await;
    println!("with 100 of 1,000 stalled: {} messages each, {stats:?}", received[0]);
    assert!(received.iter().all(|count| *count == received[0]), "all got the same");
    server
        .eventually("r", "all but the stalled are gone", |stats| stats.hub.connections == 0)
        .await;
    assert_eq!(stats.hub.evictions(), 100);
    assert!(stats.hub.disconnected >= 100);
    drop(stalled);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "sixteen thousand connections"]
async fn an_idle_connection_costs_at_most_a_kibibyte_and_a_quarter() {
    raise_descriptor_limit();
    let server = Server::chat(ANY_RATE).await;
    // One-time allocations, such as the threads' buffers, do not count for the connections.
    drop(connect_all(server.addr(), (0..500).map(|_| "r".to_owned())).await);
    server.eventually("r", "the first are gone", |stats| stats.hub.connections == 0).await;
    let before = server.resident();
    let clients = connect_all(server.addr(), (0..16_000).map(|_| "r".to_owned())).await;
    server.eventually("r", "all have joined", |stats| stats.members == 16_000).await;
    let each = (server.resident() - before) as f64 / 16_000.0;
    println!("an idle connection: {each:.2} KiB resident");
    assert!(each <= 1.25, "{each:.2} KiB");
    drop(clients);
}

fn raise_descriptor_limit() {
    let limit = rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
    assert!(limit >= 17_000, "at most {limit} descriptors: raise the hard limit");
}
