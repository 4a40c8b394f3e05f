//! Ten minutes of clients that come and go, next to clients that stay. Ignored by default; run it with
//!
//! ```text
//! cargo test --release -p system-tests --test soak -- --ignored --nocapture
//! ```
//!
//! `ROOMCAST_SOAK_SECONDS` sets the duration (default 600). The test prints ten lines.
#![cfg(target_os = "linux")]

use std::env;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt, future};
use support::scene::crowd::{Crowd, connect, latencies, next_line};
use support::scene::oracle::{Ledger, Line};
use support::scene::server::{DEADLINE, Server};
use support::scene::wire::{TEXT, dial, enter, frame, read_to_close, upgrade_request};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::Message;

/// The clients that come in a second.
const CLIENTS_PER_SECOND: u32 = 1_000;

/// The clients that come at once, every hundredth of a second.
const CLIENTS_PER_TICK: u32 = CLIENTS_PER_SECOND / 100;

/// The most clients that come and go at the same time: far more than there are when the server keeps up.
const CLIENTS_MAX: usize = 4_000;

/// The rooms of members that stay, and the members of each.
const STEADY_ROOMS: usize = 10;
const STEADY_MEMBERS: usize = 100;

/// How often a message is published in each of these rooms.
const STEADY_PACE: Duration = Duration::from_millis(200);

/// The rooms of the clients that come and go.
const OTHER_ROOMS: u64 = 50;

/// The lines that a visiting client sends or reads before it leaves.
const LINES: u64 = 3;

/// The parts of the whole time; each prints a line.
const LAPS: u32 = 10;

fn lap_time() -> Duration {
    let seconds = env::var("ROOMCAST_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(600)) / LAPS
}

/// Connects, and leaves in one of many ways.
async fn visit(addr: SocketAddr, number: u64) {
    match number % 8 {
        0 => chat(addr, number, Manner::Close).await,
        1 => chat(addr, number, Manner::Vanish).await,
        2 | 3 => overhear(addr, number).await,
        4 => {
            // A reset in the middle of a frame.
            let mut stream = enter(addr, "frame", None).await;
            stream.write_all(&frame(TEXT, b"never ends")[..8]).await.expect("sent");
        }
        5 => {
            // A breach of the protocol.
            let mut stream = enter(addr, "breach", None).await;
            stream.write_all(b"\x81\x02{}").await.expect("sent");
            assert_eq!(read_to_close(&mut stream).await, Some(1_002));
        }
        6 => {
            // A reset while the answer is on its way.
            let mut stream = dial(addr, None).await.expect("the server listens");
            stream.write_all(upgrade_request("never").as_bytes()).await.expect("sent");
        }
        _ => {
            let mut stream = dial(addr, None).await.expect("the server listens");
            stream.write_all(&upgrade_request("never").as_bytes()[..40]).await.expect("sent");
            stream.shutdown().await.expect("sent");
        }
    }
}

enum Manner {
    Close,
    Vanish,
}

/// Sends a message to a room, receives it back, and leaves.
async fn chat(addr: SocketAddr, number: u64, manner: Manner) {
    let room = format!("other{}", number % OTHER_ROOMS);
    let mut client = connect(addr, &room).await;
    let mut ledger = Ledger::new(&room);
    let user = format!("{room}/{number}");
    for seq in 0..LINES {
        let line = Line { text: "hello".to_owned(), user: user.clone(), seq, ts: 0.0 };
        let line = simd_json::to_string(&line).expect("encodable");
        client.send(Message::text(line)).await.expect("connected");
        loop {
            let line = next_line(&mut client).await.expect("the client is a member");
            ledger.note(&line);
            if (line.seq, &line.user) == (seq, &user) {
                break;
            }
        }
    }
    if let Manner::Close = manner {
        client.close(None).await.expect("the client can send a close");
        while client.next().await.is_some() {}
    }
}

/// Receives some messages in a room of members that stay, and leaves while more are sent.
async fn overhear(addr: SocketAddr, number: u64) {
    let room = steady_room(number as usize % STEADY_ROOMS);
    let mut client = connect(addr, &room).await;
    let mut ledger = Ledger::new(&room);
    while ledger.lines() < LINES {
        ledger.note(&next_line(&mut client).await.expect("the client is a member"));
    }
}

fn steady_room(index: usize) -> String {
    format!("steady{index}")
}

/// Clients that come and go.
#[derive(Default)]
struct Visits {
    tasks: JoinSet<()>,
    begun: u64,
}

impl Visits {
    /// Sends visitors for this time.
    async fn go_on(&mut self, addr: SocketAddr, time: Duration) {
        let mut tick = interval(Duration::from_millis(10));
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for _ in 0..time.as_millis() / 10 {
            tick.tick().await;
            for _ in 0..CLIENTS_PER_TICK {
                self.tasks.spawn(visit(addr, self.begun));
                self.begun += 1;
            }
            while let Some(visited) = self.tasks.try_join_next() {
                visited.expect("a visit ends as it should");
            }
            while self.tasks.len() > CLIENTS_MAX {
                let visited = timeout(DEADLINE, self.tasks.join_next()).await.expect("in time");
                visited.expect("there are some").expect("a visit ends as it should");
            }
        }
    }
}

/// Runs one part of the time. Returns the server's memory after it, in KiB.
async fn lap(number: u32, server: &Server, crowds: &mut [Crowd], visits: &mut Visits) -> u64 {
    let begun = visits.begun;
    let lines = (lap_time().as_millis() / STEADY_PACE.as_millis()) as usize;
    let published = crowds.iter_mut().map(|crowd| crowd.publish(lines, STEADY_PACE));
    let visited = visits.go_on(server.addr(), lap_time());
    let (heard, ()) = tokio::join!(future::join_all(published), visited);
    let mut all = latencies();
    heard.iter().for_each(|heard| all.add(heard).expect("of one kind"));
    println!(
        "{:?}: {} came and went, {} deliveries to those who stay, p99 {:.1} ms; {} KiB resident, \
         {} descriptors, {:.0?} of processor time",
        lap_time() * number,
        visits.begun - begun,
        all.len(),
        all.value_at_quantile(0.99) as f64 / 1e3,
        server.resident(),
        server.descriptors(),
        server.cpu(),
    );
    server.resident()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "ten minutes"]
async fn clients_that_come_and_go_for_ten_minutes_leave_no_resources_and_others_miss_nothing() {
    rlimit::increase_nofile_limit(u64::MAX).expect("a limit may be raised up to its maximum");
    let server = Server::chat(&[]).await;
    let mut crowds = Vec::new();
    for index in 0..STEADY_ROOMS {
        crowds.push(Crowd::gather(&server, &steady_room(index), STEADY_MEMBERS, 100).await);
    }
    let mut visits = Visits::default();
    let mut resident = Vec::new();
    for number in 1..=LAPS {
        resident.push(lap(number, &server, &mut crowds, &mut visits).await);
    }
    let last = timeout(DEADLINE, visits.tasks.join_all());
    // Some visitors still wait for lines of the members that stay.
    let lines = future::join_all(crowds.iter_mut().map(|crowd| crowd.publish(20, STEADY_PACE)));
    let (last, _) = tokio::join!(last, lines);
    last.expect("all go in time");
    for crowd in crowds {
        crowd.leave().await;
    }
    let stats = server.nothing_is_left().await;
    assert_eq!(stats.hub.evictions(), 0, "no client is evicted");
    let (first, last) = (resident[0], resident[resident.len() - 1]);
    assert!(last <= first + first / 10, "memory grows: {resident:?} KiB");
}
