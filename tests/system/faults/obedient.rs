//! A server whose handler does what a message tells it, also what no handler should do.

use std::convert::Infallible;
use std::env;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::SinkExt;
use http_body_util::Full;
use hyper::service::service_fn;
use roomcast::{Close, Conn, Handler, Hub, Request, Response, Server as RoomcastServer};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::raise_descriptor_limit;
use support::scene::crowd::{Client, connect};
use support::scene::oracle::Line;
use support::scene::server::Server;

/// Set in the environment of the server's process.
const ROLE: &str = "ROOMCAST_FAULTS_OBEDIENT";

/// The time for which a handler blocks.
pub(crate) const BLOCK: Duration = Duration::from_secs(2);

/// The texts that are commands for the handler; the handler publishes any other text to the room.
pub(crate) const PANIC: &str = "panic";
pub(crate) const BLOCK_THREAD: &str = "block";
pub(crate) const BLOCK_IN_PLACE: &str = "block in place";
pub(crate) const PUBLISH_AND_BLOCK: &str = "publish and block";
pub(crate) const NEVER_RETURN: &str = "never return";
pub(crate) const LEAVE: &str = "leave";
pub(crate) const FORBID_RINGS: &str = "forbid rings";
pub(crate) const BLOCK_BRIEFLY: &str = "block briefly";
/// These two publish ticks to the room of the client, from a thread and from a task.
pub(crate) const TICK_IN_THREAD: &str = "tick in a thread";
pub(crate) const TICK_IN_TASK: &str = "tick in a task";

/// The time of a brief block.
const BRIEF: Duration = Duration::from_millis(50);

/// The ticks, and the time between two.
pub(crate) const TICKS: u64 = 500;
const TICK_PACE: Duration = Duration::from_millis(20);

/// Starts this server, with two worker threads.
pub(crate) async fn start() -> Server {
    start_with(false).await
}

/// The same; each shard may have a thread of its own.
pub(crate) async fn start_with(has_shard_threads: bool) -> Server {
    let mut command = Command::new(env::current_exe().expect("a test knows its path"));
    command.args(["obedient", "--exact", "--ignored", "--nocapture", "--test-threads", "2"]);
    Server::start(command.env(ROLE, has_shard_threads.to_string())).await
}

/// Serves, if this process is the server. The test kills the process.
pub(crate) async fn serve() {
    let Ok(has_shard_threads) = env::var(ROLE) else { return };
    raise_descriptor_limit();
    let builder = Hub::<Line>::builder().shards(2).shard_threads(has_shard_threads == "true");
    let hub = builder.build().expect("in range");
    let pages = service_fn({
        let hub = hub.clone();
        move |request: Request<_>| {
            let answer = stats(&hub, request.uri().query().unwrap_or_default());
            async move { Ok::<_, Infallible>(Response::new(Full::new(answer))) }
        }
    });
    let server = RoomcastServer::bind("127.0.0.1:0").await.expect("a free port");
    let server = server.route("/ws/{room}", hub.handle(Obedient)).expect("a path");
    println!("\nlistening on http://{}", server.local_addr().expect("an address"));
    server.fallback(pages).run().await;
}

/// Connects a client to a server, and makes its handler do this.
pub(crate) async fn provoke(server: &Server, text: &str) -> Client {
    let mut client = connect(server.addr(), "culprits").await;
    client.send(command(text)).await.expect("connected");
    client
}

/// A message that makes a handler do this.
pub(crate) fn command(text: &str) -> Message {
    let user = "culprits/one".to_owned();
    let line = Line { text: text.to_owned(), user, seq: 0, ts: 0.0 };
    Message::text(simd_json::to_string(&line).expect("encodable"))
}

pub(crate) fn stats(hub: &Hub<Line>, query: &str) -> Bytes {
    let counters = json!({
        "members": hub.member_count(query.strip_prefix("room=").unwrap_or_default()),
        "hub": hub.stats(),
    });
    counters.to_string().into()
}

/// Joins each client to the room of its route, and obeys its messages.
pub(crate) struct Obedient;

impl Handler<Line> for Obedient {
    async fn on_connect(&self, conn: &Conn<Line>) -> Result<(), Close> {
        Ok(conn.try_join(room(conn))?)
    }

    async fn on_message(&self, conn: &Conn<Line>, line: Line) -> Result<(), Close> {
        match line.text.as_str() {
            // Without the output of the panic hook.
            PANIC => std::panic::resume_unwind(Box::new("a panic that the test wants")),
            BLOCK_THREAD => thread::sleep(BLOCK),
            BLOCK_IN_PLACE => tokio::task::block_in_place(|| thread::sleep(BLOCK)),
            PUBLISH_AND_BLOCK => {
                let _ = conn.hub().try_to_room(room(conn), &line);
                thread::sleep(BLOCK);
            }
            NEVER_RETURN => std::future::pending().await,
            LEAVE => {
                conn.try_leave(room(conn)).expect("the shard has space");
                conn.try_send(&line).expect("the shard has space");
            }
            BLOCK_BRIEFLY => thread::sleep(BRIEF),
            TICK_IN_THREAD => {
                let (hub, room) = (conn.hub().clone(), room(conn).to_owned());
                thread::spawn(move || {
                    (0..TICKS).for_each(|seq| {
                        thread::sleep(TICK_PACE);
                        tick(&hub, &room, seq);
                    })
                });
            }
            TICK_IN_TASK => {
                let (hub, room) = (conn.hub().clone(), room(conn).to_owned());
                tokio::spawn(async move {
                    for seq in 0..TICKS {
                        tokio::time::sleep(TICK_PACE).await;
                        tick(&hub, &room, seq);
                    }
                });
            }
            FORBID_RINGS => support::io_uring::forbid_all_rings(),
            _ => {
                let _ = conn.hub().to_room(room(conn), &line).await;
            }
        }
        Ok(())
    }
}

/// Publishes a line with the time of the system.
fn tick(hub: &Hub<Line>, room: &str, seq: u64) {
    let line = Line { text: "tick".to_owned(), user: format!("{room}/ticker"), seq, ts: now() };
    hub.try_to_room(room, &line).expect("the shards have space");
}

/// The time of the system, in microseconds.
pub(crate) fn now() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("after 1970").as_secs_f64() * 1e6
}

fn room(conn: &Conn<Line>) -> &str {
    conn.param("room")
}
