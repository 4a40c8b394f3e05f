//! The cost of a `RoomState` for publishers and joiners.
//!
//! ```text
//! cargo bench -p benches --bench state
//! ```
//!
//! A hub has two shards with one client each. The shards share a thread with the publisher, so they do not run while
//! the calls are timed: each figure is the time of the call alone.

use std::collections::{HashMap, VecDeque};
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use futures_util::StreamExt;
use roomcast::{Builder, Close, Conn, Encoded, Handler, Hub, RoomState, Server, Target};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// The number of calls that are timed together.
const ROUND: u64 = 256;

/// A state that stores nothing.
struct Nothing;

impl RoomState for Nothing {}

/// The last 50 messages of each room.
#[derive(Default)]
struct History(Mutex<HashMap<String, VecDeque<Encoded>>>);

impl History {
    fn last(&self, room: &str) -> VecDeque<Encoded> {
        self.0.lock().expect("no panic").get(room).cloned().unwrap_or_default()
    }
}

impl RoomState for History {
    fn on_publish(&self, room: &str, message: &Encoded) {
        let mut rooms = self.0.lock().expect("no panic");
        let Some(kept) = rooms.get_mut(room) else {
            rooms.insert(room.to_owned(), [message.clone()].into());
            return;
        };
        kept.push_back(message.clone());
        if kept.len() > 50 {
            kept.pop_front();
        }
    }

    fn on_empty(&self, room: &str) {
        self.0.lock().expect("no panic").remove(room);
    }
}

/// Joins each connection to the room, and hands the connection to the benchmark.
struct Introducer(mpsc::UnboundedSender<Conn<String>>);

impl Handler<String> for Introducer {
    async fn on_connect(&self, conn: &Conn<String>) -> Result<(), Close> {
        conn.join("room").await?;
        self.0.send(conn.clone()).expect("the benchmark receives");
        Ok(())
    }
}

/// A hub with clients that read.
struct Scene {
    runtime: Runtime,
    hub: Hub<String>,
    members: Vec<Conn<String>>,
}

impl Scene {
    fn new(builder: impl FnOnce(Builder<String>) -> Builder<String>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the runtime starts");
        let (hub, members) = runtime.block_on(async {
            let hub = Hub::<String>::builder().shards(2).send_buffer_bytes(64 << 20);
            let hub = builder(hub).build().expect("the settings are valid");
            let (sender, mut connected) = mpsc::unbounded_channel();
            let server = Server::bind("127.0.0.1:0").await.expect("a free port");
            let url = format!("ws://{}/", server.local_addr().expect("the server is bound"));
            let server = server.route("/", hub.handle(Introducer(sender))).expect("a free path");
            tokio::spawn(server.run());
            let mut members = Vec::new();
            for _ in 0..2 {
                let (client, _) =
                    tokio_tungstenite::connect_async(&url).await.expect("the server accepts");
                tokio::spawn(client.for_each(|_| std::future::ready(())));
                members.push(connected.recv().await.expect("the client connects"));
            }
            (hub, members)
        });
        Self { runtime, hub, members }
    }

    /// Times the calls in rounds, and lets the shards run between the rounds.
    fn time(&self, calls: u64, call: impl Fn()) -> Duration {
        let mut time = Duration::ZERO;
        for done in (0..calls).step_by(ROUND as usize) {
            let _inside = self.runtime.enter();
            let began = Instant::now();
            (0..ROUND.min(calls - done)).for_each(|_| call());
            time += began.elapsed();
            self.runtime.block_on(async {
                for member in &self.members {
                    member.rooms().await;
                    member.flushed().await.expect("the connection is open");
                }
            });
        }
        time
    }
}

fn publishing(c: &mut Criterion) {
    let mut group = c.benchmark_group("publish call, 2 shards");
    publish(&mut group, "without a state", Scene::new(|builder| builder));
    publish(&mut group, "state that keeps nothing", Scene::new(|it| it.room_state(Nothing)));
    let scene = Scene::new(|it| it.room_state(History::default()));
    publish(&mut group, "last 50 messages", scene);
    group.finish();
}

fn publish(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, scene: Scene) {
    let (target, message) = (Target::room("room"), "x".repeat(120));
    let message = scene.hub.encode(&message).expect("a text");
    group.bench_function(name, |b| {
        b.iter_custom(|calls| {
            scene.time(calls, || {
                let published = scene.hub.try_publish_encoded(black_box(&target), &message);
                published.expect("within the limits");
            })
        });
    });
}

fn joining(c: &mut Criterion) {
    let mut group = c.benchmark_group("join and leave call");
    let history = Arc::new(History::default());
    for (name, scene) in [
        ("without a state", Scene::new(|builder| builder)),
        ("with a state", Scene::new(|builder| builder.room_state(history.clone()))),
    ] {
        group.bench_function(name, |b| {
            let conn = &scene.members[0];
            b.iter_custom(|calls| {
                scene.time(calls, || {
                    conn.try_join(black_box("other")).expect("within the limits");
                    conn.try_leave("other").expect("within the limits");
                })
            });
        });
        let message = scene.hub.encode(&"x".repeat(120)).expect("a text");
        for _ in 0..50 {
            scene.hub.try_publish_encoded(&Target::room("room"), &message).expect("a few");
        }
        group.bench_function(format!("50 messages of 120 bytes, {name}"), |b| {
            let last: VecDeque<Encoded> = (0..50).map(|_| message.clone()).collect();
            let conn = &scene.members[0];
            let first = || if name == "with a state" { history.last("room") } else { last.clone() };
            b.iter_custom(|calls| {
                scene.time(calls, || {
                    conn.try_join_with(black_box("room"), first).expect("within the limits");
                })
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = shared::settings::settings();
    targets = publishing, joining,
}
criterion_main!(benches);
