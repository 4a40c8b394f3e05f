//! Clients that vanish in the middle of a handshake, a frame or a delivery, and clients that move between rooms.

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::raise_descriptor_limit;
use support::programs::example;
use support::scene::crowd::{Crowd, Movers};
use support::scene::server::{ANY_RATE, Server};
use support::scene::wire::{TEXT, dial, enter, frame, upgrade_request};

/// The moment at which clients vanish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Handshake,
    Frame,
    /// While messages wait for the client.
    Receiving,
}

/// The way in which clients vanish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Reset,
    /// The client ends its half of the stream, and waits for the server's end.
    HalfClose,
    /// The client never sends anything again.
    Silence,
}

const MOMENTS: [Moment; 3] = [Moment::Receiving, Moment::Frame, Moment::Handshake];
const WAYS: [Way; 3] = [Way::Reset, Way::HalfClose, Way::Silence];

/// The most handshakes at the same time: below the backlog of the listener.
const DIALS: usize = 256;

/// The size of a text: a few of them block the socket of a client that does not read.
const TEXT_BYTES: usize = 4_096;

struct Scale {
    clients: usize,
    members: usize,
    waves: usize,
}

struct Client {
    stream: TcpStream,
    moment: Moment,
}

impl Client {
    async fn come(server: &Server, moment: Moment) -> Self {
        let addr = server.addr();
        let stream = match moment {
            Moment::Receiving => enter(addr, "crowd", Some(4_096)).await,
            Moment::Frame => enter(addr, "frame", None).await,
            Moment::Handshake => dial(addr, None).await.expect("the server listens"),
        };
        Self { stream, moment }
    }

    async fn begin(&mut self) {
        let request = upgrade_request("never");
        let message = frame(TEXT, br#"{"text":"never ends"}"#);
        let half = match self.moment {
            Moment::Receiving => return,
            Moment::Frame => &message[..10],
            Moment::Handshake => &request.as_bytes()[..60],
        };
        self.stream.write_all(half).await.expect("the server is there");
    }

    /// Lets the client vanish. Returns the stream if it stays open.
    async fn go(self, way: Way) -> Option<TcpStream> {
        let mut stream = self.stream;
        match way {
            Way::Reset => None,
            Way::HalfClose => {
                stream.shutdown().await.expect("the stream was open");
                Some(stream)
            }
            Way::Silence => Some(stream),
        }
    }
}

async fn come_all(server: &Server, moment: Moment, clients: usize) -> Vec<Client> {
    let dials = (0..clients).map(|_| Client::come(server, moment));
    stream::iter(dials).buffer_unordered(DIALS).collect().await
}

/// Connects clients and lets them vanish. Returns how long the server took to free their resources.
async fn wave(server: &Server, crowd: &mut Crowd, clients: usize) -> Duration {
    let there = crowd.size();
    let mut all = Vec::new();
    for moment in MOMENTS {
        all.extend(come_all(server, moment, clients / MOMENTS.len()).await);
    }
    crowd.publish_in_turn(3).await;
    for client in &mut all {
        client.begin().await;
    }
    let began = Instant::now();
    let mut left = Vec::new();
    for (index, client) in all.into_iter().enumerate() {
        left.push(client.go(WAYS[index % WAYS.len()]).await);
    }
    // The server finds a silent client that waits for messages only when it sends to the client.
    while server.stats("").await.hub.connections > there as u64 {
        crowd.publish_in_turn(1).await;
    }
    server.descriptors_fall_to(there + 1).await;
    let took = began.elapsed();
    // The server has ended all streams; otherwise the reads would wait for ever.
    for mut stream in left.into_iter().flatten() {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    }
    took
}

async fn depart(scale: Scale) {
    raise_descriptor_limit();
    // With one arena for each thread, the memory of glibc's allocator takes dozens of waves to settle.
    let mut command = Command::new(example("load_server"));
    command.env("MALLOC_ARENA_MAX", "1").args(["--listen", "127.0.0.1:0"]).args(ANY_RATE);
    let server = Server::start(&mut command).await;
    let mut crowd = Crowd::gather(&server, "crowd", scale.members, TEXT_BYTES).await;
    let before = server.resident();
    let mut resident = Vec::new();
    for number in 1..=scale.waves {
        let took = wave(&server, &mut crowd, scale.clients).await;
        resident.push(server.resident());
        println!(
            "{} clients vanished, wave {number}: all resources freed after \
             {took:.1?}; {} KiB resident before, {} at most, {} after",
            scale.clients,
            before,
            server.resident_peak(),
            server.resident()
        );
    }
    let each = (server.resident_peak() - before) as f64 / scale.clients as f64;
    println!("{each:.1} KiB a client at most");
    assert!(each <= 128.0, "{each} KiB a client");
    let (settled, last) = (resident[scale.waves / 2], resident[scale.waves - 1]);
    assert!(last <= settled + settled / 10, "memory grows from wave to wave: {resident:?} KiB");
    crowd.leave().await;
    server.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_vanish_midway_leave_no_resources() {
    depart(Scale { clients: 180, members: 20, waves: 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "ten thousand clients"]
async fn ten_thousand_clients_that_vanish_midway_leave_no_resources() {
    depart(Scale { clients: 9_999, members: 100, waves: 6 }).await;
}

async fn move_about(members: usize, movers: usize, lines: usize) {
    raise_descriptor_limit();
    let server = Server::chat(ANY_RATE).await;
    let mut crowd = Crowd::gather(&server, "crowd", members, 10).await;
    let movers = Movers::start(&server, ["crowd", "quiet"], movers);
    crowd.publish(lines, Duration::from_millis(5)).await;
    let heard = movers.stop().await;
    assert!(heard > lines as u64, "the movers receive lines, too: {heard}");
    println!("movers heard {heard} lines, none of a room that they had left");
    crowd.leave().await;
    server.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_clients_get_no_messages_of_rooms_that_they_left() {
    move_about(10, 20, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "some seconds of load"]
async fn five_hundred_moving_clients_get_no_messages_of_rooms_that_they_left() {
    move_about(100, 500, 2_000).await;
}
