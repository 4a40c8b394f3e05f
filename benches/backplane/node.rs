//! The child process that runs nodes: hubs behind servers, each with a publisher. The parent grants the publishers
//! how much they may publish.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use roomcast::{Close, Conn, Hub, JoinError, Raw, RawMessage};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::Result;
use crate::counts::{Counts, Trouble};
use crate::frames::message;
use crate::plan::{CHUNK, Number, Setting, room_name};
use shared::process::say;
use support::{Listening, eventually, serve};

/// The messages that a publisher sends before it yields to other tasks.
const PUBLISHED_AT_ONCE: u64 = 64;

/// A request of the parent, one a line. Only [`Publish`](Self::Publish) has no answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Starts nodes; the answer is the list of their addresses.
    Start(Start),
    /// Waits until each node knows this many nodes, itself included.
    Meet(usize),
    /// Lets each node publish up to this many chunks in total since its start.
    Publish(u64),
    /// Waits until all publishes are acknowledged; the answer is the sum of the nodes' counters.
    Count,
}

/// The nodes to start, by their numbers, and their Redis.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) url: String,
    pub(crate) channel: String,
    pub(crate) setting: Setting,
    pub(crate) nodes: Vec<usize>,
}

/// Serves the parent until the parent closes the pipe or ends.
pub(crate) fn run() -> Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut nodes: Vec<Node> = Vec::new();
    for line in io::stdin().lines() {
        match serde_json::from_str(&line?)? {
            Request::Publish(chunks) => {
                for node in &nodes {
                    node.goal.send_replace(chunks);
                }
            }
            Request::Start(start) => {
                let started = runtime.block_on(start_all(start));
                let addrs = started.map(|started| {
                    nodes = started;
                    nodes.iter().map(|node| node.server.addr).collect::<Vec<SocketAddr>>()
                });
                say(&addrs.map_err(|error| error.to_string()))?;
            }
            Request::Meet(count) => {
                runtime.block_on(meet(&nodes, count));
                say(&Ok::<_, String>(()))?;
            }
            Request::Count => say(&Ok::<_, String>(count(&runtime, &nodes)))?,
        }
    }
    Ok(())
}

struct Node {
    hub: Hub<RawMessage>,
    server: Listening,
    goal: watch::Sender<u64>,
    refused: Arc<AtomicU64>,
}

async fn start_all(start: Start) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    for &number in &start.nodes {
        nodes.push(Node::start(&start, number).await?);
    }
    Ok(nodes)
}

async fn meet(nodes: &[Node], count: usize) {
    for node in nodes {
        eventually("the nodes know each other", || node.hub.cluster().nodes().len() == count).await;
    }
}

fn count(runtime: &Runtime, nodes: &[Node]) -> Counts {
    nodes.iter().map(|node| runtime.block_on(node.count())).sum()
}

impl Node {
    async fn start(start: &Start, number: usize) -> Result<Self> {
        let setting = start.setting;
        let hub = Hub::with_codec(Raw)
            .shards(1)
            .redis(&start.url, &start.channel)
            .channels(setting.channels)
            // The clients answer no pings.
            .ping_interval(Duration::ZERO)
            .build()?;
        let connected = AtomicUsize::new(0);
        let enters = hub.handlers().on_connect(move |conn| {
            let client = connected.fetch_add(1, Ordering::Relaxed);
            let rooms = setting.rooms_of_client(number, client);
            async move {
                enter(&conn, &rooms).await?;
                // The first message tells the client that it has joined.
                conn.try_send(&message(0)).map_err(|_| Close::normal())
            }
        });
        let server = serve(hub.handle(enters)).await;
        let (goal, granted) = watch::channel(0);
        let refused = Arc::<AtomicU64>::default();
        tokio::spawn(publish(hub.clone(), setting, number, granted, refused.clone()));
        Ok(Self { hub, server, goal, refused })
    }

    async fn count(&self) -> Counts {
        let health = || self.hub.backplane_health().expect("the hub has a backplane");
        let is_done = || health().queued == 0 && health().in_flight == 0;
        eventually("all is published", is_done).await;
        let (health, stats) = (health(), self.hub.stats());
        Counts {
            published: health.published,
            envelopes: health.envelopes,
            received: health.received,
            trouble: Trouble {
                lost: health.lost,
                dropped: health.dropped,
                overrun: health.overrun,
                duplicates: health.duplicates,
                reconnects: health.reconnects,
                refused: self.refused.load(Ordering::Relaxed),
                undelivered: stats.dropped_oldest + stats.dropped_newest + stats.dropped_at_end,
            },
        }
    }
}

/// Joins all rooms, and waits until the node is subscribed to them.
async fn enter(conn: &Conn<RawMessage>, rooms: &[usize]) -> std::result::Result<(), JoinError> {
    let names: Vec<String> = rooms.iter().map(|&room| room_name(room)).collect();
    for name in &names {
        conn.try_join(name)?;
    }
    for name in &names {
        conn.join_subscribed(name).await?;
    }
    Ok(())
}

/// Publishes to random rooms, as many chunks as are granted, until the node ends.
async fn publish(
    hub: Hub<RawMessage>,
    setting: Setting,
    node: usize,
    mut granted: watch::Receiver<u64>,
    refused: Arc<AtomicU64>,
) {
    let mut index = 0;
    let names: Vec<String> = (0..setting.rooms).map(room_name).collect();
    while granted.wait_for(|&chunks| chunks * CHUNK > index).await.is_ok() {
        for _ in 0..PUBLISHED_AT_ONCE {
            let number = Number { node, index };
            let room = &names[setting.room_of(number)];
            if hub.try_to_room(room, &message(number.joined())).is_err() {
                refused.fetch_add(1, Ordering::Relaxed);
            }
            index += 1;
        }
        tokio::task::yield_now().await;
    }
}
